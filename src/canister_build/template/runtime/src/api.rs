//! The module `_basilisk_ic`: the system API and the stable maps as Python functions.
//! Not what canister code imports: that is `basilisk` (`kybra` to it), which builds on this.

use crate::py::{self, Kind, MethodDef, Py, PyResult, Raised, Raw};
use crate::stored::{self, Declared};
use crate::{calls, ic0, maps, principal, runtime, text, timers};

/// Positional arguments as an array; METH_FASTCALL of the C API.
const FAST_CALL: i32 = 0x80;

/// What a function called from Python is bound to, the module for most, and its arguments.
struct Arguments<'a>(Raw, &'a [Raw]);

impl Arguments<'_> {
    fn object(&self, index: usize) -> PyResult {
        match self.1.get(index) {
            Some(raw) => Py::borrowed(*raw).ok_or(Raised),
            None => {
                Err(py::raise_type_error(&format!("expected at least {} arguments, got {}", index + 1, self.1.len())))
            }
        }
    }

    fn u64(&self, index: usize) -> Result<u64, Raised> {
        let object = self.object(index)?;
        object.as_u64().ok_or_else(|| wrong(&object, index, "an int from 0 to 2^64 - 1"))
    }

    fn u128(&self, index: usize) -> Result<u128, Raised> {
        let object = self.object(index)?;
        object.as_u128().ok_or_else(|| wrong(&object, index, "an int from 0 to 2^128 - 1"))
    }

    fn handle(&self) -> Result<usize, Raised> {
        Ok(self.u64(0)? as usize)
    }

    /// The handle of the map that the function is bound to.
    fn bound_handle(&self) -> Result<usize, Raised> {
        let handle = Py::borrowed(self.0).and_then(|object| object.as_u64()).ok_or(Raised)?;
        Ok(handle as usize)
    }

    fn str(&self, index: usize) -> Result<String, Raised> {
        let object = self.object(index)?;
        if object.kind() != Kind::Str {
            return Err(wrong(&object, index, "str"));
        }
        Ok(object.as_str()?.to_owned())
    }

    /// Bytes, a bytearray or a list of ints.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, Raised> {
        let object = self.object(index)?;
        match object.kind() {
            Kind::Bytes | Kind::ByteArray => Ok(object.buffer().to_vec()),
            Kind::List => {
                let items = (0..object.sequence_size()).filter_map(|index| object.sequence_item(index));
                let bytes: Option<Vec<u8>> = items.map(|item| u8::try_from(item.as_u64()?).ok()).collect();
                bytes.ok_or_else(|| wrong(&object, index, "a list of ints from 0 to 255"))
            }
            _ => Err(wrong(&object, index, "bytes")),
        }
    }
}

fn wrong(object: &Py, index: usize, expected: &str) -> Raised {
    py::raise_type_error(&format!("argument {}: expected {expected}, got {}", index + 1, object.type_name()))
}

fn invalid<T>(result: Result<T, String>) -> Result<T, Raised> {
    result.map_err(|error| py::raise_value_error(&error))
}

fn unfit<T>(result: Result<T, String>) -> Result<T, Raised> {
    result.map_err(|error| py::raise_type_error(&error))
}

fn none() -> PyResult {
    Ok(Py::none())
}

fn text_of(bytes: Vec<u8>) -> PyResult {
    Ok(Py::str(&String::from_utf8_lossy(&bytes)))
}

macro_rules! functions {
    ($which:ident, $what:literal, $($name:literal => |$arguments:ident| $body:expr;)*) => {
        #[doc = $what]
        pub fn $which() -> &'static [MethodDef] {
            let mut methods = Vec::new();
            $({
                unsafe extern "C" fn entry(object: Raw, items: *const Raw, count: isize) -> Raw {
                    let items = if count == 0 { &[][..] } else { std::slice::from_raw_parts(items, count as usize) };
                    let $arguments = Arguments(object, items);
                    let _ = &$arguments;
                    let run = || -> PyResult { $body };
                    run().map_or(std::ptr::null_mut(), Py::into_raw)
                }
                methods.push(MethodDef {
                    name: concat!($name, "\0").as_ptr() as *const _,
                    function: entry as *const (),
                    flags: FAST_CALL,
                    doc: std::ptr::null(),
                });
            })*
            methods.push(MethodDef::end());
            Box::leak(methods.into_boxed_slice())
        }
    };
}

functions! { map_functions, "What a map's `get` and `insert` call, bound to its handle.",
    "get" => |a| unfit(maps::get(a.bound_handle()?, &a.object(0)?));
    "insert" => |a| unfit(maps::insert(a.bound_handle()?, &a.object(0)?, &a.object(1)?, !py::result_is_dropped()));
}

functions! { methods, "The methods of the module, with the null entry that ends them.",
    "accept_message" => |_a| { ic0::accept_message(); none() };
    "arg_data" => |_a| Ok(Py::bytes(&ic0::arg_data()));
    "arg_data_size" => |_a| Ok(Py::u64(ic0::arg_data_size() as u64));
    "caller" => |_a| Ok(runtime::caller());
    "id" => |_a| Ok(runtime::principal(&ic0::canister_self()));
    "method_name" => |_a| text_of(ic0::method_name());
    "time" => |_a| Ok(Py::u64(ic0::time()));
    "balance" => |_a| Ok(Py::u128(ic0::balance()));
    "cycles_available" => |_a| Ok(Py::u128(ic0::cycles_available()));
    "cycles_refunded" => |_a| Ok(Py::u128(ic0::cycles_refunded()));
    "cycles_accept" => |a| Ok(Py::u128(ic0::cycles_accept(a.u128(0)?)));
    "performance_counter" => |a| Ok(Py::u64(ic0::performance_counter(a.u64(0)? as u32)));
    "print" => |a| { ic0::debug_print(a.str(0)?.as_bytes()); none() };
    "trap" => |a| ic0::trap(&a.str(0)?);
    "reject" => |a| { ic0::reject(&a.str(0)?); none() };
    "reject_code" => |_a| Ok(Py::u64(ic0::reject_code() as u64));
    "reject_message" => |_a| text_of(ic0::reject_message());
    "reply" => |a| match runtime::encode_reply(&a.object(0)?) {
        Ok(data) => { ic0::reply(&data); none() }
        // As under Kybra: a reply that does not fit traps, whatever except clauses there are.
        Err(error) => ic0::trap(&format!("failed to encode the reply: {error}")),
    };
    "reply_raw" => |a| { ic0::reply(&a.bytes(0)?); none() };
    "set_certified_data" => |a| { ic0::certified_data_set(&a.bytes(0)?); none() };
    "data_certificate" => |_a| Ok(ic0::data_certificate().map_or_else(Py::none, |data| Py::bytes(&data)));
    "stable_size" => |_a| Ok(Py::u64(ic0::stable_size()));
    "stable_grow" => |a| Ok(match ic0::stable_grow(a.u64(0)?) {
        u64::MAX => Py::none(),
        before => Py::u64(before),
    });
    "stable_read" => |a| Ok(Py::bytes(&ic0::stable_read(a.u64(0)?, a.u64(1)? as usize)));
    "stable_write" => |a| { ic0::stable_write(a.u64(0)?, &a.bytes(1)?); none() };
    "set_timer" => |a| Ok(Py::u64(invalid(timers::set(a.u64(0)?, a.object(1)?, false))?));
    "set_timer_interval" => |a| Ok(Py::u64(invalid(timers::set(a.u64(0)?, a.object(1)?, true))?));
    "clear_timer" => |a| { timers::clear(a.u64(0)?); none() };
    "notify" => |a| Ok(Py::u64(unfit(calls::notify(&a.object(0)?))? as u64));
    "encode" => |a| {
        let values = a.object(1)?;
        let items: Vec<Py> = (0..values.sequence_size()).filter_map(|index| values.sequence_item(index)).collect();
        let codec = invalid(runtime::codec_of(&a.str(0)?))?;
        Ok(Py::bytes(&unfit(codec.encode(&items))?))
    };
    "candid_encode" => |a| Ok(Py::bytes(&invalid(text::encode(&a.str(0)?))?));
    "candid_decode" => |a| Ok(Py::str(&invalid(text::decode(&a.bytes(0)?))?));
    "principal_to_text" => |a| Ok(Py::str(&principal::to_text(&a.bytes(0)?)));
    "principal_from_text" => |a| Ok(Py::bytes(&invalid(principal::from_text(&a.str(0)?))?));
    "crc32" => |a| Ok(Py::u64(principal::crc32(&a.bytes(0)?) as u64));
    "map_open" => |a| {
        let Ok(id) = u8::try_from(a.u64(0)?) else {
            return Err(py::raise_value_error(&format!("memory_id {}: allowed are 0 to 254", a.u64(0)?)));
        };
        let declared = |name: usize, max: usize| Ok(Declared { tag: stored::tag_of(&a.str(name)?), max: a.u64(max)? });
        Ok(Py::u64(invalid(maps::open(id, declared(1, 2)?, declared(3, 4)?))? as u64))
    };
    "map_functions" => |a| {
        let bound = |method| py::bound(method, a.object(0)?);
        let functions = map_functions();
        Ok(Py::tuple(vec![bound(&functions[0])?, bound(&functions[1])?]))
    };
    "map_remove" => |a| unfit(maps::remove(a.handle()?, &a.object(1)?));
    "map_contains" => |a| Ok(Py::bool(unfit(maps::contains(a.handle()?, &a.object(1)?))?));
    "map_len" => |a| Ok(Py::u64(unfit(maps::size(a.handle()?))?));
    "map_items" => |a| unfit(maps::items(a.handle()?));
    "map_keys" => |a| unfit(maps::keys(a.handle()?));
    "map_values" => |a| unfit(maps::values(a.handle()?));
}

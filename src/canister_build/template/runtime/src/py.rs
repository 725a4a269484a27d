//! Python objects from Rust: an owned reference, and the few operations the runtime needs.
//! Not a general binding: what is missing here is not needed, and the macros of the C API are in `glue.c`.

use std::ffi::{c_char, c_int, CString};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

#[repr(C)]
pub struct Object {
    _opaque: [u8; 0],
}

pub type Raw = *mut Object;

#[repr(C)]
pub struct MethodDef {
    pub name: *const c_char,
    pub function: *const (),
    pub flags: c_int,
    pub doc: *const c_char,
}

impl MethodDef {
    /// The entry that ends a list of methods.
    pub const fn end() -> Self {
        MethodDef { name: std::ptr::null(), function: std::ptr::null(), flags: 0, doc: std::ptr::null() }
    }
}

extern "C" {
    fn glue_add_module(methods: *const MethodDef) -> c_int;
    fn glue_as_i64(object: Raw, value: *mut i64) -> c_int;
    fn glue_as_u64(object: Raw, value: *mut u64) -> c_int;
    fn glue_bool(value: c_int) -> Raw;
    fn glue_buffer(object: Raw, size: *mut isize) -> *const u8;
    fn glue_bound_function(method: *const MethodDef, object: Raw) -> Raw;
    fn glue_call(callable: Raw, arguments: *const Raw, count: usize) -> Raw;
    fn glue_decref(object: Raw);
    fn glue_dict_get(dict: Raw, key: Raw) -> Raw;
    fn glue_global(name: *const c_char) -> Raw;
    fn glue_has_type(object: Raw, kind: Raw) -> c_int;
    fn glue_incref(object: Raw);
    fn glue_int_from_bytes(bytes: *const u8, size: usize, is_signed: c_int) -> Raw;
    fn glue_int_size(object: Raw) -> isize;
    fn glue_int_to_bytes(object: Raw, bytes: *mut u8, size: isize) -> c_int;
    fn glue_is_generator(object: Raw) -> c_int;
    fn glue_is_negative(object: Raw) -> c_int;
    fn glue_is_true(object: Raw) -> c_int;
    fn glue_kind(object: Raw) -> c_int;
    fn glue_list_set(list: Raw, index: isize, item: Raw);
    fn glue_none() -> Raw;
    fn glue_result_is_dropped() -> c_int;
    fn glue_run(source: *const c_char, filename: *const c_char) -> c_int;
    fn glue_send(generator: Raw, value: Raw, result: *mut Raw) -> c_int;
    fn glue_sequence_item(object: Raw, index: isize) -> Raw;
    fn glue_sequence_size(object: Raw) -> isize;
    fn glue_set_error(kind: Raw, text: *const u8, size: isize);
    fn glue_start() -> c_int;
    fn glue_take_error() -> Raw;
    fn glue_tuple_set(tuple: Raw, index: isize, item: Raw);
    fn glue_type_error() -> Raw;
    fn glue_type_name(object: Raw) -> *const c_char;
    fn glue_value_error() -> Raw;
    fn PyBytes_FromStringAndSize(data: *const u8, size: isize) -> Raw;
    fn PyDict_New() -> Raw;
    fn PyDict_SetItem(dict: Raw, key: Raw, value: Raw) -> c_int;
    fn PyDict_Size(dict: Raw) -> isize;
    fn PyErr_Clear();
    fn PyDict_Next(dict: Raw, position: *mut isize, key: *mut Raw, value: *mut Raw) -> c_int;
    fn PyFloat_AsDouble(object: Raw) -> f64;
    fn PyFloat_FromDouble(value: f64) -> Raw;
    fn PyImport_ImportModule(name: *const c_char) -> Raw;
    fn PyList_New(size: isize) -> Raw;
    fn PyLong_FromLongLong(value: i64) -> Raw;
    fn PyLong_FromUnsignedLongLong(value: u64) -> Raw;
    fn PyObject_GetAttr(object: Raw, name: Raw) -> Raw;
    fn PyObject_GetAttrString(object: Raw, name: *const c_char) -> Raw;
    fn PyTuple_New(size: isize) -> Raw;
    fn PyUnicode_AsUTF8AndSize(object: Raw, size: *mut isize) -> *const u8;
    fn PyUnicode_FromStringAndSize(data: *const u8, size: isize) -> Raw;
    fn PyUnicode_InternInPlace(object: *mut Raw);
}

/// What kind of object this is; subclasses count as their base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Kind {
    Other,
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    ByteArray,
    List,
    Tuple,
    Dict,
}

/// An owned reference to a Python object.
pub struct Py(NonNull<Object>);

/// An exception that is set in the interpreter: to be taken as text, or left for Python to see.
pub struct Raised;

pub type PyResult = Result<Py, Raised>;

impl Raised {
    /// The exception as `Type: text`; it is cleared.
    pub fn text(self) -> String {
        match Py::owned(unsafe { glue_take_error() }) {
            Ok(text) => text.str_lossy(),
            Err(_) => String::from("SystemError: failed without an exception"),
        }
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| crate::ic0::trap("a name or source holds a zero byte"))
}

impl Clone for Py {
    fn clone(&self) -> Self {
        unsafe { glue_incref(self.raw()) };
        Py(self.0)
    }
}

impl Drop for Py {
    fn drop(&mut self) {
        unsafe { glue_decref(self.raw()) }
    }
}

impl Py {
    /// Takes over a new reference as the C API returns it: null is an exception.
    pub fn owned(raw: Raw) -> PyResult {
        NonNull::new(raw).map(Py).ok_or(Raised)
    }

    /// A reference of our own to an object somebody else holds.
    pub fn borrowed(raw: Raw) -> Option<Py> {
        let object = NonNull::new(raw)?;
        unsafe { glue_incref(raw) };
        Some(Py(object))
    }

    pub fn raw(&self) -> Raw {
        self.0.as_ptr()
    }

    pub fn into_raw(self) -> Raw {
        let raw = self.raw();
        std::mem::forget(self);
        raw
    }

    fn made(raw: Raw) -> Py {
        // A constructor of the C API fails for want of memory only.
        Py::owned(raw).unwrap_or_else(|raised| crate::ic0::trap(&raised.text()))
    }

    pub fn none() -> Py {
        Py::made(unsafe { glue_none() })
    }

    pub fn bool(value: bool) -> Py {
        Py::made(unsafe { glue_bool(value as c_int) })
    }

    pub fn u64(value: u64) -> Py {
        Py::made(unsafe { PyLong_FromUnsignedLongLong(value) })
    }

    pub fn i64(value: i64) -> Py {
        Py::made(unsafe { PyLong_FromLongLong(value) })
    }

    pub fn u128(value: u128) -> Py {
        match u64::try_from(value) {
            Ok(small) => Py::u64(small),
            Err(_) => Py::int_from_bytes(&value.to_le_bytes(), false),
        }
    }

    /// An int from its little-endian bytes, in two's complement when `signed`.
    pub fn int_from_bytes(bytes: &[u8], signed: bool) -> Py {
        Py::made(unsafe { glue_int_from_bytes(bytes.as_ptr(), bytes.len(), signed as c_int) })
    }

    pub fn f64(value: f64) -> Py {
        Py::made(unsafe { PyFloat_FromDouble(value) })
    }

    pub fn bytes(data: &[u8]) -> Py {
        Py::made(unsafe { PyBytes_FromStringAndSize(data.as_ptr(), data.len() as isize) })
    }

    /// Bytes of a size that `fill` writes to where it is told; all of them.
    pub fn bytes_filled(size: usize, fill: impl FnOnce(*mut u8)) -> Py {
        let bytes = Py::made(unsafe { PyBytes_FromStringAndSize(std::ptr::null(), size as isize) });
        // Python has one object for all empty bytes.
        if size > 0 {
            fill(unsafe { glue_buffer(bytes.raw(), &mut 0) } as *mut u8);
        }
        bytes
    }

    pub fn str(text: &str) -> Py {
        Py::made(unsafe { PyUnicode_FromStringAndSize(text.as_ptr(), text.len() as isize) })
    }

    /// A str from bytes that may not be UTF-8: then `UnicodeDecodeError`.
    pub fn str_from_utf8(data: &[u8]) -> PyResult {
        Py::owned(unsafe { PyUnicode_FromStringAndSize(data.as_ptr(), data.len() as isize) })
    }

    /// A str that dicts find by address: for field names.
    pub fn interned(text: &str) -> Py {
        let mut raw = Py::str(text).into_raw();
        unsafe { PyUnicode_InternInPlace(&mut raw) };
        Py::made(raw)
    }

    pub fn dict() -> Py {
        Py::made(unsafe { PyDict_New() })
    }

    pub fn tuple(items: Vec<Py>) -> Py {
        let tuple = Py::made(unsafe { PyTuple_New(items.len() as isize) });
        for (index, item) in items.into_iter().enumerate() {
            unsafe { glue_tuple_set(tuple.raw(), index as isize, item.into_raw()) };
        }
        tuple
    }

    pub fn list(items: Vec<Py>) -> Py {
        let list = Py::made(unsafe { PyList_New(items.len() as isize) });
        for (index, item) in items.into_iter().enumerate() {
            unsafe { glue_list_set(list.raw(), index as isize, item.into_raw()) };
        }
        list
    }

    pub fn kind(&self) -> Kind {
        match unsafe { glue_kind(self.raw()) } {
            1 => Kind::None,
            2 => Kind::Bool,
            3 => Kind::Int,
            4 => Kind::Float,
            5 => Kind::Str,
            6 => Kind::Bytes,
            7 => Kind::ByteArray,
            8 => Kind::List,
            9 => Kind::Tuple,
            10 => Kind::Dict,
            _ => Kind::Other,
        }
    }

    pub fn is_none(&self) -> bool {
        self.kind() == Kind::None
    }

    pub fn is_generator(&self) -> bool {
        unsafe { glue_is_generator(self.raw()) != 0 }
    }

    pub fn has_type(&self, class: &Py) -> bool {
        unsafe { glue_has_type(self.raw(), class.raw()) != 0 }
    }

    pub fn type_name(&self) -> String {
        let name = unsafe { std::ffi::CStr::from_ptr(glue_type_name(self.raw())) };
        name.to_string_lossy().into_owned()
    }

    /// True for `True` itself; the caller has checked that this is a bool.
    pub fn is_true(&self) -> bool {
        unsafe { glue_is_true(self.raw()) != 0 }
    }

    pub fn as_u64(&self) -> Option<u64> {
        let mut value = 0;
        (self.kind() == Kind::Int && unsafe { glue_as_u64(self.raw(), &mut value) } == 0).then_some(value)
    }

    pub fn as_i64(&self) -> Option<i64> {
        let mut value = 0;
        (self.kind() == Kind::Int && unsafe { glue_as_i64(self.raw(), &mut value) } == 0).then_some(value)
    }

    pub fn as_u128(&self) -> Option<u128> {
        if let Some(small) = self.as_u64() {
            return Some(small as u128);
        }
        if self.kind() != Kind::Int || self.is_negative() {
            return None;
        }
        let bytes = self.int_bytes();
        let mut value = [0u8; 16];
        if bytes.len() > 17 || (bytes.len() == 17 && bytes[16] != 0) {
            return None;
        }
        let size = bytes.len().min(16);
        value[..size].copy_from_slice(&bytes[..size]);
        Some(u128::from_le_bytes(value))
    }

    /// Of an int.
    pub fn is_negative(&self) -> bool {
        unsafe { glue_is_negative(self.raw()) != 0 }
    }

    /// An int's two's complement, little-endian, with its sign bit.
    pub fn int_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; unsafe { glue_int_size(self.raw()) } as usize];
        if unsafe { glue_int_to_bytes(self.raw(), bytes.as_mut_ptr(), bytes.len() as isize) } != 0 {
            crate::ic0::trap(&Raised.text());
        }
        bytes
    }

    /// Of a float.
    pub fn as_f64(&self) -> f64 {
        unsafe { PyFloat_AsDouble(self.raw()) }
    }

    /// The bytes of a bytes or bytearray object, valid while it lives and is not resized.
    pub fn buffer(&self) -> &[u8] {
        let mut size = 0;
        let data = unsafe { glue_buffer(self.raw(), &mut size) };
        if size == 0 {
            return &[];
        }
        unsafe { std::slice::from_raw_parts(data, size as usize) }
    }

    /// The text of a str as UTF-8; fails for lone surrogates.
    pub fn as_str(&self) -> Result<&str, Raised> {
        let mut size = 0;
        let data = unsafe { PyUnicode_AsUTF8AndSize(self.raw(), &mut size) };
        if data.is_null() {
            return Err(Raised);
        }
        Ok(unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(data, size as usize)) })
    }

    pub fn str_lossy(&self) -> String {
        match self.as_str() {
            Ok(text) => text.to_owned(),
            Err(raised) => {
                drop(raised);
                unsafe { PyErr_Clear() };
                String::from("(unprintable)")
            }
        }
    }

    /// Number of items of a list or tuple.
    pub fn sequence_size(&self) -> usize {
        unsafe { glue_sequence_size(self.raw()) as usize }
    }

    /// An item of a list or tuple; none beyond its end.
    pub fn sequence_item(&self, index: usize) -> Option<Py> {
        if index >= self.sequence_size() {
            return None;
        }
        Py::borrowed(unsafe { glue_sequence_item(self.raw(), index as isize) })
    }

    pub fn dict_size(&self) -> usize {
        unsafe { PyDict_Size(self.raw()) as usize }
    }

    pub fn dict_get(&self, key: &Py) -> Option<Py> {
        Py::borrowed(unsafe { glue_dict_get(self.raw(), key.raw()) })
    }

    pub fn dict_set(&self, key: &Py, value: &Py) -> Result<(), Raised> {
        match unsafe { PyDict_SetItem(self.raw(), key.raw(), value.raw()) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// The entries of a dict, in order.
    pub fn dict_entries(&self) -> Vec<(Py, Py)> {
        let mut entries = Vec::with_capacity(self.dict_size());
        let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        while unsafe { PyDict_Next(self.raw(), &mut position, &mut key, &mut value) } != 0 {
            if let (Some(key), Some(value)) = (Py::borrowed(key), Py::borrowed(value)) {
                entries.push((key, value));
            }
        }
        entries
    }

    pub fn attribute(&self, name: &Py) -> PyResult {
        Py::owned(unsafe { PyObject_GetAttr(self.raw(), name.raw()) })
    }

    pub fn attribute_named(&self, name: &str) -> PyResult {
        Py::owned(unsafe { PyObject_GetAttrString(self.raw(), c_string(name).as_ptr()) })
    }

    pub fn call(&self, arguments: &[Py]) -> PyResult {
        // `Py` is a bare pointer, so the slice is already what a vector call takes.
        let pointers = arguments.as_ptr() as *const Raw;
        Py::owned(unsafe { glue_call(self.raw(), pointers, arguments.len()) })
    }

    /// One step of a generator.
    pub fn send(&self, value: &Py) -> Result<Step, Raised> {
        let mut result = std::ptr::null_mut();
        match unsafe { glue_send(self.raw(), value.raw(), &mut result) } {
            1 => Ok(Step::Yielded(Py::owned(result)?)),
            0 => Ok(Step::Returned(Py::owned(result)?)),
            _ => Err(Raised),
        }
    }
}

/// What a generator did.
pub enum Step {
    Yielded(Py),
    Returned(Py),
}

pub fn import(name: &str) -> PyResult {
    Py::owned(unsafe { PyImport_ImportModule(c_string(name).as_ptr()) })
}

/// A global of the canister's entry module.
pub fn global(name: &str) -> Option<Py> {
    Py::borrowed(unsafe { glue_global(c_string(name).as_ptr()) })
}

pub fn run(source: &str, filename: &str) -> Result<(), Raised> {
    match unsafe { glue_run(c_string(source).as_ptr(), c_string(filename).as_ptr()) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter runs, and its allocator with it.
pub fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

pub fn start() {
    if unsafe { glue_start() } != 0 {
        crate::ic0::trap("CPython did not start");
    }
    RUNNING.store(true, Ordering::Relaxed);
}

pub fn add_module(methods: &'static [MethodDef]) -> Result<(), Raised> {
    match unsafe { glue_add_module(methods.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

/// A function of Python that has `object` as its first argument always: what its entry calls the module.
pub fn bound(method: &'static MethodDef, object: Py) -> PyResult {
    Py::owned(unsafe { glue_bound_function(method, object.raw()) })
}

/// Whether the Python code that called the running function throws its result away.
pub fn result_is_dropped() -> bool {
    unsafe { glue_result_is_dropped() == 1 }
}

/// Sets a TypeError for Python to see.
pub fn raise_type_error(text: &str) -> Raised {
    unsafe { glue_set_error(glue_type_error(), text.as_ptr(), text.len() as isize) };
    Raised
}

/// Sets a ValueError for Python to see.
pub fn raise_value_error(text: &str) -> Raised {
    unsafe { glue_set_error(glue_value_error(), text.as_ptr(), text.len() as isize) };
    Raised
}

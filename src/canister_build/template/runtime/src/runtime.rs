//! The canister as the platform sees it: starting Python, the methods and hooks, guards, arguments and replies.
//! Not for what happens while a method waits: that is `calls.rs`.

use crate::calls;
use crate::encode::Codec;
use crate::global::Global;
use crate::ic0;
use crate::json::Json;
use crate::py::{self, Kind, Py, PyResult};
use crate::types::{TypeRef, Types, TYPES};
use std::collections::HashMap;

pub struct Method {
    name: String,
    function: Option<Py>,
    guard: Option<(String, Option<Py>)>,
    arguments: Codec,
    result: &'static Codec,
    manual_reply: bool,
}

struct Runtime {
    principal_class: Py,
    service_class: Py,
    principal_bytes: Py,
    service_principal: Py,
    methods: Vec<Method>,
    hooks: Vec<(String, Method)>,
    codecs: HashMap<String, &'static Codec>,
    /// How `ic.reply` encodes, for the method being run.
    reply: Option<&'static Codec>,
    last_caller: Option<(Vec<u8>, Py)>,
    ok: Py,
    err: Py,
}

static RUNTIME: Global<Runtime> = Global::new();

extern "C" {
    fn python_source_passive_data_size() -> i32;
    fn method_meta_passive_data_size() -> i32;
    fn init_python_source_passive_data(destination: i32);
    fn init_method_meta_passive_data(destination: i32);
}

/// Text the build put into the Wasm.
fn injected(size: unsafe extern "C" fn() -> i32, read: unsafe extern "C" fn(i32)) -> String {
    let mut bytes = vec![0u8; unsafe { size() } as usize];
    if !bytes.is_empty() {
        unsafe { read(bytes.as_mut_ptr() as i32) };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| ic0::trap("the injected source is not UTF-8"))
}

fn python<T>(result: Result<T, py::Raised>) -> T {
    result.unwrap_or_else(|raised| ic0::trap(&raised.text()))
}

fn text(result: Result<TypeRef, String>) -> TypeRef {
    result.unwrap_or_else(|error| ic0::trap(&error))
}

/// Starts Python and runs the canister's source.
pub fn start() {
    let table = Json::parse(&injected(method_meta_passive_data_size, init_method_meta_passive_data));
    let source = injected(python_source_passive_data_size, init_python_source_passive_data);
    py::start();
    python(py::add_module(crate::api::methods()));
    let module = python(py::import("basilisk"));
    let definitions = table.entries("type_defs").into_iter().filter_map(|(name, value)| match value {
        Json::Text(text) => Some((name.to_owned(), text.clone())),
        _ => None,
    });
    TYPES.set(Types::new(definitions.collect()));
    RUNTIME.set(Runtime {
        principal_class: python(module.attribute_named("Principal")),
        service_class: python(module.attribute_named("Service")),
        principal_bytes: Py::interned("bytes"),
        service_principal: Py::interned("canister_id"),
        methods: Vec::new(),
        hooks: Vec::new(),
        codecs: HashMap::new(),
        reply: None,
        last_caller: None,
        ok: Py::interned("Ok"),
        err: Py::interned("Err"),
    });
    calls::start(&module);
    python(py::run("from basilisk import *", "<template>"));
    python(py::run(&source, "<canister>"));
    let methods = table.list("methods").iter().map(read_method).collect();
    let hooks = table.entries("lifecycle").into_iter().map(|(hook, json)| (hook.to_owned(), read_method(json)));
    let hooks = hooks.collect();
    let runtime = RUNTIME.get();
    runtime.methods = methods;
    runtime.hooks = hooks;
    // What the source made stays: no collection of garbage has to walk through it.
    python(py::import("gc").and_then(|gc| gc.attribute_named("freeze")).and_then(|freeze| freeze.call(&[])));
}

fn read_method(json: &Json) -> Method {
    let name = json.text("name").unwrap_or_default().to_owned();
    let types = TYPES.get();
    let parameters = json.list("params").iter();
    let arguments = parameters.map(|p| text(types.parse(p.text("candid_type").unwrap_or_default()))).collect();
    let results = types.parse_list(json.text("returns").unwrap_or_default());
    let results = results.unwrap_or_else(|error| ic0::trap(&error));
    Method {
        function: py::global(&name),
        guard: json.text("guard").map(|guard| (guard.to_owned(), py::global(guard))),
        arguments: Codec::new(arguments),
        result: Box::leak(Box::new(Codec::new(results))),
        manual_reply: json.flag("manual_reply"),
        name,
    }
}

fn find_hook(hook: &str) -> Option<&'static Method> {
    RUNTIME.get().hooks.iter().find(|(name, _)| name == hook).map(|(_, method)| method)
}

pub fn has_hook(hook: &str) -> bool {
    find_hook(hook).is_some()
}

/// Runs a lifecycle hook, when the canister has it.
pub fn run_hook(hook: &str) {
    let Some(method) = find_hook(hook) else {
        return;
    };
    let arguments = method.read_arguments();
    let result = method.call(&arguments);
    if result.is_generator() {
        calls::run_detached(result);
    }
}

/// Runs a query or update method by its place in the method table.
pub fn run_method(index: i32) {
    let runtime = RUNTIME.get();
    let Some(method) = runtime.methods.get(index as usize) else {
        ic0::trap(&format!("no method has the index {index}"));
    };
    runtime.reply = Some(method.result);
    if let Err(reason) = method.admit() {
        return ic0::reject(&reason);
    }
    let arguments = method.read_arguments();
    let result = method.call(&arguments);
    if result.is_generator() {
        return calls::run(result, method);
    }
    if !method.manual_reply {
        method.reply(&result);
    }
}

impl Method {
    pub fn codec(&self) -> &'static Codec {
        self.result
    }

    pub fn replies_itself(&self) -> bool {
        self.manual_reply
    }

    /// Asks the guard. Its `{"Err": reason}` is an explicit reject; anything else it does wrong traps.
    fn admit(&self) -> Result<(), String> {
        let Some((name, guard)) = &self.guard else {
            return Ok(());
        };
        let Some(guard) = guard else {
            ic0::trap(&format!("guard {name:?} is not among the globals of the canister"));
        };
        let answer = python(guard.call(&[]));
        let runtime = RUNTIME.get();
        if answer.kind() == Kind::Dict && answer.dict_size() == 1 {
            if answer.dict_get(&runtime.ok).is_some_and(|value| value.is_none()) {
                return Ok(());
            }
            if let Some(reason) = answer.dict_get(&runtime.err).filter(|reason| reason.kind() == Kind::Str) {
                return Err(reason.str_lossy());
            }
        }
        ic0::trap(&format!("guard {name:?} must return {{\"Ok\": None}} or {{\"Err\": str}}"));
    }

    fn read_arguments(&self) -> Vec<Py> {
        if self.arguments.types.is_empty() {
            return Vec::new();
        }
        self.arguments.decode(&ic0::arg_data()).unwrap_or_else(|error| {
            ic0::trap(&format!("failed to decode call arguments: {}: {error}", self.name));
        })
    }

    fn call(&self, arguments: &[Py]) -> Py {
        match &self.function {
            Some(function) => python(function.call(arguments)),
            None => ic0::trap(&format!("method {:?} is not among the globals of the canister", self.name)),
        }
    }

    fn reply(&self, result: &Py) {
        match encode_result(self.result, result) {
            Ok(data) => ic0::reply(&data),
            Err(error) => ic0::trap(&format!("failed to encode the result: {}: {error}", self.name)),
        }
    }
}

/// A method's result as a message; no declared result takes None.
pub fn encode_result(codec: &Codec, result: &Py) -> Result<Vec<u8>, String> {
    match codec.types.len() {
        0 if result.is_none() => codec.encode(&[]),
        0 => Err(format!("expected None, got {}", result.type_name())),
        _ => codec.encode(std::slice::from_ref(result)),
    }
}

/// Encodes for `ic.reply`, by the result type of the method being run.
pub fn encode_reply(value: &Py) -> Result<Vec<u8>, String> {
    match RUNTIME.get().reply {
        Some(codec) => encode_result(codec, value),
        None => Err(String::from("there is no method to reply to")),
    }
}

/// What `ic.reply` encodes by, for the rest of this message.
pub fn set_reply(codec: Option<&'static Codec>) {
    RUNTIME.get().reply = codec;
}

/// The caller's Principal: a new one only for another caller than the last.
pub fn caller() -> Py {
    let bytes = ic0::caller();
    let runtime = RUNTIME.get();
    if let Some((known, principal)) = &runtime.last_caller {
        if *known == bytes {
            return principal.clone();
        }
    }
    let made = principal(&bytes);
    runtime.last_caller = Some((bytes, made.clone()));
    made
}

pub fn principal(bytes: &[u8]) -> Py {
    python(RUNTIME.get().principal_class.call(&[Py::bytes(bytes)]))
}

/// The bytes object within a Principal, none for anything else.
pub fn principal_bytes(value: &Py) -> Option<Py> {
    let runtime = RUNTIME.get();
    if !value.has_type(&runtime.principal_class) {
        return None;
    }
    value.attribute(&runtime.principal_bytes).ok().filter(|bytes| bytes.kind() == Kind::Bytes)
}

pub fn service(principal: Py) -> Py {
    python(RUNTIME.get().service_class.call(&[principal]))
}

/// The Principal of a Service.
pub fn service_principal(value: &Py) -> Option<Py> {
    let name = RUNTIME.get().service_principal.clone();
    match value.attribute(&name) {
        Ok(principal) => Some(principal),
        Err(raised) => {
            drop(raised.text());
            None
        }
    }
}

/// A value of canister code that must be a Principal, or the text of one.
pub fn principal_argument(value: &Py) -> Result<Vec<u8>, String> {
    if let Some(bytes) = principal_bytes(value) {
        return Ok(bytes.buffer().to_vec());
    }
    match value.kind() {
        Kind::Str => crate::principal::from_text(&value.str_lossy()),
        _ => Err(format!("expected Principal, got {}", value.type_name())),
    }
}

/// The codec of a list of types. Descriptions come from the canister's source, so there are few: each is kept.
pub fn codec_of(description: &str) -> Result<&'static Codec, String> {
    if let Some(known) = RUNTIME.get().codecs.get(description) {
        return Ok(known);
    }
    let codec: &'static Codec = Box::leak(Box::new(Codec::new(TYPES.get().parse_list(description)?)));
    RUNTIME.get().codecs.insert(description.to_owned(), codec);
    Ok(codec)
}

/// Calls a callback of canister code and drives what it returns, with nobody to reply to.
pub fn run_callback(callback: &Py) {
    set_reply(None);
    let result: PyResult = callback.call(&[]);
    let result = python(result);
    if result.is_generator() {
        calls::run_detached(result);
    }
}

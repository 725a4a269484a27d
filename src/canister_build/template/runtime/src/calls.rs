//! Methods that wait: generators that yield calls to other canisters and go on with the answers.
//! Not for the answers' meaning: a `CallResult` carries a value or the reason there is none.

use crate::encode::Codec;
use crate::global::Global;
use crate::ic0;
use crate::py::{Py, Raised, Step};
use crate::runtime::{self, Method};

/// Reject code of an answer that could not be understood, as the platform's own for a misbehaving callee.
const CANISTER_ERROR: u32 = 5;

/// What to do when the outermost generator ends.
#[derive(Clone, Copy)]
enum End {
    Reply(&'static Codec),
    /// The method replies itself, with `ic.reply` by this codec.
    Manual(&'static Codec),
    /// A hook or a timer: nobody waits.
    Nothing,
}

/// A chain of generators, each waiting for the next; the last one waits for an answer.
struct Task {
    generators: Vec<Py>,
    end: End,
    awaited: Awaited,
}

/// How the answer of the call under way is read.
enum Awaited {
    Raw,
    Typed(&'static Codec),
}

struct Calls {
    tasks: Vec<Option<Task>>,
    call_class: Py,
    result_class: Py,
    names: Names,
}

struct Names {
    principal: Py,
    method: Py,
    data: Py,
    cycles: Py,
    return_types: Py,
}

static CALLS: Global<Calls> = Global::new();

pub fn start(module: &Py) {
    let class = |name: &str| module.attribute_named(name).unwrap_or_else(|raised| ic0::trap(&raised.text()));
    CALLS.set(Calls {
        tasks: Vec::new(),
        call_class: class("_ServiceCall"),
        result_class: class("CallResult"),
        names: Names {
            principal: Py::interned("_callee"),
            method: Py::interned("_method"),
            data: Py::interned("_data"),
            cycles: Py::interned("_cycles"),
            return_types: Py::interned("_returns"),
        },
    });
}

/// Drives a method's generator.
pub fn run(generator: Py, method: &Method) {
    let codec = method.codec();
    let end = if method.replies_itself() { End::Manual(codec) } else { End::Reply(codec) };
    drive(Task { generators: vec![generator], end, awaited: Awaited::Raw }, Py::none());
}

/// Drives a generator nobody waits for.
pub fn run_detached(generator: Py) {
    drive(Task { generators: vec![generator], end: End::Nothing, awaited: Awaited::Raw }, Py::none());
}

fn python<T>(result: Result<T, Raised>) -> T {
    result.unwrap_or_else(|raised| ic0::trap(&raised.text()))
}

/// Runs a task until it waits for an answer or ends.
fn drive(mut task: Task, mut value: Py) {
    runtime::set_reply(match task.end {
        End::Reply(codec) | End::Manual(codec) => Some(codec),
        End::Nothing => None,
    });
    while let Some(generator) = task.generators.last() {
        match python(generator.send(&value)) {
            Step::Returned(result) => {
                task.generators.pop();
                value = result;
            }
            Step::Yielded(inner) if inner.is_generator() => {
                task.generators.push(inner);
                value = Py::none();
            }
            Step::Yielded(call) => match perform(task, &call) {
                Sent::Waiting => return,
                Sent::Failed(back, code) => {
                    task = back;
                    value = failure(code, "the call could not be sent");
                }
            },
        }
    }
    if let End::Reply(codec) = task.end {
        match runtime::encode_result(codec, &value) {
            Ok(data) => ic0::reply(&data),
            Err(error) => ic0::trap(&format!("failed to encode the result: {error}")),
        }
    }
}

enum Sent {
    Waiting,
    Failed(Task, u32),
}

/// Sends the call a generator yielded and keeps the task until the answer comes.
fn perform(mut task: Task, call: &Py) -> Sent {
    let request = Request::read(call).unwrap_or_else(|error| ic0::trap(&error));
    task.awaited = request.awaited;
    let tasks = &mut CALLS.get().tasks;
    let slot = tasks.iter().position(Option::is_none).unwrap_or_else(|| {
        tasks.push(None);
        tasks.len() - 1
    });
    tasks[slot] = Some(task);
    let code = ic0::call(
        &request.callee,
        &request.method,
        request.data.buffer(),
        request.cycles,
        on_reply,
        on_reject,
        Some(on_cleanup),
        slot,
    );
    match code {
        0 => Sent::Waiting,
        _ => Sent::Failed(take(slot), code),
    }
}

fn take(slot: usize) -> Task {
    match CALLS.get().tasks.get_mut(slot).and_then(Option::take) {
        Some(task) => task,
        None => ic0::trap("an answer came that nobody waits for"),
    }
}

/// A call as canister code describes it.
struct Request {
    callee: Vec<u8>,
    method: String,
    data: Py,
    cycles: u128,
    awaited: Awaited,
}

impl Request {
    fn read(call: &Py) -> Result<Request, String> {
        let calls = CALLS.get();
        if !call.has_type(&calls.call_class) {
            return Err(format!("a canister method can yield calls and generators only, got {}", call.type_name()));
        }
        let names = &calls.names;
        let get = |name: &Py| call.attribute(name).map_err(|raised| raised.text());
        let cycles = get(&names.cycles)?;
        let returns = get(&names.return_types)?;
        Ok(Request {
            callee: runtime::principal_argument(&get(&names.principal)?)?,
            method: get(&names.method)?.str_lossy(),
            data: get(&names.data)?,
            cycles: cycles.as_u128().ok_or("cycles: expected an int from 0 to 2^128 - 1")?,
            awaited: match returns.is_none() {
                true => Awaited::Raw,
                false => Awaited::Typed(runtime::codec_of(&returns.str_lossy())?),
            },
        })
    }
}

/// Sends a call nobody waits for; the reject code it failed with, or 0.
pub fn notify(call: &Py) -> Result<u32, String> {
    let request = Request::read(call)?;
    Ok(ic0::notify(&request.callee, &request.method, request.data.buffer(), request.cycles))
}

fn result(ok: Py, err: Py) -> Py {
    python(CALLS.get().result_class.call(&[ok, err]))
}

fn failure(code: u32, text: &str) -> Py {
    result(Py::none(), Py::str(&format!("Rejection code {code}, {text}")))
}

extern "C" fn on_reply(slot: usize) {
    let task = take(slot);
    let data = ic0::arg_data();
    let value = match &task.awaited {
        Awaited::Raw => result(Py::bytes(&data), Py::none()),
        Awaited::Typed(codec) => match codec.decode(&data) {
            Ok(mut values) if values.len() == 1 => result(values.remove(0), Py::none()),
            Ok(values) if values.is_empty() => result(Py::none(), Py::none()),
            Ok(values) => result(Py::tuple(values), Py::none()),
            Err(error) => failure(CANISTER_ERROR, &format!("failed to decode the reply: {error}")),
        },
    };
    drive(task, value);
}

extern "C" fn on_reject(slot: usize) {
    let task = take(slot);
    let text = String::from_utf8_lossy(&ic0::reject_message()).into_owned();
    drive(task, failure(ic0::reject_code(), &text));
}

/// Runs after a callback trapped and was undone: the task is there again, and will never go on.
/// Dropping its generators runs their `finally` clauses, which release what they hold.
extern "C" fn on_cleanup(slot: usize) {
    drop(take(slot));
}

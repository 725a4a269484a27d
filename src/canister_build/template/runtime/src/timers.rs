//! Timers: each due one runs as a message of its own, a call the canister sends itself, so that a trap in one undoes
//! that one alone. Not kept over upgrades: the canister sets them again.

use crate::global::Global;
use crate::ic0;
use crate::py::Py;
use crate::runtime;
use std::collections::BTreeMap;

/// The method a due timer runs in; nobody but the canister may call it.
pub const METHOD: &str = "<timer>";
const NS_PER_SECOND: u64 = 1_000_000_000;

struct Timer {
    callback: Py,
    /// In nanoseconds; none for a timer that runs once.
    interval: Option<u64>,
}

#[derive(Default)]
struct Timers {
    next_id: u64,
    timers: BTreeMap<u64, Timer>,
    /// (due, id), of timers that are not being run.
    queue: BTreeMap<(u64, u64), ()>,
}

static TIMERS: Global<Timers> = Global::new();

fn timers() -> &'static mut Timers {
    if !TIMERS.is_set() {
        TIMERS.set(Timers::default());
    }
    TIMERS.get()
}

/// Sets a timer and returns its id. Seconds from now, and again after as many when it repeats.
pub fn set(seconds: u64, callback: Py, repeats: bool) -> Result<u64, String> {
    let delay = seconds.checked_mul(NS_PER_SECOND).filter(|delay| delay.checked_add(ic0::time()).is_some());
    let delay = delay.ok_or_else(|| format!("a delay of {seconds} s lies beyond the end of time"))?;
    let timers = timers();
    timers.next_id += 1;
    let id = timers.next_id;
    timers.timers.insert(id, Timer { callback, interval: repeats.then_some(delay) });
    timers.queue.insert((ic0::time() + delay, id), ());
    arm();
    Ok(id)
}

pub fn clear(id: u64) {
    let timers = timers();
    timers.timers.remove(&id);
    timers.queue.retain(|(_, queued), _| *queued != id);
    arm();
}

fn arm() {
    let due = timers().queue.keys().next().map_or(0, |(due, _)| *due);
    ic0::global_timer_set(due);
}

/// The platform's timer went off: every due timer gets its own message.
pub fn run_due() {
    let now = ic0::time();
    let canister = ic0::canister_self();
    while let Some((due, id)) = timers().queue.keys().next().copied() {
        if due > now {
            break;
        }
        let data = id.to_le_bytes();
        let code = ic0::call(&canister, METHOD, &data, 0, on_end, on_end, None, id as usize);
        if code != 0 {
            // No room for more calls: the rest gets its turn in a second.
            ic0::global_timer_set(now + NS_PER_SECOND);
            return;
        }
        timers().queue.remove(&(due, id));
    }
    arm();
}

/// A timer's message ended, well or in a trap.
extern "C" fn on_end(id: usize) {
    let id = id as u64;
    let timers = timers();
    let interval = match timers.timers.get(&id) {
        Some(timer) => timer.interval,
        None => return,
    };
    match interval {
        Some(interval) => {
            timers.queue.insert((ic0::time() + interval, id), ());
            arm();
        }
        None => {
            timers.timers.remove(&id);
        }
    }
}

/// Runs one timer, in the message the canister sent itself.
pub fn run_one() {
    if ic0::caller() != ic0::canister_self() {
        ic0::trap("timers are run by the canister itself");
    }
    let id = <[u8; 8]>::try_from(ic0::arg_data()).map_or(0, u64::from_le_bytes);
    // It may have been cleared since it was due.
    if let Some(callback) = timers().timers.get(&id).map(|timer| timer.callback.clone()) {
        runtime::run_callback(&callback);
    }
    ic0::reply(b"DIDL\0\0");
}

//! One value per canister, set at start and reachable from the exported functions.
//! Not for sharing between threads: a canister has one.

use std::cell::UnsafeCell;

pub struct Global<T>(UnsafeCell<Option<T>>);

// A canister runs one message at a time on one thread.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new() -> Self {
        Global(UnsafeCell::new(None))
    }

    pub fn set(&self, value: T) {
        unsafe { *self.0.get() = Some(value) }
    }

    /// The value. Callers must not keep the reference across a call into Python, which may come back here.
    #[allow(clippy::mut_from_ref)]
    pub fn get(&self) -> &mut T {
        match unsafe { (*self.0.get()).as_mut() } {
            Some(value) => value,
            None => crate::ic0::trap("the canister is not initialised"),
        }
    }

    pub fn is_set(&self) -> bool {
        unsafe { (*self.0.get()).is_some() }
    }
}

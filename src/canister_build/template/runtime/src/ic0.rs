//! The Internet Computer's system API: the imports and the thinnest safe wrappers around them.
//! Not for Python: `api.rs` is what canister code sees.

mod raw {
    #[link(wasm_import_module = "ic0")]
    extern "C" {
        pub fn accept_message();
        pub fn call_cycles_add128(high: u64, low: u64);
        pub fn call_data_append(src: usize, size: usize);
        #[allow(clippy::too_many_arguments)]
        pub fn call_new(
            callee_src: usize,
            callee_size: usize,
            name_src: usize,
            name_size: usize,
            reply_fun: usize,
            reply_env: usize,
            reject_fun: usize,
            reject_env: usize,
        );
        pub fn call_on_cleanup(fun: usize, env: usize);
        pub fn call_perform() -> u32;
        pub fn canister_cycle_balance128(dst: usize);
        pub fn canister_self_copy(dst: usize, offset: usize, size: usize);
        pub fn canister_self_size() -> usize;
        pub fn certified_data_set(src: usize, size: usize);
        pub fn data_certificate_copy(dst: usize, offset: usize, size: usize);
        pub fn data_certificate_present() -> u32;
        pub fn data_certificate_size() -> usize;
        pub fn debug_print(src: usize, size: usize);
        pub fn global_timer_set(timestamp: u64) -> u64;
        pub fn msg_arg_data_copy(dst: usize, offset: usize, size: usize);
        pub fn msg_arg_data_size() -> usize;
        pub fn msg_caller_copy(dst: usize, offset: usize, size: usize);
        pub fn msg_caller_size() -> usize;
        pub fn msg_cycles_accept128(high: u64, low: u64, dst: usize);
        pub fn msg_cycles_available128(dst: usize);
        pub fn msg_cycles_refunded128(dst: usize);
        pub fn msg_method_name_copy(dst: usize, offset: usize, size: usize);
        pub fn msg_method_name_size() -> usize;
        pub fn msg_reject(src: usize, size: usize);
        pub fn msg_reject_code() -> u32;
        pub fn msg_reject_msg_copy(dst: usize, offset: usize, size: usize);
        pub fn msg_reject_msg_size() -> usize;
        pub fn msg_reply();
        pub fn msg_reply_data_append(src: usize, size: usize);
        pub fn performance_counter(counter: u32) -> u64;
        pub fn stable64_grow(pages: u64) -> u64;
        pub fn stable64_read(dst: u64, offset: u64, size: u64);
        pub fn stable64_size() -> u64;
        pub fn stable64_write(offset: u64, src: u64, size: u64);
        pub fn time() -> u64;
        pub fn trap(src: usize, size: usize) -> !;
    }
}

/// A callback: gets the `env` it was registered with.
pub type Callback = extern "C" fn(usize);

fn fetch(size: usize, copy: unsafe extern "C" fn(usize, usize, usize)) -> Vec<u8> {
    let mut bytes = vec![0u8; size];
    unsafe { copy(bytes.as_mut_ptr() as usize, 0, size) };
    bytes
}

fn fetch_u128(read: unsafe extern "C" fn(usize)) -> u128 {
    let mut bytes = [0u8; 16];
    unsafe { read(bytes.as_mut_ptr() as usize) };
    u128::from_le_bytes(bytes)
}

pub fn trap(message: &str) -> ! {
    unsafe { raw::trap(message.as_ptr() as usize, message.len()) }
}

pub fn debug_print(message: &[u8]) {
    unsafe { raw::debug_print(message.as_ptr() as usize, message.len()) }
}

pub fn accept_message() {
    unsafe { raw::accept_message() }
}

pub fn arg_data_size() -> usize {
    unsafe { raw::msg_arg_data_size() }
}

pub fn arg_data() -> Vec<u8> {
    fetch(arg_data_size(), raw::msg_arg_data_copy)
}

pub fn caller() -> Vec<u8> {
    fetch(unsafe { raw::msg_caller_size() }, raw::msg_caller_copy)
}

pub fn canister_self() -> Vec<u8> {
    fetch(unsafe { raw::canister_self_size() }, raw::canister_self_copy)
}

pub fn method_name() -> Vec<u8> {
    fetch(unsafe { raw::msg_method_name_size() }, raw::msg_method_name_copy)
}

pub fn reject_code() -> u32 {
    unsafe { raw::msg_reject_code() }
}

pub fn reject_message() -> Vec<u8> {
    fetch(unsafe { raw::msg_reject_msg_size() }, raw::msg_reject_msg_copy)
}

pub fn reply(data: &[u8]) {
    unsafe {
        raw::msg_reply_data_append(data.as_ptr() as usize, data.len());
        raw::msg_reply();
    }
}

pub fn reject(message: &str) {
    unsafe { raw::msg_reject(message.as_ptr() as usize, message.len()) }
}

pub fn balance() -> u128 {
    fetch_u128(raw::canister_cycle_balance128)
}

pub fn cycles_available() -> u128 {
    fetch_u128(raw::msg_cycles_available128)
}

pub fn cycles_refunded() -> u128 {
    fetch_u128(raw::msg_cycles_refunded128)
}

pub fn cycles_accept(max: u128) -> u128 {
    let mut bytes = [0u8; 16];
    unsafe { raw::msg_cycles_accept128((max >> 64) as u64, max as u64, bytes.as_mut_ptr() as usize) };
    u128::from_le_bytes(bytes)
}

pub fn certified_data_set(data: &[u8]) {
    unsafe { raw::certified_data_set(data.as_ptr() as usize, data.len()) }
}

pub fn data_certificate() -> Option<Vec<u8>> {
    if unsafe { raw::data_certificate_present() } == 0 {
        return None;
    }
    Some(fetch(unsafe { raw::data_certificate_size() }, raw::data_certificate_copy))
}

pub fn time() -> u64 {
    unsafe { raw::time() }
}

pub fn global_timer_set(timestamp: u64) {
    unsafe { raw::global_timer_set(timestamp) };
}

pub fn performance_counter(counter: u32) -> u64 {
    unsafe { raw::performance_counter(counter) }
}

/// Size of stable memory in pages of 64 KiB.
pub fn stable_size() -> u64 {
    unsafe { raw::stable64_size() }
}

/// Grows stable memory; the size before, or `u64::MAX` when there is no room.
pub fn stable_grow(pages: u64) -> u64 {
    unsafe { raw::stable64_grow(pages) }
}

/// Reads stable memory. Traps when the range lies outside of it.
pub fn stable_read(offset: u64, size: usize) -> Vec<u8> {
    let end = offset.checked_add(size as u64);
    if end.is_none_or(|end| end > stable_size() * 65_536) {
        trap(&format!("stable memory read of {size} bytes at {offset} is out of bounds"));
    }
    let mut bytes = vec![0u8; size];
    unsafe { raw::stable64_read(bytes.as_mut_ptr() as u64, offset, size as u64) };
    bytes
}

pub fn stable_write(offset: u64, data: &[u8]) {
    unsafe { raw::stable64_write(offset, data.as_ptr() as u64, data.len() as u64) }
}

/// Sends a call; 0, or the reject code it failed with before it was sent.
pub fn call(
    callee: &[u8],
    method: &str,
    data: &[u8],
    cycles: u128,
    on_reply: Callback,
    on_reject: Callback,
    on_cleanup: Option<Callback>,
    env: usize,
) -> u32 {
    unsafe {
        raw::call_new(
            callee.as_ptr() as usize,
            callee.len(),
            method.as_ptr() as usize,
            method.len(),
            on_reply as usize,
            env,
            on_reject as usize,
            env,
        );
        if let Some(cleanup) = on_cleanup {
            raw::call_on_cleanup(cleanup as usize, env);
        }
        raw::call_data_append(data.as_ptr() as usize, data.len());
        if cycles > 0 {
            raw::call_cycles_add128((cycles >> 64) as u64, cycles as u64);
        }
        raw::call_perform()
    }
}

/// Sends a call nobody waits for. The callbacks of -1 make the platform drop the answer.
pub fn notify(callee: &[u8], method: &str, data: &[u8], cycles: u128) -> u32 {
    unsafe {
        raw::call_new(
            callee.as_ptr() as usize,
            callee.len(),
            method.as_ptr() as usize,
            method.len(),
            usize::MAX,
            usize::MAX,
            usize::MAX,
            usize::MAX,
        );
        raw::call_data_append(data.as_ptr() as usize, data.len());
        if cycles > 0 {
            raw::call_cycles_add128((cycles >> 64) as u64, cycles as u64);
        }
        raw::call_perform()
    }
}

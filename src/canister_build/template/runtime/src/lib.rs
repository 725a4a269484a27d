//! The canister template's own half: CPython runs the canister's source, this crate connects it to the platform.
//! The build injects source and method table into the finished Wasm and adds an export for every method.

mod api;
mod calls;
mod decode;
mod encode;
mod global;
mod ic0;
mod json;
mod layout;
mod maps;
mod node;
mod pages;
mod principal;
mod py;
mod runtime;
mod slots;
mod stored;
mod text;
mod timers;
mod tree;
mod types;
mod wire;

use std::alloc::{GlobalAlloc, Layout};

extern "C" {
    fn __wasm_call_ctors();
    fn aligned_alloc(align: usize, size: usize) -> *mut u8;
    fn free(pointer: *mut u8);
    fn malloc(size: usize) -> *mut u8;
    fn PyObject_Free(pointer: *mut u8);
    fn PyObject_Malloc(size: usize) -> *mut u8;
    fn PyObject_Realloc(pointer: *mut u8, size: usize) -> *mut u8;
}

/// CPython's heap is Rust's as well: its allocator takes a fraction of `malloc`'s instructions for small blocks. Until
/// the interpreter runs there is `malloc` alone; CPython's knows such blocks and hands them back.
struct Shared;

/// What CPython's allocator aligns to.
const PYTHON_ALIGN: usize = 8;

unsafe impl GlobalAlloc for Shared {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PYTHON_ALIGN {
            return aligned_alloc(layout.align(), layout.size().next_multiple_of(layout.align()));
        }
        match py::is_running() {
            true => PyObject_Malloc(layout.size()),
            false => malloc(layout.size()),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _layout: Layout) {
        match py::is_running() {
            true => PyObject_Free(pointer),
            false => free(pointer),
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= PYTHON_ALIGN && py::is_running() {
            return PyObject_Realloc(pointer, size);
        }
        let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(pointer, layout.size().min(size));
            self.dealloc(pointer, layout);
        }
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Shared = Shared;

fn start() {
    // Called here and nowhere else; were it not, the linker would wrap every export in it.
    unsafe { __wasm_call_ctors() };
    std::panic::set_hook(Box::new(|panic| ic0::trap(&format!("Panicked: {panic}"))));
}

#[export_name = "canister_init"]
pub extern "C" fn canister_init() {
    start();
    layout::check_install();
    runtime::start();
    runtime::run_hook("init");
}

#[export_name = "canister_post_upgrade"]
pub extern "C" fn canister_post_upgrade() {
    start();
    layout::check_upgrade();
    runtime::start();
    runtime::run_hook("post_upgrade");
}

#[export_name = "canister_pre_upgrade"]
pub extern "C" fn canister_pre_upgrade() {
    runtime::run_hook("pre_upgrade");
}

#[export_name = "canister_heartbeat"]
pub extern "C" fn canister_heartbeat() {
    runtime::run_hook("heartbeat");
}

#[export_name = "canister_inspect_message"]
pub extern "C" fn canister_inspect_message() {
    match runtime::has_hook("inspect_message") {
        true => runtime::run_hook("inspect_message"),
        false => ic0::accept_message(),
    }
}

#[export_name = "canister_global_timer"]
pub extern "C" fn canister_global_timer() {
    timers::run_due();
}

#[export_name = "canister_update <timer>"]
pub extern "C" fn canister_run_timer() {
    timers::run_one();
}

#[export_name = "execute_query_method"]
pub extern "C" fn execute_query_method(index: i32) {
    runtime::run_method(index);
}

#[export_name = "execute_update_method"]
pub extern "C" fn execute_update_method(index: i32) {
    runtime::run_method(index);
}

/* The system interface the C library imports, defined here so that nothing but `ic0` is left to import.
 * A canister has no files, no environment and no sockets: those calls fail as they would on a bare machine.
 * Not a source of randomness: `random_get` gives the same bytes on every replica; nothing secret may come of it. */

#include <stddef.h>
#include <stdint.h>

#define IC0(name) __attribute__((import_module("ic0"), import_name(#name)))
#define WASI(name) __imported_wasi_snapshot_preview1_##name

IC0(debug_print) void ic0_debug_print(const char *text, size_t size);
IC0(time) uint64_t ic0_time(void);
IC0(trap) _Noreturn void ic0_trap(const char *text, size_t size);

enum { OK = 0, BAD_DESCRIPTOR = 8, NO_ENTRY = 44, NOT_SUPPORTED = 52 };

/* Output goes to the debug log, which is empty on ordinary paths. */
int32_t WASI(fd_write)(int32_t descriptor, int32_t vectors, int32_t count, int32_t written)
{
    if (descriptor != 1 && descriptor != 2) return BAD_DESCRIPTOR;
    const struct { const char *text; uint32_t size; } *vector = (const void *)vectors;
    uint32_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        ic0_debug_print(vector[i].text, vector[i].size);
        total += vector[i].size;
    }
    *(uint32_t *)written = total;
    return OK;
}

int32_t WASI(clock_time_get)(int32_t clock, int64_t precision, int32_t time)
{
    (void)clock, (void)precision;
    *(uint64_t *)time = ic0_time();
    return OK;
}

int32_t WASI(clock_res_get)(int32_t clock, int32_t resolution)
{
    (void)clock;
    *(uint64_t *)resolution = 1;
    return OK;
}

int32_t WASI(random_get)(int32_t buffer, int32_t size)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    for (int32_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((uint8_t *)buffer)[i] = (uint8_t)state;
    }
    return OK;
}

_Noreturn void WASI(proc_exit)(int32_t code)
{
    (void)code;
    static const char text[] = "the interpreter ended";
    ic0_trap(text, sizeof text - 1);
}

static int32_t nothing(int32_t count, int32_t size)
{
    *(uint32_t *)count = 0;
    *(uint32_t *)size = 0;
    return OK;
}

int32_t WASI(args_sizes_get)(int32_t count, int32_t size) { return nothing(count, size); }
int32_t WASI(environ_sizes_get)(int32_t count, int32_t size) { return nothing(count, size); }

#define FAILS(error, name, ...) \
    int32_t WASI(name)(__VA_ARGS__) { return error; }

typedef int32_t i32;
typedef int64_t i64;

FAILS(OK, args_get, i32 a, i32 b)
FAILS(OK, environ_get, i32 a, i32 b)
FAILS(OK, sched_yield, void)
FAILS(NOT_SUPPORTED, poll_oneoff, i32 a, i32 b, i32 c, i32 d)
FAILS(BAD_DESCRIPTOR, fd_advise, i32 a, i64 b, i64 c, i32 d)
FAILS(BAD_DESCRIPTOR, fd_allocate, i32 a, i64 b, i64 c)
FAILS(BAD_DESCRIPTOR, fd_close, i32 a)
FAILS(BAD_DESCRIPTOR, fd_datasync, i32 a)
FAILS(BAD_DESCRIPTOR, fd_fdstat_get, i32 a, i32 b)
FAILS(BAD_DESCRIPTOR, fd_fdstat_set_flags, i32 a, i32 b)
FAILS(BAD_DESCRIPTOR, fd_filestat_get, i32 a, i32 b)
FAILS(BAD_DESCRIPTOR, fd_filestat_set_size, i32 a, i64 b)
FAILS(BAD_DESCRIPTOR, fd_filestat_set_times, i32 a, i64 b, i64 c, i32 d)
FAILS(BAD_DESCRIPTOR, fd_pread, i32 a, i32 b, i32 c, i64 d, i32 e)
FAILS(BAD_DESCRIPTOR, fd_prestat_get, i32 a, i32 b)
FAILS(BAD_DESCRIPTOR, fd_prestat_dir_name, i32 a, i32 b, i32 c)
FAILS(BAD_DESCRIPTOR, fd_pwrite, i32 a, i32 b, i32 c, i64 d, i32 e)
FAILS(BAD_DESCRIPTOR, fd_read, i32 a, i32 b, i32 c, i32 d)
FAILS(BAD_DESCRIPTOR, fd_readdir, i32 a, i32 b, i32 c, i64 d, i32 e)
FAILS(BAD_DESCRIPTOR, fd_renumber, i32 a, i32 b)
FAILS(BAD_DESCRIPTOR, fd_seek, i32 a, i64 b, i32 c, i32 d)
FAILS(BAD_DESCRIPTOR, fd_sync, i32 a)
FAILS(BAD_DESCRIPTOR, fd_tell, i32 a, i32 b)
FAILS(NO_ENTRY, path_create_directory, i32 a, i32 b, i32 c)
FAILS(NO_ENTRY, path_filestat_get, i32 a, i32 b, i32 c, i32 d, i32 e)
FAILS(NO_ENTRY, path_filestat_set_times, i32 a, i32 b, i32 c, i32 d, i64 e, i64 f, i32 g)
FAILS(NO_ENTRY, path_link, i32 a, i32 b, i32 c, i32 d, i32 e, i32 f, i32 g)
FAILS(NO_ENTRY, path_open, i32 a, i32 b, i32 c, i32 d, i32 e, i64 f, i64 g, i32 h, i32 i)
FAILS(NO_ENTRY, path_readlink, i32 a, i32 b, i32 c, i32 d, i32 e, i32 f)
FAILS(NO_ENTRY, path_remove_directory, i32 a, i32 b, i32 c)
FAILS(NO_ENTRY, path_rename, i32 a, i32 b, i32 c, i32 d, i32 e, i32 f)
FAILS(NO_ENTRY, path_symlink, i32 a, i32 b, i32 c, i32 d, i32 e)
FAILS(NO_ENTRY, path_unlink_file, i32 a, i32 b, i32 c)
FAILS(BAD_DESCRIPTOR, sock_accept, i32 a, i32 b, i32 c)
FAILS(BAD_DESCRIPTOR, sock_recv, i32 a, i32 b, i32 c, i32 d, i32 e, i32 f)
FAILS(BAD_DESCRIPTOR, sock_send, i32 a, i32 b, i32 c, i32 d, i32 e)
FAILS(BAD_DESCRIPTOR, sock_shutdown, i32 a, i32 b)

/* Destructors would run after every message; a canister's heap lives on instead. */
int atexit(void (*function)(void)) { (void)function; return OK; }
int __cxa_atexit(void (*function)(void *), void *argument, void *handle)
{
    (void)function, (void)argument, (void)handle;
    return OK;
}

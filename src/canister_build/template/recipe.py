"""How the template is made, stage by stage.

    wasi-libc ─┬─> python ──┐
    source ────┤            ├─> template
               └─> freezer ─┤
    runtime ────────────────┘

Not for running the stages: that is `pipeline`.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from . import downloads
from .errors import TemplateError
from .pipeline import Stage, Workshop
from .tools import Tools

TEMPLATE = "template.wasm"
MAX_GZIPPED = 1_900_000
"""An install message holds 2 MB, and the canister's own source has to fit beside the template."""

_HERE = Path(__file__).parent
_EMULATED = ("signal", "process-clocks", "mman", "getpid")
_DEFINES = tuple(f"-D_WASI_EMULATED_{name.upper().replace('-', '_')}" for name in _EMULATED)
_LIBRARIES = tuple(f"-lwasi-emulated-{name}" for name in _EMULATED)
_RUST_TARGET = "wasm32-unknown-unknown"
_STACK_BYTES = 2 << 20
"""Four times what CPython's parser and its deepest C recursion were seen to need; it is part of the heap's size."""

# No build time or path may end up in the result.
_TIMELESS = {"SOURCE_DATE_EPOCH": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}

DISABLED_MODULES = (
    *("_asyncio", "_blake2", "_bz2", "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr"),
    *("_codecs_tw", "_contextvars", "_crypt", "_csv", "_ctypes", "_curses", "_curses_panel", "_datetime", "_dbm"),
    *("_decimal", "_elementtree", "_gdbm", "_hashlib", "_interpchannels", "_interpqueues", "_interpreters"),
    *("_lsprof", "_lzma", "_md5", "_multibytecodec", "_multiprocessing", "_opcode", "_pickle", "_posixshmem"),
    *("_posixsubprocess", "_queue", "_random", "_scproxy", "_sha1", "_sha3", "_socket", "_sqlite3", "_ssl"),
    *("_statistics", "_tkinter", "_uuid", "_zoneinfo", "fcntl", "grp", "mmap", "nis", "ossaudiodev", "pyexpat"),
    *("readline", "resource", "select", "syslog", "termios", "unicodedata", "xxlimited", "xxlimited_35"),
    *("xxsubtype", "zlib"),
)
"""C modules the canisters have no use for, or that need what a canister lacks."""

FROZEN_MODULES = (
    *("__future__", "collections", "copyreg", "encodings", "encodings.aliases", "encodings.ascii"),
    *("encodings.latin_1", "encodings.utf_8", "functools", "keyword", "operator", "reprlib", "struct", "types"),
    "typing",
)
"""CPython's own Python modules that come along, beside those it freezes anyway; any other import fails."""

EXPORTS = (
    *("canister_global_timer", "canister_heartbeat", "canister_init", "canister_inspect_message"),
    *("canister_post_upgrade", "canister_pre_upgrade", "canister_update <timer>", "execute_query_method"),
    *("execute_update_method", "init_method_meta_passive_data", "init_python_source_passive_data"),
    *("method_meta_passive_data_size", "python_source_passive_data_size"),
)

_CONFIGURE_ANSWERS = {
    # The C library has clock(), but configure's probe declares it in a way the linker refuses.
    "ac_cv_func_clock": "yes",
    # Neither is there when the interpreter is linked.
    "ac_cv_func_dlopen": "no",
    "ac_cv_func_memfd_create": "no",
    "py_cv_module_zlib": "n/a",
    "py_cv_module_binascii": "n/a",
}


def _digest(folder: Path, *patterns: str) -> str:
    """Hash of the files of a folder that match, by name and content."""
    total = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def stages(tools: Tools) -> Stage:
    """The last stage, whose folder holds the template; the others hang on it."""
    step = _Steps(tools)
    clang = tools.clang_version
    wasi = _stage("wasi-libc", "C library for WebAssembly", step.wasi_libc, downloads.WASI_LIBC.text, clang)
    source = _stage("source", "CPython's source", step.source, downloads.CPYTHON.text)
    freezer = _stage("freezer", "program that compiles Python modules", step.freezer, clang, needs=(source,))
    options = ("-O3", *_DEFINES, *DISABLED_MODULES, *map(str, _CONFIGURE_ANSWERS.items()))
    python = _stage("python", "CPython for WebAssembly", step.python, clang, *options, needs=(wasi, source, freezer))
    crate = _digest(_HERE / "runtime", "Cargo.*", "src/*.rs")
    runtime = _stage("runtime", "the template's Rust part", step.runtime, tools.rust_version, crate)
    overlay = (_digest(_HERE / "native", "*.c"), _digest(_HERE / "frozen", "*.py"), *FROZEN_MODULES, *EXPORTS)
    needs = (wasi, source, freezer, python, runtime)
    return _stage("template", "freezing and linking", step.template, clang, *overlay, str(_STACK_BYTES), needs=needs)


def _stage(
    name: str, title: str, work: Callable[[Workshop], None], *inputs: str, needs: tuple[Stage, ...] = ()
) -> Stage:
    # How a stage works is an input as well.
    return Stage(name, title, (*inputs, inspect.getsource(work)), needs, work)


class _Steps:
    """The work of each stage, with the tools at hand."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def wasi_libc(self, shop: Workshop) -> None:
        """A folder shaped like a WASI SDK: the C library, and a clang that uses it."""
        package = downloads.fetch(downloads.WASI_LIBC, shop)
        shop.run(["dpkg-deb", "-x", package, shop.out / "unpacked"])
        sysroot = shop.out / "sysroot"
        for part in ("include", "lib"):
            (sysroot / part).mkdir(parents=True)
            (shop.out / "unpacked/usr" / part / "wasm32-wasi").rename(sysroot / part / "wasm32-wasi")
        shutil.rmtree(shop.out / "unpacked")
        _script(
            shop.out / "clang",
            f'exec {self._tools.clang} --sysroot="$(dirname "$0")/sysroot" --target=wasm32-wasi "$@"',
        )

    def source(self, shop: Workshop) -> None:
        """CPython's source, as its authors published it."""
        archive = downloads.fetch(downloads.CPYTHON, shop)
        with tarfile.open(archive) as tar:
            tar.extractall(shop.out / "unpacked", filter="data")
        (inner,) = (shop.out / "unpacked").iterdir()
        inner.rename(shop.out / "cpython")
        (shop.out / "unpacked").rmdir()

    def freezer(self, shop: Workshop) -> None:
        """`_freeze_module` for this machine: compiles Python source to 3.13's bytecode without a 3.13 to run."""
        build = shop.out / "build"
        build.mkdir()
        env = {**_TIMELESS, "CC": str(self._tools.clang), "CFLAGS": "-O0 -w", "OPT": ""}
        configure = shop.needs["source"] / "cpython/configure"
        shop.run([configure, "--disable-test-modules", "--without-ensurepip"], build, env)
        shop.run(["make", _jobs(), "Programs/_freeze_module"], build, _TIMELESS)
        (build / "Programs/_freeze_module").rename(shop.out / "freeze_module")
        shutil.rmtree(build)

    def python(self, shop: Workshop) -> None:
        """libpython for WebAssembly, tuned: -O3, no position-independent code, CPython's own allocator."""
        build = shop.out / "build"
        build.mkdir()
        # A relative path, so that what ends up in the library is the same wherever the cache is.
        (shop.out / "cpython").symlink_to(shop.needs["source"] / "cpython")
        helper = build / "build-python"
        _script(
            helper,
            f'case "$*" in *sys.version_info.major*) echo 3.13 ;; *) exec {sys.executable} "$@" ;; esac',
        )
        sdk = shop.needs["wasi-libc"]
        env = {
            **_TIMELESS,
            **_CONFIGURE_ANSWERS,
            "CC": str(sdk / "clang"),
            "AR": str(self._tools.ar),
            "RANLIB": str(self._tools.ranlib),
            "CFLAGS": " ".join(["-O3", f"-ffile-prefix-map={shop.out}=/cpython", *_DEFINES]),
            "LDFLAGS": " ".join(_LIBRARIES),
            "CONFIG_SITE": "../cpython/Tools/wasm/config.site-wasm32-wasi",
        }
        options = ["--host=wasm32-wasi", "--build=x86_64-pc-linux-gnu", f"--with-build-python={helper}"]
        options += ["--disable-shared", "--disable-test-modules", "--without-ensurepip", "--disable-ipv6"]
        options += ["--with-pymalloc", "--without-doc-strings"]
        shop.run(["../cpython/configure", *options], build, env)
        (build / "Modules/Setup.local").write_text(
            "*disabled*\n" + "\n".join(DISABLED_MODULES) + "\n", encoding="utf-8"
        )
        freezer = shop.needs["freezer"] / "freeze_module"
        freeze = [f"FREEZE_MODULE{suffix}={freezer}" for suffix in ("", "_BOOTSTRAP")]
        freeze += ["FREEZE_MODULE_DEPS=", "FREEZE_MODULE_BOOTSTRAP_DEPS="]
        shop.run(["make", _jobs(), *freeze, "libpython3.13.a"], build, _TIMELESS)
        hash_object = build / "Modules/_hacl/Hacl_Hash_SHA2.o"
        shop.run([self._tools.ar, "rD", build / "libpython3.13.a", hash_object])
        shutil.copytree(shop.out / "cpython/Include", shop.out / "include")
        (build / "pyconfig.h").rename(shop.out / "include/pyconfig.h")
        (build / "libpython3.13.a").rename(shop.out / "libpython3.13.a")
        (shop.out / "cpython").unlink()
        shutil.rmtree(build)

    def runtime(self, shop: Workshop) -> None:
        """The Rust part as one archive, with Rust's standard library built along."""
        crate, target = shop.out / "crate", shop.out / "target"
        shutil.copytree(_HERE / "runtime", crate, ignore=shutil.ignore_patterns("target"))
        env = {
            **_TIMELESS,
            "RUSTC": str(self._tools.rustc),
            # The standard library is built from its source, which stable compilers do when told they may.
            "RUSTC_BOOTSTRAP": "1",
            "CARGO_TARGET_DIR": str(target),
            "CARGO_TERM_COLOR": "never",
        }
        shop.run([self._tools.cargo, "fetch", "--locked"], crate, env)
        # Panic messages name source files: without the places of this machine, its registry's folder among them.
        registry = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"), "registry/src")
        maps = dict.fromkeys(sorted(registry.iterdir()), "/crates")
        maps |= {self._tools.rust_sysroot / "lib/rustlib/src/rust": "/rust", crate: "/runtime"}
        flags = [f"--remap-path-prefix={path}={name}" for path, name in maps.items()]
        env["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(flags)
        build = ["build", "--locked", "--release", "-Z", "build-std=std,panic_abort", "--target", _RUST_TARGET]
        shop.run([self._tools.cargo, *build], crate, env)
        archive = target / _RUST_TARGET / "release/libcanister_runtime.a"
        archive.rename(shop.out / "libcanister_runtime.a")
        shutil.rmtree(target)
        shutil.rmtree(crate)

    def template(self, shop: Workshop) -> None:
        """Freezes the Python modules, compiles the C between, links it all, and checks the result."""
        include = shop.needs["python"] / "include"
        clang = shop.needs["wasi-libc"] / "clang"
        (shop.out / "frozen.c").write_text(self._frozen(shop), encoding="utf-8")
        compile_ = [
            clang,
            "-c",
            "-O3",
            "-mbulk-memory",
            "-Wall",
            "-DNDEBUG",
            f"-ffile-prefix-map={shop.out}=/template",
            *_DEFINES,
        ]
        compile_ += ["-I", include]
        objects: list[Path] = []
        for source in (*sorted((_HERE / "native").glob("*.c")), shop.out / "frozen.c"):
            objects.append(shop.out / f"{source.stem}.o")
            shop.run([*compile_, f"-ffile-prefix-map={_HERE}=/template", source, "-o", objects[-1]], env=_TIMELESS)
        linked = shop.out / "linked.wasm"
        libraries = shop.needs["wasi-libc"] / "sysroot/lib/wasm32-wasi"
        command: list[str | Path] = [self._tools.linker, "--no-entry", "--gc-sections", "--strip-all", "-O2"]
        command += ["--stack-first", "-z", f"stack-size={_STACK_BYTES}", *(f"--export={name}" for name in EXPORTS)]
        command += [*objects, shop.needs["runtime"] / "libcanister_runtime.a"]
        command += [shop.needs["python"] / "libpython3.13.a", "-L", libraries, *_LIBRARIES, "-lc", "-lm"]
        shop.run([*command, self._tools.builtins, "-o", linked])
        _check(linked.read_bytes(), shop)
        linked.rename(shop.out / TEMPLATE)
        for leftover in (*objects, shop.out / "frozen.c"):
            leftover.unlink()

    def _frozen(self, shop: Workshop) -> str:
        """C source of the table of frozen modules: our own, and CPython's that come along."""
        library = shop.needs["source"] / "cpython/Lib"
        paths = {path.stem: path for path in sorted((_HERE / "frozen").glob("*.py"))}
        for name in FROZEN_MODULES:
            path = library / name.replace(".", "/")
            paths[name] = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        arrays: list[str] = []
        entries: list[str] = []
        for name, path in sorted(paths.items()):
            header = shop.out / "frozen.h"
            shop.run([shop.needs["freezer"] / "freeze_module", name, path, header])
            # CPython has arrays of these names for modules it freezes as well.
            arrays.append(
                header.read_text(encoding="utf-8").replace("const unsigned char", "static const unsigned char")
            )
            header.unlink()
            symbol = "_Py_M__" + name.replace(".", "_")
            is_package = int(path.name == "__init__.py")
            entries.append(f'    {{"{name}", {symbol}, (int)sizeof({symbol}), {is_package}}},\n')
        table = "".join(entries) + "    {NULL, NULL, 0, 0},\n"
        declaration = "const struct _frozen canister_frozen_modules[]"
        return f'#include "Python.h"\n{"".join(arrays)}\n{declaration} = {{\n{table}}};\n'


def _check(wasm: bytes, shop: Workshop) -> None:
    """The template imports nothing but the system API and fits an install message."""
    foreign = [name for name in (b"wasi_snapshot_preview1", b"\x03env") if name in wasm[:65_536]]
    if foreign:
        raise TemplateError(f"the template imports more than the system API: {foreign}")
    size = len(gzip.compress(wasm, 9, mtime=0))
    shop.note(f"{TEMPLATE}: {len(wasm)} bytes, {size} gzipped")
    if size > MAX_GZIPPED:
        raise TemplateError(f"the template has {size} bytes gzipped: at most {MAX_GZIPPED} leave room for a canister")


def _jobs() -> str:
    return f"-j{os.cpu_count() or 2}"


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)

"""What a build leaves: the same bytes everywhere, nothing built twice, the right exports, an honest manifest.

The Wasm here is a stand-in for the template; the genuine one is built upon in tests/canister.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from canister_build import Artifact, BuildError, SourceError, build, candid_of
from canister_build.wasm import WasmError, compress, custom_sections, edit, exports
from tests.support.canister_sources import EVERYTHING, stand_in_template, write_package

PLAIN = """from kybra import nat, query

VERSION: nat = 1003


@query
def get_version() -> nat:
    return VERSION
"""


@pytest.fixture(autouse=True)
def template(tmp_path_factory, monkeypatch) -> Path:
    path = stand_in_template(tmp_path_factory.mktemp("template"))
    monkeypatch.setenv("BASILISK_TEMPLATE_WASM", str(path))
    return path


def raw(artifact: Artifact) -> bytes:
    return gzip.decompress(artifact.wasm_gz.read_bytes())


def manifest(artifact: Artifact) -> dict[str, object]:
    return json.loads(artifact.manifest.read_text())


def test_the_same_source_gives_the_same_bytes_anywhere(tmp_path, template):
    copy = tmp_path / "elsewhere" / "everything"
    shutil.copytree(EVERYTHING, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__pycache__").mkdir()
    os.utime(copy / "main.py", (1, 1))
    places = [
        (EVERYTHING, {"HOME": "/", "TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1", "USER": "a"}),
        (copy, {"HOME": str(tmp_path), "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "USER": "b"}),
    ]
    found = []
    for number, (folder, environment) in enumerate(places):
        cwd = tmp_path / f"cwd{number}"
        cwd.mkdir()
        command = [sys.executable, "-m", "canister_build", str(folder), "--builder", "template", "--out", "out"]
        environment = {"BASILISK_TEMPLATE_WASM": str(template), "PATH": os.environ["PATH"], **environment}
        subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True)
        found.append({path.name: path.read_bytes() for path in (cwd / "out").iterdir()})
    assert set(found[0]) == {"everything.wasm.gz", "everything.did", "everything.json"}
    assert found[0] == found[1]


def test_nothing_is_built_twice(tmp_path):
    first = build(str(EVERYTHING), out=tmp_path)
    stamp = first.wasm_gz.stat().st_mtime_ns
    again = build(str(EVERYTHING), out=tmp_path)
    assert (first.rebuilt, again.rebuilt) == (True, False)
    assert again.wasm_sha256 == first.wasm_sha256
    assert first.wasm_gz.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", ["source", "template", "wasm", "did", "manifest", "gone"])
def test_it_is_built_again_after_any_change(tmp_path, template, change):
    folder = write_package(tmp_path, {"main.py": PLAIN}, package="plain")
    first = build(str(folder), out=tmp_path / "out")
    match change:
        case "source":
            (folder / "main.py").write_text(PLAIN + "# more\n")
        case "template":
            template.write_bytes(edit(template.read_bytes(), custom={"icp:public another": b"template"}))
        case "wasm":
            first.wasm_gz.write_bytes(first.wasm_gz.read_bytes() + b"x")
        case "did":
            first.did.write_text("service : {}")
        case "manifest":
            first.manifest.write_text("{")
        case "gone":
            first.wasm_gz.unlink()
    again = build(str(folder), out=tmp_path / "out")
    assert again.rebuilt
    assert (again.wasm_sha256 == first.wasm_sha256) == (change not in ("source", "template"))


def test_the_manifest_says_what_was_built_from_what(tmp_path, template):
    folder = write_package(tmp_path, {"main.py": PLAIN}, package="plain")
    artifact = build(str(folder), out=tmp_path / "out")
    record = manifest(artifact)
    packed = artifact.wasm_gz.read_bytes()
    assert record["name"] == "plain"
    assert record["builder"] == "template"
    assert record["version"] == 1003
    assert record["template_hash"] == hashlib.sha256(template.read_bytes()).hexdigest()
    assert record["wasm_gz_sha256"] == artifact.wasm_sha256 == hashlib.sha256(packed).hexdigest()
    assert record["wasm_sha256"] == hashlib.sha256(gzip.decompress(packed)).hexdigest()
    text = artifact.manifest.read_text()
    assert str(tmp_path) not in text
    assert "time" not in text


def test_a_canister_without_a_version_constant_has_none(tmp_path):
    folder = write_package(tmp_path, {"main.py": PLAIN.replace("VERSION: nat = 1003", "VERSION = str(3)")})
    assert manifest(build(str(folder), out=tmp_path / "out"))["version"] is None


def test_only_files_the_canister_uses_count_as_its_source(tmp_path):
    folder = write_package(tmp_path, {"main.py": PLAIN}, package="plain")
    build(str(folder), out=tmp_path / "out")
    (folder / "unused.py").write_text("x = 1\n")
    (folder / "plain.did").write_text("service : {}")
    assert not build(str(folder), out=tmp_path / "out").rebuilt


def test_hooks_the_source_does_not_have_are_not_exported(tmp_path):
    folder = write_package(tmp_path, {"main.py": PLAIN}, package="plain")
    names = exports(raw(build(str(folder), out=tmp_path / "out")))
    assert "canister_query get_version" in names
    assert {"canister_init", "canister_post_upgrade", "memory"} <= set(names)
    assert not {"canister_heartbeat", "canister_inspect_message", "canister_pre_upgrade"} & set(names)
    assert not [name for name in names if "passive" in name or "execute" in name]


def test_hooks_the_source_has_are_exported(tmp_path):
    names = set(exports(raw(build(str(EVERYTHING), out=tmp_path))))
    assert {"canister_heartbeat", "canister_inspect_message", "canister_pre_upgrade"} <= names
    assert {"canister_composite_query ask", "canister_update manual", "canister_query lookup"} <= names


def test_the_wasm_shows_its_candid_and_drops_what_compilers_leave(tmp_path):
    artifact = build(str(EVERYTHING), out=tmp_path)
    sections = custom_sections(raw(artifact))
    assert sections == {
        "icp:public layout": b"kept",
        "icp:public candid:service": candid_of(str(EVERYTHING)).encode(),
    }
    assert artifact.did.read_text() == candid_of(str(EVERYTHING))


def test_the_wasm_is_valid(tmp_path):
    engine = wasmtime.Engine()
    wasmtime.Module(engine, raw(build(str(EVERYTHING), out=tmp_path)))


def test_wrong_source_is_refused_before_anything_is_written(tmp_path):
    folder = write_package(tmp_path, {"main.py": "import json\n"})
    with pytest.raises(SourceError, match="standard module json"):
        build(str(folder), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "builder", "message"),
    [
        ("no_such_canister", "template", "is no canister.*Give one of factory, zone_canister"),
        ("/no/such/folder", "template", "there is no folder/main.py"),
        ("zone_canister", "cargo", "'cargo'; allowed are template and kybra"),
    ],
)
def test_a_wrong_name_is_answered_with_what_is_allowed(name, builder, message):
    with pytest.raises(BuildError, match=message):
        build(name, builder=builder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"text", "cannot be used as the template: not a Wasm module"), (b"\0asm\x01\0\0\0", "it does not export")],
)
def test_a_file_that_is_no_template_is_refused(template, tmp_path, content, message):
    template.write_bytes(content)
    with pytest.raises(BuildError, match=message):
        build(str(EVERYTHING), out=tmp_path)


def test_compression_depends_on_nothing_but_the_bytes():
    data = b"canister" * 10_000
    assert gzip.decompress(compress(data)) == data
    assert compress(data)[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"


@pytest.mark.parametrize("data", [b"", b"\0asm\x02\0\0\0", b"\0asm\x01\0\0\0\x07\xff\x01"])
def test_bytes_that_are_no_wasm_are_refused(data):
    with pytest.raises(WasmError):
        edit(data)

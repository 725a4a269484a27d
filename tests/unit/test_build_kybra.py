"""The builder that runs Kybra: what it says without the toolchain, and what it does with one.

Kybra here is a script that leaves what Kybra would leave.
"""

import gzip
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import kybra
import pytest
import wasmtime

from canister_build import BuildError, build, candid_of
from canister_build.kybra_builder import RUST_VERSION, build_kybra, install_toolchain, missing_tools, rust_folder
from canister_build.sources import load
from canister_build.wasm import custom_sections
from tests.support.canister_sources import write_package

MAIN = "from kybra import nat, query\n\n@query\ndef get_version() -> nat:\n    return 1\n"
TOOLS = ["rustup", "cargo", "rustc", "rustfmt", "wasi2ic", "candid-extractor"]
SCRIPT = """
import json, os, pathlib, sys
name, entry = sys.argv[1:]
assert pathlib.Path(entry).is_file(), entry
assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == {root!r}
pathlib.Path(os.environ["CANISTER_CANDID_PATH"]).write_text({did!r})
out = pathlib.Path(".kybra", name)
out.mkdir(parents=True, exist_ok=True)
(out / (name + ".wasm")).write_bytes(bytes.fromhex({wasm!r}))
print("line one")
print("the last line")
sys.exit({code})
"""


def toolchain(home: Path, tools: list[str]) -> Path:
    """A home folder with these tools where Kybra looks for them."""
    folder = rust_folder(home)
    folder.mkdir(parents=True)
    for tool in tools:
        (folder / tool).touch()
    return home


def fake_kybra(project: Path, root: Path, *, did: str, code: int = 0) -> tuple[str, ...]:
    """A command that does what Kybra's does, for the canister `plain` below `root`."""
    wasm = wasmtime.wat2wasm('(module (memory (export "memory") 1))').hex()
    script = project / "fake_kybra.py"
    script.write_text(SCRIPT.format(root=str(root), did=did, wasm=wasm, code=code))
    return (sys.executable, str(script))


@pytest.fixture
def project(tmp_path) -> Path:
    """A project folder with the package src/plain."""
    write_package(tmp_path / "src", {"main.py": MAIN}, package="plain")
    return tmp_path


def run(project: Path, *, did: str = "service : { get_version : () -> (nat) query }", code: int = 0) -> bytes:
    folder = project / "src" / "plain"
    command = fake_kybra(project, project / "src", did=did, code=code)
    home = toolchain(project / "home", TOOLS)
    return build_kybra(load(str(folder)), candid_of(str(folder)), command=command, home=home)


def test_without_its_toolchain_it_says_what_is_missing_and_how_to_get_it(project, monkeypatch):
    monkeypatch.setenv("HOME", str(toolchain(project / "home", ["cargo", "rustc"])))
    with pytest.raises(BuildError) as error:
        build(str(project / "src" / "plain"), builder="kybra", out=project / "out")
    text = str(error.value)
    assert f"missing rustup, rustfmt, wasi2ic, candid-extractor in ~/.config/kybra/rust/{RUST_VERSION}/bin" in text
    assert "python -m canister_build --install-kybra" in text
    assert "--builder template" in text
    assert not (project / "out").exists()


def test_the_tools_are_looked_for_where_the_installed_kybra_keeps_them():
    assert kybra.__rust_version__ == RUST_VERSION


def test_with_all_tools_nothing_is_missing(tmp_path):
    assert missing_tools(toolchain(tmp_path, TOOLS)) == []


def installer(folder: Path, monkeypatch, *, tools: list[str]) -> None:
    """Puts a stand-in for Kybra's installer where the package is looked up; it leaves these tools behind."""
    script = folder / "kybra" / "compiler" / "install_rust_dependencies.sh"
    script.parent.mkdir(parents=True)
    bin_folder = f"$HOME/.config/kybra/rust/{RUST_VERSION}/bin"
    touched = "".join(f"touch {bin_folder}/{tool}\n" for tool in tools)
    script.write_text(f'test "$1 $2" = "0.7.1 {RUST_VERSION}" && mkdir -p {bin_folder}\n{touched}')

    class Distribution:
        version = "0.7.1"

        def locate_file(self, path: str) -> Path:
            return folder / path

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Distribution())


def test_its_toolchain_is_installed_by_kybras_own_installer(tmp_path, monkeypatch):
    installer(tmp_path / "package", monkeypatch, tools=TOOLS)
    install_toolchain(tmp_path / "home")
    assert missing_tools(tmp_path / "home") == []


def test_an_installation_that_leaves_tools_out_says_so(tmp_path, monkeypatch):
    installer(tmp_path / "package", monkeypatch, tools=["cargo"])
    with pytest.raises(BuildError, match=r"Still missing: rustup, .*logs are in .*/\.config/kybra/0\.7\.1/logs"):
        install_toolchain(tmp_path / "home")


def test_without_the_python_package_it_says_how_to_get_that(tmp_path, monkeypatch):
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    monkeypatch.setattr("importlib.metadata.distribution", absent)
    assert missing_tools(tmp_path)[0] == "the Python package kybra (pip install kybra==0.7.1)"
    with pytest.raises(BuildError, match=r"pip install kybra==0\.7\.1"):
        install_toolchain(tmp_path)


def test_kybra_runs_from_the_project_as_dfx_would_run_it(project):
    assert run(project)[:4] == b"\0asm"


def test_what_kybra_built_gets_the_same_outputs_as_any_build(project, monkeypatch):
    folder = project / "src" / "plain"
    command = fake_kybra(project, project / "src", did="service : { get_version : () -> (nat) query }")
    home = toolchain(project / "home", TOOLS)
    monkeypatch.setattr(
        "canister_build.artifact.build_kybra", lambda source, did: build_kybra(source, did, command=command, home=home)
    )
    artifact = build(str(folder), builder="kybra", out=project / "out")
    assert artifact.did.read_text() == candid_of(str(folder))
    assert '"template_hash": null' in artifact.manifest.read_text()

    sections = custom_sections(gzip.decompress(artifact.wasm_gz.read_bytes()))
    assert sections == {"icp:public candid:service": candid_of(str(folder)).encode()}
    assert not build(str(folder), builder="kybra", out=project / "out").rebuilt


def test_a_failure_of_kybra_is_shown_with_its_last_lines(project):
    with pytest.raises(BuildError, match=r"exit code 3; it said last:\nline one\nthe last line"):
        run(project, code=3)


@pytest.mark.parametrize(
    ("did", "message"),
    [
        ("service : { get_version : () -> (nat64) query }", "in ours, get_version: result: field 0: nat is no nat64"),
        ("service : { get_version : () -> (nat) query; more : () -> () }", "in ours, more: is missing"),
        ("service : {}", "in Kybra's, get_version: is missing"),
        ("service", "cannot be read"),
    ],
)
def test_candid_that_means_something_else_stops_the_build(project, did, message):
    with pytest.raises(BuildError, match=message):
        run(project, did=did)


def test_candid_with_other_names_and_another_order_is_the_same(project):
    run(project, did="type V = nat; service : () -> { get_version : () -> (V) query }")


def test_a_kybra_that_cannot_be_started_is_reported(project):
    folder = project / "src" / "plain"
    home = toolchain(project / "home", TOOLS)
    with pytest.raises(BuildError, match="cannot be started"):
        build_kybra(load(str(folder)), "service : {}", command=("/no/such/program",), home=home)

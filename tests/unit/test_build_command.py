"""The command `python -m canister_build`: what it prints, and the exit code that goes with it."""

import json

import pytest

from canister_build.__main__ import main
from canister_build.kybra_api import IC_FUNCTIONS, MAP_METHODS, NAMES
from tests.support.canister_sources import EVERYTHING, stand_in_template, write_package

MAIN = "from kybra import nat, query\n\n@query\ndef get_version() -> nat:\n    return 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("BASILISK_TEMPLATE_WASM", str(stand_in_template(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return str(write_package(tmp_path, {"main.py": MAIN}, package="plain"))


def test_it_builds_into_a_folder_of_the_canisters_name(folder, capsys):
    assert main([folder, "--builder", "template"]) == 0
    assert "plain built by template\n  build/plain/plain.wasm.gz  " in capsys.readouterr().out
    assert main([folder, "--builder", "template"]) == 0
    assert "plain up to date by template" in capsys.readouterr().out


def test_json_gives_the_paths_and_the_hash(folder, capsys):
    assert main([folder, "--builder", "template", "--out", "out", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["wasm_gz"] == "out/plain.wasm.gz"
    assert len(printed["wasm_sha256"]) == 64


@pytest.mark.parametrize(
    ("variable", "option", "builder"),
    [(None, [], "kybra"), ("template", [], "template"), ("kybra", ["--builder", "template"], "template")],
)
def test_the_builder_is_the_options_then_the_variables_then_kybra(
    folder, capsys, monkeypatch, variable, option, builder
):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("CANISTER_BUILDER", raising=False)
    if variable:
        monkeypatch.setenv("CANISTER_BUILDER", variable)
    code = main([folder, *option])
    output = capsys.readouterr()
    if builder == "kybra":
        assert (code, "Kybra's toolchain is not complete" in output.err) == (1, True)
    else:
        assert (code, "built by template" in output.out) == (0, True)


def test_an_unknown_builder_in_the_environment_is_named(folder, capsys, monkeypatch):
    monkeypatch.setenv("CANISTER_BUILDER", "cargo")
    assert main([folder]) == 1
    assert capsys.readouterr().err == "CANISTER_BUILDER is 'cargo'; allowed are template and kybra.\n"


def test_findings_are_printed_with_the_path_to_open(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_package(tmp_path / "src", {"main.py": "import json\n"})
    assert main([str(folder), "--check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("src/bad/main.py:1: rule 32: standard module json cannot be had in a canister\n    both")
    assert error.endswith("1 finding in the source of " + str(folder) + ".\n")
    assert main([str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["rule"] == 32


def test_a_clean_source_is_said_to_be_clean(capsys):
    assert main([str(EVERYTHING), "--check"]) == 0
    assert "no findings" in capsys.readouterr().out


def test_the_interface_is_printed_or_written_beside_main(folder, capsys, tmp_path):
    assert main([folder, "--candid"]) == 0
    assert capsys.readouterr().out == "service : {\n  get_version : () -> (nat) query;\n}\n"
    assert main([folder, "--write-did"]) == 0
    assert capsys.readouterr().out == "plain/plain.did\n"
    assert (tmp_path / "plain" / "plain.did").read_text().startswith("service")


def test_without_a_name_it_says_what_to_give(capsys):
    assert main([]) == 2
    assert "Give its NAME, for example zone_canister" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_named(folder, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert main([folder, "--builder", "template", "--out", "file/out"]) == 1
    assert capsys.readouterr().err == "Not a directory: file/out\n"


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m canister_build zone_canister --builder template" in capsys.readouterr().out


def test_the_rules_can_be_listed(capsys):
    assert main(["--rules"]) == 0
    assert " 1 only syntax a 2022 Python parser knows\n" in capsys.readouterr().out


def test_the_tables_of_kybras_api_name_what_kybra_has():
    import kybra

    assert [name for name in NAMES if not hasattr(kybra, name)] == []
    assert [name for name in IC_FUNCTIONS if not hasattr(kybra.ic, name)] == []
    assert [name for name in MAP_METHODS if not hasattr(kybra.StableBTreeMap, name)] == []
    extra = {name for name in vars(kybra.ic) if not name.startswith("_")} - IC_FUNCTIONS
    assert extra == set()

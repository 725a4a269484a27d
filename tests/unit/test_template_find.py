"""Where the template is looked for, what it is made from, and what the command says."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from canister_build import template
from canister_build.template import __main__ as command
from canister_build.template import downloads, recipe, tools
from canister_build.template.errors import TemplateError
from canister_build.template.pipeline import Stage, Workshop, order
from canister_build.template.tools import Tools

TOOLS = Tools(
    clang=Path("/usr/bin/clang-19"),
    linker=Path("/usr/bin/wasm-ld-19"),
    ar=Path("/usr/bin/llvm-ar-19"),
    ranlib=Path("/usr/bin/llvm-ranlib-19"),
    builtins=Path("/usr/lib/builtins.a"),
    rustc=Path("/usr/bin/rustc"),
    cargo=Path("/usr/bin/cargo"),
    rust_sysroot=Path("/usr"),
    clang_version="clang 19",
    rust_version="rustc 1.96",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(template.VARIABLE, raising=False)
    monkeypatch.setattr(tools, "find", lambda: TOOLS)
    return tmp_path


def cached(cache: Path) -> Path:
    path = cache / "zone-canister-build" / f"template-{template.key()}" / "template.wasm"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cached")
    return path


def test_a_named_template_comes_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(cache)
    given = tmp_path / "given.wasm"
    given.write_bytes(b"given")
    monkeypatch.setenv(template.VARIABLE, str(given))
    assert template.locate() == template.Template(given, hashlib.sha256(b"given").hexdigest())


def test_a_named_template_that_is_not_there_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(template.VARIABLE, "/nowhere/template.wasm")
    with pytest.raises(TemplateError, match=r"'/nowhere/template\.wasm', which is no file"):
        template.find()


def test_then_the_cache_and_no_build_is_started(cache: Path) -> None:
    assert template.find() is None
    path = cached(cache)
    assert template.locate().path == path


def test_where_prints_the_path_or_fails_quietly(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--where"]) == 1
    path = cached(cache)
    assert command.main(["--where"]) == 0
    assert command.main(["--print-key"]) == 0
    assert capsys.readouterr().out.split() == [str(path), template.key()]


def test_a_missing_tool_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(template.VARIABLE, raising=False)
    assert command.main([]) == 1
    said = capsys.readouterr().err
    assert "is not installed" in said
    assert "scripts/install_system_packages.sh build" in said


def test_the_rust_part_does_not_rebuild_python() -> None:
    before = {stage.name: stage for stage in order(recipe.stages(TOOLS))}
    other = Tools(**{**vars(TOOLS), "rust_version": "rustc 2"})
    after = {stage.name: stage for stage in order(recipe.stages(other))}
    changed = {name for name in before if before[name].key != after[name].key}
    assert changed == {"runtime", "template"}


def test_what_is_frozen_and_exported_decides_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.stages(TOOLS).key
    monkeypatch.setattr(recipe, "FROZEN_MODULES", (*recipe.FROZEN_MODULES, "heapq"))
    assert recipe.stages(TOOLS).key != before


def test_a_template_that_is_nowhere_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def work(shop: Workshop) -> None:
        built.append("built")
        (shop.out / recipe.TEMPLATE).write_bytes(b"fresh")

    monkeypatch.setattr(recipe, "stages", lambda _: Stage("template", "all of it", (), (), work))
    first = template.locate(template.Progress(io.StringIO()))
    assert first.path.read_bytes() == b"fresh"
    assert first.path.parent.parent == template.cache_folder()
    assert template.locate() == first
    assert built == ["built"]


def test_a_cache_that_cannot_be_used_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    with pytest.raises(TemplateError, match=r"cannot be used: .*XDG_CACHE_HOME may name another"):
        template.locate()


def shop(tmp_path: Path) -> Workshop:
    for part in ("out", "downloads"):
        (tmp_path / part).mkdir()
    return Workshop(tmp_path / "out", {}, tmp_path / "log", tmp_path / "downloads")


def pinned(content: bytes) -> downloads.Pin:
    return downloads.Pin("thing", "1.0", "thing.deb", hashlib.sha256(content).hexdigest(), ("download", "thing"))


def test_a_local_folder_is_looked_at_before_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "thing.deb").write_bytes(b"content")
    monkeypatch.setenv(downloads.FOLDER_VARIABLE, str(local))
    assert downloads.fetch(pinned(b"content"), shop(tmp_path)) == local / "thing.deb"


def test_a_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(downloads.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "thing.deb").write_bytes(b"other")
    with pytest.raises(TemplateError, match=r"has the SHA-256 .*, expected .* \(thing 1\.0\)"):
        downloads.fetch(pinned(b"content"), shop(tmp_path))


def test_a_version_the_mirror_no_longer_has_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(downloads.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(downloads, "_download", lambda *_: None)
    with pytest.raises(TemplateError) as error:
        downloads.fetch(pinned(b"content"), shop(tmp_path))
    assert "thing 1.0 of trixie is pinned" in str(error.value)
    assert "CANISTER_BUILD_DOWNLOADS" in str(error.value)

"""The build of the template as a pipeline: what is kept, what is built again, what a failure says."""

from __future__ import annotations

import io
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from canister_build.template import lock, pipeline
from canister_build.template.errors import StageError
from canister_build.template.pipeline import Stage, Workshop
from canister_build.template.progress import Progress


class Recorder:
    """Makes stages that note when they run."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def stage(
        self, name: str, *inputs: str, needs: tuple[Stage, ...] = (), work: Callable[[Workshop], None] | None = None
    ) -> Stage:
        def run(shop: Workshop) -> None:
            self.ran.append(name)
            if work is not None:
                work(shop)
            read = "".join((folder / "text").read_text() for folder in shop.needs.values())
            (shop.out / "text").write_text(f"{name}({read})")

        return Stage(name, f"the stage {name}", inputs, needs, run)


def quiet() -> Progress:
    return Progress(io.StringIO())


def test_stages_run_after_those_they_need(tmp_path: Path) -> None:
    made = Recorder()
    first, second = made.stage("first"), made.stage("second")
    last = made.stage("last", needs=(first, second))
    folder = pipeline.build(last, tmp_path, quiet())
    assert (folder / "text").read_text() == "last(first()second())"
    assert made.ran[-1] == "last"


def test_finished_stages_are_kept_and_skipped(tmp_path: Path) -> None:
    made = Recorder()
    first = made.stage("first")
    pipeline.build(made.stage("last", "a", needs=(first,)), tmp_path, quiet())
    pipeline.build(made.stage("last", "b", needs=(first,)), tmp_path, quiet())
    pipeline.build(made.stage("last", "b", needs=(first,)), tmp_path, quiet())
    assert made.ran == ["first", "last", "last"]


def test_a_changed_input_changes_the_keys_of_what_follows_and_no_other() -> None:
    made = Recorder()

    def keys(clang: str, crate: str) -> dict[str, str]:
        python = made.stage("python", clang)
        runtime = made.stage("runtime", crate)
        last = made.stage("template", needs=(python, runtime))
        return {stage.name: stage.key for stage in pipeline.order(last)}

    before, after = keys("19", "a"), keys("19", "b")
    assert before["python"] == after["python"]
    assert before["runtime"] != after["runtime"]
    assert before["template"] != after["template"]
    assert keys("19", "a") == before


def test_an_interrupted_stage_leaves_nothing_that_counts_as_finished(tmp_path: Path) -> None:
    made = Recorder()

    def interrupted(shop: Workshop) -> None:
        (shop.out / "half").write_text("done")
        raise KeyboardInterrupt

    first = made.stage("first")
    with pytest.raises(KeyboardInterrupt):
        pipeline.build(made.stage("last", needs=(first,), work=interrupted), tmp_path, quiet())
    folder = pipeline.build(made.stage("last", needs=(first,)), tmp_path, quiet())
    assert made.ran == ["first", "last", "last"]
    assert [path.name for path in folder.iterdir()] == ["text"]


def test_a_failure_names_the_stage_the_end_of_its_log_and_the_log(tmp_path: Path) -> None:
    made = Recorder()
    failing = made.stage("failing", work=lambda shop: shop.run(["sh", "-c", "echo the reason; exit 3"]))
    with pytest.raises(StageError) as error:
        pipeline.build(failing, tmp_path, quiet())
    text = str(error.value)
    assert "in stage failing: sh ended with code 3" in text
    assert "  | the reason" in text
    assert Path(text.rsplit("The whole log: ", 1)[1]).read_text().endswith("the reason\n")


def test_a_failure_stops_what_runs_beside_it(tmp_path: Path) -> None:
    made = Recorder()
    begun = threading.Event()

    def long(shop: Workshop) -> None:
        begun.set()
        shop.run(["sleep", "600"])

    def failing(shop: Workshop) -> None:
        assert begun.wait(30)
        shop.run(["false"])

    last = made.stage("last", needs=(made.stage("long", work=long), made.stage("failing", work=failing)))
    with pytest.raises(StageError, match="in stage failing"):
        pipeline.build(last, tmp_path, quiet())
    assert "last" not in made.ran


def test_progress_tells_stage_number_time_and_log(tmp_path: Path) -> None:
    made = Recorder()
    out = io.StringIO()
    pipeline.build(made.stage("last", needs=(made.stage("first"),)), tmp_path, Progress(out))
    lines = out.getvalue().splitlines()
    assert lines[0] == "Building the interpreter template: 2 stages (first, last)"
    assert lines[1].startswith("[1/2] first: the stage first (log: ")
    assert lines[2] == "[1/2] first done in 0:00"
    assert lines[3].startswith("[2/2] last: ")


def hold(path: Path, holding: Event, release: Event) -> None:
    with lock.held(path, lambda _: None):
        holding.set()
        release.wait(60)


def test_one_build_at_a_time_and_the_waiting_one_says_who_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    holding, release = context.Event(), context.Event()
    path = tmp_path / "lock"
    other = context.Process(target=hold, args=(path, holding, release))
    other.start()
    assert holding.wait(60)
    told: list[str] = []

    def waiting(holder: str) -> None:
        told.append(holder)
        release.set()

    with lock.held(path, waiting):
        pass
    other.join()
    assert len(told) == 1
    assert told[0].startswith(f"process {other.pid} since ")

"""Freshness, resuming, locking and manifests, on stages of two lines."""

import fcntl
import json
from pathlib import Path

import pytest

from pipelines.base.errors import ConcatError, ProtocolError
from pipelines.base.progress import SilentReporter
from pipelines.recipes.load import override
from pipelines.recipes.recipe import Recipe
from pipelines.runs.freshness import status
from pipelines.runs.manifest import read_manifest
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.runs.runner import bring_up_to_date
from pipelines.runs.verify import Verdict, verify


def _first(context: StageContext) -> None:
    (context.out / "number.txt").write_text(str(context.recipe.con.iterations))
    (context.out / "secret.txt").write_text("s")
    context.metrics["count"] = 1


def _second(context: StageContext) -> None:
    text = context.input("number.txt").read_text()
    (context.out / "double.txt").write_text(str(2 * int(text)))


def _chain(source: Path) -> list[Stage]:
    first = Stage(
        name="split-coco",
        folder="split",
        version=1,
        reads={},
        sources=lambda _: {"source": source},
        settings=lambda recipe: {"iterations": recipe.con.iterations},
        work=_first,
    )
    second = Stage(
        name="precompute",
        folder="precompute",
        version=1,
        reads={"split-coco": ("number.txt",)},
        sources=lambda _: {},
        settings=lambda recipe: {"model": recipe.clip.model},
        work=_second,
    )
    return [first, second]


@pytest.fixture
def chain(tmp_path: Path) -> list[Stage]:
    source = tmp_path / "source.json"
    source.write_text("{}")
    return _chain(source)


def _run(tmp_path: Path, *overrides: str) -> Run:
    return Run(tmp_path / "run", override(Recipe(), overrides), tmp_path / "cache", SilentReporter())


def _states(run: Run, chain: list[Stage]) -> list[tuple[str, str]]:
    return [(state.state, state.why) for state in status(run, chain)]


def test_everything_stale_runs_once_and_then_nothing(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    assert [state for state, _ in _states(run, chain)] == ["missing", "missing"]
    assert bring_up_to_date(run, chain, "precompute") == ["split-coco", "precompute"]
    assert [state for state, _ in _states(run, chain)] == ["fresh", "fresh"]
    assert bring_up_to_date(run, chain, "precompute") == []
    assert (run.folder / "precompute/double.txt").read_text() == str(2 * 140350)
    assert bring_up_to_date(run, chain, "precompute", force=True) == ["precompute"]


def test_a_changed_setting_is_named_and_makes_what_follows_stale(tmp_path: Path, chain: list[Stage]) -> None:
    bring_up_to_date(_run(tmp_path), chain, "precompute")
    run = _run(tmp_path, "con.iterations=5")
    assert _states(run, chain) == [("stale", "iterations: 140350 → 5"), ("stale", "split-coco is stale")]
    assert bring_up_to_date(run, chain, "precompute") == ["split-coco", "precompute"]
    assert (run.folder / "precompute/double.txt").read_text() == "10"


def test_an_unchanged_result_leaves_what_follows_fresh(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    bring_up_to_date(run, chain, "precompute")
    assert bring_up_to_date(run, chain, "split-coco", force=True) == ["split-coco"]
    assert [state for state, _ in _states(run, chain)] == ["fresh", "fresh"]


def test_a_changed_source_and_a_changed_output_are_named(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    bring_up_to_date(run, chain, "precompute")
    (tmp_path / "source.json").write_text("{ }")
    assert _states(run, chain)[0] == ("stale", "input source changed")
    bring_up_to_date(run, chain, "precompute")
    (run.folder / "precompute/double.txt").write_text("changed")
    assert _states(run, chain)[1] == ("stale", "output double.txt was changed")


def test_a_touched_source_of_the_same_content_stays_fresh(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    bring_up_to_date(run, chain, "precompute")
    (tmp_path / "source.json").write_text("{}")
    assert _states(run, chain)[0][0] == "fresh"


def test_a_missing_source_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="Input not found"):
        bring_up_to_date(_run(tmp_path), _chain(tmp_path / "none.json"), "precompute")


def test_verify_finds_a_changed_byte_that_status_cannot_see(tmp_path: Path, chain: list[Stage]) -> None:
    import os

    run = _run(tmp_path)
    bring_up_to_date(run, chain, "precompute")
    assert verify(run, chain) == Verdict()
    path = run.folder / "split/number.txt"
    stat = path.stat()
    path.write_text("940350")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _states(run, chain)[0][0] == "fresh"
    assert verify(run, chain).wrong == [f"split-coco: number.txt was changed ({path})"]


def test_an_undeclared_input_cannot_be_opened(tmp_path: Path, chain: list[Stage]) -> None:
    def leak(context: StageContext) -> None:
        context.input("secret.txt")

    leaking = Stage(**{**vars(chain[1]), "work": leak})
    with pytest.raises(ProtocolError, match=r"precompute must not open secret\.txt"):
        bring_up_to_date(_run(tmp_path), [chain[0], leaking], "precompute")


def test_what_an_interrupted_stage_left_is_kept_only_for_the_same_settings(tmp_path: Path, chain: list[Stage]) -> None:
    def interrupted(context: StageContext) -> None:
        found = (context.out / "part").exists()
        (context.out / "part").write_text("x")
        if not found:
            raise KeyboardInterrupt
        (context.out / "resumed").write_text("yes")

    stage = Stage(**{**vars(chain[0]), "work": interrupted})
    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(_run(tmp_path), [stage], "split-coco")
    assert _states(_run(tmp_path), [stage]) == [("missing", "interrupted; will resume")]
    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(_run(tmp_path, "con.iterations=7"), [stage], "split-coco")
    bring_up_to_date(_run(tmp_path, "con.iterations=7"), [stage], "split-coco")
    assert (tmp_path / "run/split/resumed").exists()
    assert not list((tmp_path / "run").glob(".*.partial"))


def test_a_failure_keeps_the_older_result(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    bring_up_to_date(run, chain, "split-coco")

    def fail(_: StageContext) -> None:
        raise ConcatError("broken", mend="Do this.")

    failing = Stage(**{**vars(chain[0]), "work": fail})
    with pytest.raises(ConcatError, match="broken") as caught:
        bring_up_to_date(run, [failing], "split-coco", force=True)
    assert caught.value.mend.startswith("Do this. `concat split-coco --run")
    assert (run.folder / "split/number.txt").exists()


def test_a_full_disk_is_one_message(tmp_path: Path, chain: list[Stage]) -> None:
    def full(_: StageContext) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "big"))

    stage = Stage(**{**vars(chain[0]), "work": full})
    with pytest.raises(ConcatError, match="The disk is full") as caught:
        bring_up_to_date(_run(tmp_path), [stage], "split-coco")
    assert caught.value.file == tmp_path / "run"
    assert "resumes" in caught.value.mend


def test_a_run_in_use_is_refused(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path)
    run.folder.mkdir()
    with open(run.folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        with pytest.raises(ConcatError, match="in use by process 4711"):
            bring_up_to_date(run, chain, "split-coco")
    assert bring_up_to_date(run, chain, "split-coco") == ["split-coco"]


def test_the_manifest_says_where_everything_came_from(tmp_path: Path, chain: list[Stage]) -> None:
    run = _run(tmp_path, "seed=3")
    bring_up_to_date(run, chain, "precompute")
    manifest = read_manifest(run.folder / "precompute/manifest.json")
    assert manifest.inputs["number.txt"].producer == "split-coco"
    assert manifest.inputs["number.txt"].path == "split/number.txt"
    assert manifest.seed == 3
    assert not manifest.protocol.unseen_names_used
    assert manifest.protocol.images_dropped
    assert manifest.peak_memory_bytes > 1e6
    assert {"python", "torch"} <= set(manifest.versions)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", json.dumps({"schema_version": 99}), json.dumps({"schema_version": 1})]
)
def test_a_damaged_manifest_makes_its_stage_stale(tmp_path: Path, chain: list[Stage], damage: str) -> None:
    run = _run(tmp_path)
    bring_up_to_date(run, chain, "split-coco")
    (run.folder / "split/manifest.json").write_text(damage)
    assert _states(run, chain)[0][0] == "stale"
    assert bring_up_to_date(run, chain, "precompute") == ["split-coco", "precompute"]


def test_a_stage_that_the_recipe_does_without_counts_for_no_input(tmp_path: Path, chain: list[Stage]) -> None:
    second = Stage(**{**vars(chain[1]), "reads": {"make-micrococo": ("annotations",), **chain[1].reads}})
    run = _run(tmp_path)
    assert bring_up_to_date(run, [chain[0], second], "precompute") == ["split-coco", "precompute"]
    assert [state for state, _ in _states(run, [chain[0], second])] == ["fresh", "fresh"]


def test_an_interrupted_forced_run_is_resumed_by_the_same_command(tmp_path: Path, chain: list[Stage]) -> None:
    run, found = _run(tmp_path), []
    bring_up_to_date(run, chain, "split-coco")

    def interrupted(context: StageContext) -> None:
        found.append((context.out / "part").exists())
        (context.out / "part").write_text("x")
        if not found[-1]:
            raise KeyboardInterrupt

    stage = Stage(**{**vars(chain[0]), "work": interrupted})
    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(run, [stage], "split-coco", force=True)
    assert (run.folder / "split/number.txt").exists()
    assert bring_up_to_date(run, [stage], "split-coco", force=True) == ["split-coco"]
    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(run, [stage], "split-coco", force=True)
    assert found == [False, True, False]


def test_the_checkpoint_stays_until_the_folder_is_in_place(tmp_path: Path, chain: list[Stage]) -> None:
    def train(context: StageContext) -> None:
        (context.out / "checkpoint.pt").write_text("steps")
        (context.out / "weights").write_text("w")

    run = _run(tmp_path)
    bring_up_to_date(run, [Stage(**{**vars(chain[0]), "work": train})], "split-coco")
    assert {path.name for path in (run.folder / "split").iterdir()} == {"weights", "manifest.json"}
    assert set(read_manifest(run.folder / "split/manifest.json").outputs) == {"weights"}


def test_a_kill_before_the_rename_leaves_all_that_resuming_needs(
    tmp_path: Path, chain: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []

    def train(context: StageContext) -> None:
        started.append((context.out / "checkpoint.pt").exists())
        (context.out / "checkpoint.pt").write_text("steps")
        (context.out / ".weights.4711.partial").write_text("half")

    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    run, stage = _run(tmp_path), Stage(**{**vars(chain[0]), "work": train})
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.runs.runner.replace_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            bring_up_to_date(run, [stage], "split-coco")
    left = {path.name for path in (run.folder / ".split.partial").iterdir()}
    assert {"key.json", "checkpoint.pt"} <= left
    bring_up_to_date(run, [stage], "split-coco")
    assert started == [False, True]


def test_a_copied_run_is_as_fresh_as_its_original(tmp_path: Path, chain: list[Stage]) -> None:
    import shutil

    run = _run(tmp_path)
    bring_up_to_date(run, chain, "precompute")
    shutil.copytree(run.folder, tmp_path / "copy", copy_function=shutil.copyfile)  # without the times of the files
    copy = Run(tmp_path / "copy", run.recipe, run.cache, run.reporter)
    assert [state for state, _ in _states(copy, chain)] == ["fresh", "fresh"]


def test_a_blind_stage_gets_neither_unseen_names_nor_the_vocabulary_with_the_recipe(
    tmp_path: Path, chain: list[Stage]
) -> None:
    given: dict[str, tuple[object, ...]] = {}

    def look(context: StageContext) -> None:
        recipe = context.recipe
        given[context.stage] = (recipe.data.unseen, recipe.finetune.taught, recipe.data.vocabulary)

    knowing = Stage(**{**vars(chain[0]), "work": look, "knows_unseen_names": True})
    blind = Stage(**{**vars(chain[1]), "work": look, "reads": {"split-coco": ()}})
    settings = ("data.unseen=['cow']", "finetune.taught=['tram']", "data.vocabulary=mine.toml")
    bring_up_to_date(_run(tmp_path, *settings), [knowing, blind], "precompute")
    assert given == {"split-coco": (("cow",), ("tram",), "mine.toml"), "precompute": ((), (), "")}

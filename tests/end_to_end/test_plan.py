"""concat plan and --dry-run beside real runs: sizes, refusals, and nothing written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from concat_command import FinishedRun, concat_here, refused

from pipelines.base.disk import bytes_below
from pipelines.base.listings import Listings

STAGES = ("precompute", "train-con", "dump-queries", "train-cat", "finetune", "eval")
CONTAINER = 0.1  # of what is written, at the sizes of the embedded world


def _planned(*arguments: object, cache: Path) -> dict[str, Any]:
    shown = concat_here("plan", *arguments, "--steps", 1, "--json", cache=cache)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def _listing(folder: Path) -> str:
    return Listings().fingerprint(folder)


def test_a_plan_tells_what_a_run_then_wrote(smoke: FinishedRun, tmp_path: Path) -> None:
    plan = _planned("smoke", "--run", tmp_path / "run", cache=tmp_path / "cache")
    stages = {stage["name"]: stage for stage in plan["stages"]}
    queries = {"dump-queries": next((smoke.cache / "queries").glob("[!.]*")), "eval": smoke.folder / "eval/queries"}
    written = {
        "precompute": next((smoke.cache / "clip").glob("images-*.zarr")),
        "train-con": smoke.folder / "con/model.safetensors",
        "train-cat": smoke.folder / "cat/generator.safetensors",
        **queries,
    }
    for name, path in written.items():
        told = stages[name]["writes"][0]["size"]
        assert told == pytest.approx(bytes_below(path), rel=CONTAINER), name
    projectors = [smoke.folder / "finetune/projector.safetensors", smoke.folder / "finetune/iterates"]
    assert stages["finetune"]["writes"][0]["size"] == pytest.approx(sum(map(bytes_below, projectors)), rel=CONTAINER)
    split = json.loads((smoke.folder / "split/manifest.json").read_text())
    assert stages["train-con"]["images"]["count"] == split["notes"]["images_kept"]
    for name in STAGES:
        assert stages[name]["seconds"] > 0
        assert stages[name]["peak_memory"] > 2**20
        assert stages[name]["whole"]
    assert plan["seconds"] == pytest.approx(sum(stages[name]["seconds"] for name in STAGES))
    assert not list(tmp_path.iterdir())


def test_the_table_shows_every_stage_and_says_what_is_assumed(tmp_path: Path) -> None:
    frozen = ("--set", "con.segmentor.batch_norm=frozen", "--devices", 4, "--steps", 1)
    shown = concat_here("plan", "smoke", "--run", tmp_path / "run", *frozen, cache=tmp_path / "cache")
    assert shown.returncode == 0, shown.stderr
    for phrase in (*STAGES, "not run yet", "60 steps", "CLIP tokens", "to write", "assuming 4 such devices"):
        assert phrase in shown.stdout
    assert not list(tmp_path.iterdir())


def test_a_finished_run_has_nothing_to_do_and_a_changed_one_something(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    shown = concat_here("plan", "--run", run, cache=smoke.cache)
    assert shown.returncode == 0
    assert "nothing to do" in shown.stdout
    plan = _planned("--run", run, "--set", "cat.iterations=7", cache=smoke.cache)
    assert [stage["name"] for stage in plan["stages"] if stage["state"] != "fresh"] == ["train-cat", "finetune", "eval"]
    assert plan["stages"][-3]["why"] == "cat.iterations: 60 → 7"


@pytest.mark.parametrize(
    "words", [["run", "smoke"], ["precompute"], ["train-con"], ["dump-queries"], ["train-cat"], ["finetune"], ["eval"]]
)
def test_a_dry_run_writes_nothing(words: list[str], smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "precompute", "con", "dump", "cat", "finetune", "eval")
    before = _listing(run), _listing(smoke.cache)
    shown = concat_here(*words, "--run", run, "--dry-run", "--set", "con.iterations=61", cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "not run yet" in shown.stdout
    assert (_listing(run), _listing(smoke.cache)) == before


def test_what_is_in_the_cache_already_needs_no_room(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "precompute")
    shown = concat_here("precompute", "--run", run, "--dry-run", cache=smoke.cache)
    assert "are there" in shown.stdout


def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_a_dump_that_does_not_fit_is_not_begun(
    smoke: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = smoke.copy(tmp_path, "dump")
    _little_room(monkeypatch)
    again = ("dump-queries", "--run", run, "--set", "dump.shard=100")  # another dump than the one in the cache
    shown = concat_here(*again, cache=smoke.cache)
    refused(shown, "The query dump needs", "49 KiB are free", str(smoke.cache / "queries"), "--cache", "resumes")
    refused(concat_here(*again, "--dry-run", cache=smoke.cache), "need", "49 KiB are free", "--cache")


def test_a_plan_that_does_not_fit_ends_with_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _little_room(monkeypatch)
    shown = concat_here("plan", "smoke", "--run", tmp_path / "run", "--steps", 1, cache=tmp_path / "cache")
    refused(shown, "These stages need", "49 KiB are free", str(tmp_path / "cache"), "--cache")
    assert "too little" in shown.stdout


def test_what_cannot_be_planned_is_said(tmp_path: Path) -> None:
    cache, run = tmp_path / "cache", ("--run", tmp_path / "run")
    refused(concat_here("plan", *run, cache=cache), "no recipe.toml yet")
    refused(concat_here("plan", "none-such", *run, cache=cache), "Recipe not found")
    refused(concat_here("plan", "smoke", *run, "--set", "clip.model=Nope", cache=cache), "knows no model 'Nope'")
    refused(concat_here("plan", "smoke", *run, "--devices", 2, cache=cache), "cannot be computed in parts")
    refused(concat_here("plan", "smoke", *run, "--devices", 99, cache=cache), "99 processes cannot share")
    assert not list(tmp_path.iterdir())

"""Names typed on the spot are taught to a finished run, which then is a run like any other."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from concat_command import FinishedRun, concat_here, refused
from safetensors.torch import load_file

from pipelines.runs.manifest import read_manifest
from pipelines.vocabularies.vocabulary import load_vocabulary, open_unseen

UNSEEN = load_vocabulary("micrococo").unseen
LATER = ("finetune", "eval")


@pytest.fixture(scope="module")
def inductive(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The smoke run as an inductive one: no name was taught."""
    run = smoke.copy(tmp_path_factory.mktemp("inductive"), *LATER)
    shown = concat_here("eval", "--run", run, "--set", "finetune.unseen=false", cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    return FinishedRun(run, smoke.cache, shown)


def _teach(run: FinishedRun, names: str, out: Path) -> Path:
    shown = concat_here("teach", run.folder, "--names", names, "--out", out, cache=run.cache)
    assert shown.returncode == 0, shown.stderr
    return out


def _metrics(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "eval/metrics.json").read_text())
    return metrics


def test_an_inductive_run_has_inductive_figures_alone(inductive: FinishedRun, smoke: FinishedRun) -> None:
    found, ordinary = _metrics(inductive.folder), _metrics(smoke.folder)
    assert "transductive" not in found
    assert not (inductive.folder / "finetune").exists()
    assert not (inductive.folder / "eval/transductive").exists()
    for name in ("inductive", "inductive_sweep"):
        assert found[name] == ordinary[name]
    assert "transductive" not in inductive.shown.stdout


def test_unseen_names_taught_afterwards_score_as_if_taught_from_the_first(
    inductive: FinishedRun, smoke: FinishedRun, tmp_path: Path
) -> None:
    names = ", ".join(reversed(UNSEEN.names))  # in any order
    taught = _teach(inductive, names, tmp_path / "taught")
    shown = concat_here("eval", "--run", taught, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert _metrics(taught) == _metrics(smoke.folder)
    assert open_unseen(taught / "finetune/taught.json", stage="eval") == UNSEEN
    states = json.loads(concat_here("status", taught, "--json", cache=smoke.cache).stdout)["stages"]
    assert {state["state"] for state in states} == {"fresh"}
    verified = concat_here("verify", taught, cache=smoke.cache)
    assert verified.returncode == 0, verified.stderr


def test_new_names_join_those_taught_before(smoke: FinishedRun, tmp_path: Path) -> None:
    first = _teach(smoke, "tram; streetcar, gray cloud [stuff]", tmp_path / "first")
    second = _teach(FinishedRun(first, smoke.cache, smoke.shown), "e-scooter", tmp_path / "second")
    taught = open_unseen(second / "finetune/taught.json", stage="eval")
    assert taught.names == [*UNSEEN.names, "tram", "gray cloud", "e-scooter"]
    assert [c.isthing for c in taught.categories[-3:]] == [True, False, True]
    assert taught.categories[-3].prompt_names == ("tram", "streetcar")
    assert min(taught.ids[-3:]) > max(load_vocabulary("micrococo").ids)
    shown = concat_here("eval", "--run", second, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert _metrics(second)["images"] == 32
    before, after = (load_file(run / "finetune/projector.safetensors") for run in (smoke.folder, second))
    assert any(not before[name].equal(after[name]) for name in before)


def test_teaching_opens_no_image_and_leaves_the_first_run_as_it_was(
    smoke: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_image(*_: object) -> None:
        raise AssertionError("an image was opened")

    files = {path: path.stat().st_mtime_ns for path in smoke.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("pipelines.data.formats.labelled_images.LabelledImages.sample", no_image)
    taught = _teach(smoke, "tram", tmp_path / "taught")
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert os.path.samefile(taught / "con/model.safetensors", smoke.folder / "con/model.safetensors")
    manifest = read_manifest(taught / "finetune/manifest.json")
    assert manifest.settings["finetune"]["taught"] == ["tram"]


def test_what_cannot_be_taught_is_refused_before_anything_is_copied(smoke: FinishedRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for names, phrases in (
        ("red square", ("'red square' cannot be taught", "trained on pictures")),
        ("Red Square; box", ("cannot be taught",)),
        ("tram, tram", ("stands twice",)),
        ("tram,", ("empty",)),
        ("cloud [sky]", ("neither [thing] nor [stuff]",)),
        ("word " * 60, ("longer than what CLIP reads",)),
    ):
        refused(concat_here("teach", smoke.folder, "--names", names, "--out", out, cache=smoke.cache), *phrases)
        assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    refused(
        concat_here("teach", smoke.folder, "--names", "tram", "--out", tmp_path / "full", cache=smoke.cache), "empty"
    )

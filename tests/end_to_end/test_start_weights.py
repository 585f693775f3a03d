"""A run that starts from a whole segmentor's weights, and what it says when these knew unseen categories."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from concat_command import FinishedRun, concat_here, forge, refused
from foreign_weights import foreign_names

from pipelines.recipes.load import load_recipe
from pipelines.runs.manifest import read_manifest
from pipelines.segmentors.build import build_segmentor
from pipelines.segmentors.foreign import mmdet
from pipelines.vocabularies.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary("micrococo")
SHORT = ("--set", "con.iterations=4", "--set", "cat.iterations=4", "--set", "finetune.iterations=10")


def _weights(path: Path, labels: list[str] | None) -> Path:
    """MMDetection's file of a segmentor of the smoke run's sizes."""
    segmentor = build_segmentor(load_recipe("smoke", ("con.segmentor.batch_norm=trained",)).con.segmentor)
    named = foreign_names(segmentor, "mask2former", mmdet.SEGMENTORS, mmdet.DEEP_STEM)
    named["panoptic_head.cls_embed.bias"] = torch.zeros(len(VOCABULARY) + 1)
    torch.save({"state_dict": named, "meta": {"dataset_meta": {"classes": labels}} if labels else {}}, path)
    return path


def _split(run: Path, weights: Path, cache: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return concat_here("split-coco", "--run", run, "--set", f"con.segmentor.weights={weights}", *more, cache=cache)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(VOCABULARY.names, "which is an unseen category"), (None, "labels that its file does not record")],
)
def test_weights_that_may_know_unseen_categories_are_refused_unless_allowed(
    smoke: FinishedRun, tmp_path: Path, labels: list[str] | None, said: str
) -> None:
    run, weights = smoke.copy(tmp_path), _weights(tmp_path / "m.pth", labels)
    refused(_split(run, weights, smoke.cache), said, "--allow-seen-unseen", f"File   {weights}")
    shown = _split(run, weights, smoke.cache, "--allow-seen-unseen")
    assert shown.returncode == 0, shown.stderr
    assert "not zero-shot" in shown.stdout
    assert read_manifest(run / "split/manifest.json").notes["zero_shot"] is False
    assert json.loads((run / "split/start.json").read_text()) == {"zero_shot": False}


def test_weights_of_seen_categories_need_no_leave(smoke: FinishedRun, tmp_path: Path) -> None:
    run, weights = smoke.copy(tmp_path), _weights(tmp_path / "m.pth", VOCABULARY.seen.names)
    shown = _split(run, weights, smoke.cache, "--allow-seen-unseen")
    assert shown.returncode == 0, shown.stderr
    assert read_manifest(run / "split/manifest.json").notes["zero_shot"] is True
    assert not (run / "split/start.json").exists()


@pytest.fixture(scope="module")
def started(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A short run from weights that were taught every name."""
    root = tmp_path_factory.mktemp("started")
    weights = _weights(root / "m.pth", VOCABULARY.names)
    start = ("--allow-seen-unseen", "--set", f"con.segmentor.weights={weights}")
    shown = concat_here("run", "smoke", "--run", root / "run", *start, *SHORT, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    return FinishedRun(root / "run", smoke.cache, shown)


def test_the_manifest_of_train_con_says_where_it_started_and_no_unseen_name(started: FinishedRun) -> None:
    notes = read_manifest(started.folder / "con/manifest.json").notes
    assert notes["zero_shot"] is False
    assert notes["segmentor"]["format"] == "MMDetection"
    assert notes["segmentor"]["left"] == ["panoptic_head.cls_embed.bias"]
    assert notes["segmentor"]["used"] > 100
    text = (started.folder / "con/manifest.json").read_text()
    assert [name for name in VOCABULARY.unseen.names if name in text] == []


def test_every_table_says_that_its_figures_are_not_zero_shot(started: FinishedRun, tmp_path: Path) -> None:
    assert json.loads((started.folder / "eval/metrics.json").read_text())["zero_shot"] is False
    assert started.shown.stdout.count("not zero-shot") >= 2
    compared = concat_here("compare", started.folder, "concat-zps", cache=started.cache)
    assert "not zero-shot" in " ".join(compared.stdout.split())
    scenes = next((started.cache / "micrococo").glob("*/annotations"))
    predictions = started.folder / "eval/inductive.json"
    truth = ("--truth", started.folder / "split/val.json", "--truth-png", scenes / "panoptic_val2017")
    scored = concat_here(
        "score", *truth, "--predictions", predictions, "--out", tmp_path / "s.json", cache=started.cache
    )
    assert "not zero-shot" in " ".join(scored.stdout.split())
    assert json.loads((tmp_path / "s.json").read_text())["zero_shot"] is False
    reported = concat_here("report", started.folder, "--out", tmp_path / "page.html", cache=started.cache)
    assert reported.returncode == 0, reported.stderr
    assert "not zero-shot" in (tmp_path / "page.html").read_text()


def test_its_runs_are_told_apart_in_a_comparison(started: FinishedRun, smoke: FinishedRun, tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    shown = concat_here("report", started.folder, smoke.folder, "--out", page, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "not zero-shot" in page.read_text()


def test_runs_from_before_there_were_such_weights_stay_fresh(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    forge(run / "con/manifest.json", lambda text: _without(text, ("settings", "con", "segmentor"), "weights"))
    forge(run / "split/manifest.json", lambda text: _without(text, ("settings",), "weights", "allow_seen_unseen"))
    shown = concat_here("status", run, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "stale" not in shown.stdout


def _without(text: str, place: tuple[str, ...], *keys: str) -> str:
    value = json.loads(text)
    inner = value
    for name in place:
        inner = inner[name]
    for key in keys:
        del inner[key]
    return json.dumps(value)

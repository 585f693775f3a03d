"""The semantic and the instance task from data to scores, which `concat score` finds again from what eval wrote."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from concat_command import FinishedRun, concat_here, refused
from PIL import Image

from pipelines.base.files import sha256
from pipelines.base.progress import SilentReporter, SilentTask, Task
from pipelines.data.formats.semantic_images import open_semantic_images
from pipelines.recipes.load import load_recipe
from pipelines.runs.manifest import read_manifest
from pipelines.runs.runner import Run, bring_up_to_date
from pipelines.stages import evaluate
from pipelines.stages.chain import chain
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary, open_seen, write_part

MICROCOCO = load_vocabulary("micrococo")


def _scenes(run: FinishedRun) -> Path:
    return Path(read_manifest(run.folder / "data/manifest.json").outputs["annotations"].path).parent


def _metrics(run: FinishedRun, folder: str = "eval") -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run.folder / folder / "metrics.json").read_text())
    return metrics


def _scored(run: FinishedRun, *arguments: object) -> dict[str, Any]:
    shown = concat_here("score", *arguments, "--json", cache=run.cache)
    assert shown.returncode == 0, shown.stderr
    scores: dict[str, Any] = json.loads(shown.stdout)
    return scores


def _check_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Eval sums categories seen first, score as they stand in the vocabulary: the last bits may differ."""
    assert list(found) == list(expected)
    for group, figures in expected.items():
        assert list(found[group]) == list(figures)
        for name, value in figures.items():
            assert found[group][name] == (value if value is None else pytest.approx(value, rel=1e-12)), (group, name)


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_score_finds_the_panoptic_figures_of_eval_again(smoke: FinishedRun, setting: str) -> None:
    truth = _scenes(smoke) / "annotations/panoptic_val2017.json"
    scores = _scored(
        smoke, *("--truth", truth, "--predictions", smoke.folder / f"eval/{setting}.json", "--vocabulary", "micrococo")
    )
    _check_equal(scores["groups"], _metrics(smoke)[setting]["panoptic"])
    assert scores["images"] == 32


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_score_finds_the_semantic_figures_of_eval_again(semantic: FinishedRun, setting: str) -> None:
    maps = _scenes(semantic) / "stuffthingmaps/val2017"
    scores = _scored(
        semantic, *("--truth", maps, "--predictions", semantic.folder / "eval" / setting, "--vocabulary", "micrococo")
    )
    _check_equal(scores["groups"], _metrics(semantic)[setting]["semantic"])
    assert set(scores["groups"]["harmonic"]) >= {"miou", "pacc"}


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_score_finds_the_instance_figures_of_eval_again(instance: FinishedRun, setting: str, tmp_path: Path) -> None:
    truth = _scenes(instance) / "annotations/instances_val2017.json"
    write_part(tmp_path / "things.json", MICROCOCO.things)
    predictions = instance.folder / f"eval/{setting}.json"
    scores = _scored(
        instance, *("--truth", truth, "--predictions", predictions, "--vocabulary", tmp_path / "things.json")
    )
    _check_equal(scores["groups"], _metrics(instance)[setting]["instance"])
    assert scores["groups"]["all"]["n"] > 10


def test_zss_keeps_every_image_and_says_so_in_every_manifest(semantic: FinishedRun) -> None:
    folders = ("split", "precompute", "con", "dump", "cat", "finetune", "eval")
    for folder in folders:
        protocol = read_manifest(semantic.folder / folder / "manifest.json").protocol
        assert (protocol.unseen_pixels_ignored, protocol.images_dropped) == (True, False)
        assert protocol.unseen_names_used == (folder in ("split", "finetune", "eval"))
    assert len(json.loads((semantic.folder / "split/train.json").read_text())["images"]) == 160
    assert "65 of them with unseen pixels, which are ignored" in semantic.shown.stdout


def test_zss_ignores_exactly_the_unseen_pixels(semantic: FinishedRun) -> None:
    scenes, seen = _scenes(semantic), open_seen(semantic.folder / "split/seen.json")
    train = semantic.folder / "split/train.json"
    data = open_semantic_images(train, scenes / "train2017", scenes / "stuffthingmaps/train2017", seen)
    ignored = 0
    for index in range(0, len(data), 5):
        name = Path(data.file_name(index)).with_suffix(".png")
        values = np.asarray(Image.open(scenes / "stuffthingmaps/train2017" / name))
        assert np.array_equal(data.sample(index).ignore.numpy(), ~np.isin(values, seen.ids))
        ignored += int(np.isin(values, MICROCOCO.unseen.ids).sum())
    assert ignored > 0


def test_no_stage_before_finetuning_is_told_an_unseen_name(semantic: FinishedRun, instance: FinishedRun) -> None:
    for run in (semantic, instance):
        for path in (run.folder / "split/train.json", run.folder / "split/seen.json"):
            text = path.read_text()
            assert not [name for name in MICROCOCO.unseen.names if name in text]


def test_gzsi_trains_on_things_without_unseen_instances(instance: FinishedRun) -> None:
    train = json.loads((instance.folder / "split/train.json").read_text())
    found = {annotation["category_id"] for annotation in train["annotations"]}
    assert found <= set(MICROCOCO.things.seen.ids)
    assert {category["id"] for category in train["categories"]} == set(MICROCOCO.things.seen.ids)
    results = json.loads((instance.folder / "eval/inductive.json").read_text())
    assert {"image_id", "category_id", "segmentation", "bbox", "score"} <= set(results[0])


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_novel_only_has_unseen_figures_alone_and_better_ones(task: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = request.getfixturevalue(task)
    metrics = _metrics(run)
    figure = {"semantic": "miou", "instance": "mask_ap50"}[task]
    for setting in ("inductive", "transductive"):
        alone = metrics["novel_only"][setting][task]
        assert set(alone) == {"unseen"}
        assert alone["unseen"][figure] >= metrics[setting][task]["unseen"][figure] - 1e-9
    assert "novel-only" in run.shown.stdout


# --- an interrupted evaluation ---------------------------------------------------------------------------------------


class _GoneError(Exception):
    """What ends an evaluation half way."""


class _Leaving(SilentReporter, SilentTask):
    """Goes away when twenty images are evaluated."""

    done = 0

    @contextmanager
    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> Iterator[Task]:
        yield self if description == "eval" else SilentTask()

    def advance(self, n: int = 1, **_: float) -> None:
        self.done += n
        if self.done == 20:
            raise _GoneError


@pytest.mark.parametrize("task", ["smoke", "semantic", "instance"])
def test_an_interrupted_evaluation_goes_on_and_ends_the_same(
    task: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: FinishedRun = request.getfixturevalue(task)
    folder = whole.copy(tmp_path, "eval")
    recipe = load_recipe(str(folder / "recipe.toml"), ("eval.panels=0",))
    monkeypatch.setattr(evaluate, "CHUNK", 8)
    with pytest.raises(_GoneError):
        bring_up_to_date(Run(folder, recipe, whole.cache, _Leaving()), chain(recipe), "eval")
    left = folder / ".eval.partial"
    assert len(list((left / "scores").glob("*.json"))) == len(list((left / "queries").glob("*.h5"))) == 2
    first = (left / "scores/001.json").stat().st_mtime_ns
    assert bring_up_to_date(Run(folder, recipe, whole.cache, SilentReporter()), chain(recipe), "eval") == ["eval"]
    assert (folder / "eval/scores/001.json").stat().st_mtime_ns == first
    for name in ("metrics.json", "categories.csv", "inductive", "transductive", "inductive.json", "transductive.json"):
        if (whole.folder / "eval" / name).exists():
            assert sha256(folder / "eval" / name) == sha256(whole.folder / "eval" / name), name


# --- the open vocabulary ---------------------------------------------------------------------------------------------

OTHER = Vocabulary.model_validate(
    {
        "name": "toys",
        "categories": [
            {"id": 7, "name": "red square"},
            {"id": 8, "name": "red circle; red disc"},
            {"id": 9, "name": "gray lawn", "isthing": False},
        ],
    }
)


@pytest.fixture
def toys(tmp_path: Path, smoke: FinishedRun) -> Path:
    """A data set of three other names: four of the scenes with made-up label maps."""
    root = tmp_path / "toys"
    (root / "labels").mkdir(parents=True)
    (root / "images").mkdir()
    write_part(root / "toys.json", OTHER)
    for path in sorted((_scenes(smoke) / "val2017").iterdir())[:4]:
        (root / "images" / path.name).write_bytes(path.read_bytes())
        values = np.full((96, 96), 9, np.uint8)
        values[:40, :40], values[50:, 50:], values[:5] = 7, 8, 255
        Image.fromarray(values).save(root / "labels" / f"{path.stem}.png")
    return root


def _given(toys: Path) -> tuple[object, ...]:
    return ("--images", toys / "images", "--labels", toys / "labels", "--vocabulary", toys / "toys.json")


def test_a_run_is_scored_on_another_data_set_with_other_names(
    semantic: FinishedRun, toys: Path, tmp_path: Path
) -> None:
    run = semantic.copy(tmp_path)
    shown = concat_here("eval", "--run", run, "--dataset", "own", *_given(toys), cache=semantic.cache)
    assert shown.returncode == 0, shown.stderr
    metrics = _metrics(FinishedRun(run, semantic.cache, shown), "eval-toys")
    assert (metrics["vocabulary"], metrics["images"]) == ("toys", 4)
    assert metrics["inductive"]["semantic"]["seen"]["n"] == 1  # red square
    assert metrics["inductive"]["semantic"]["unseen"]["n"] == 2
    scores = _scored(
        semantic,
        *("--truth", toys / "labels", "--predictions", run / "eval-toys/inductive", "--vocabulary", toys / "toys.json"),
    )
    assert scores["groups"]["all"] == pytest.approx(metrics["inductive"]["semantic"]["all"], rel=1e-12)
    manifest = read_manifest(run / "eval-toys/manifest.json")
    assert Path(manifest.outputs["text"].path).parent == semantic.cache / "clip"
    again = concat_here("eval", "--run", run, "--dataset", "own", *_given(toys), cache=semantic.cache)
    assert "fresh; nothing to do" in again.stdout


def test_a_panoptic_run_may_be_scored_on_label_maps(smoke: FinishedRun, toys: Path, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    for path in (toys / "labels").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 255, 200, values).astype(np.uint8)).save(path)
    arguments = ("eval", "--run", run, "--dataset", "own", *_given(toys))
    refused(concat_here(*arguments, cache=smoke.cache), "holds the pixel value 200", "--ignore")
    shown = concat_here(*arguments, "--ignore", "200", cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert _metrics(FinishedRun(run, smoke.cache, shown), "eval-toys")["task"] == "semantic"
    values = {int(v) for p in (run / "eval-toys/transductive").iterdir() for v in np.unique(np.asarray(Image.open(p)))}
    assert values <= set(OTHER.ids)


def test_another_data_set_has_to_be_described(smoke: FinishedRun, toys: Path) -> None:
    for arguments, phrase in (
        (("--images", toys / "images"), "describe another data set"),
        (("--dataset", "voc"), "Where voc lies is not said"),
        (("--dataset", "own", "--images", toys / "images"), "is not described"),
        (("--dataset", "own", *_given(toys), "--text-names", toys / "toys.json"), "belong together"),
        (("--dataset", "voc", "--root", toys), "No voc data set is there"),
        (("--dataset", "own", *_given(toys), "--ignore", "void"), "--ignore wants pixel values"),
        (("--ignore", "7"), "describe another data set"),
    ):
        shown = concat_here("eval", "--run", smoke.folder, *arguments, cache=smoke.cache)
        assert shown.returncode == 2, shown.stdout
        assert phrase in shown.stderr

"""The same path on real photographs of COCO: which images are kept and why, and all stages for a few iterations."""

import csv
import json
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from concat_command import concat_here, refused
from PIL import Image
from shared_data import shared_data

from pipelines.clip.store import open_store
from pipelines.clip.text import open_text
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.metrics.groups import category_groups
from pipelines.metrics.panoptic_quality import PredictedSegment, score_image, summarise, total
from pipelines.runs.manifest import read_manifest
from pipelines.vocabularies.vocabulary import load_vocabulary

RECIPE = """
extends = "concat_zps"
name = "real data, small"

[clip]
model = "{clip}"
pretrained = "random"
prompts = "single"

[con]
iterations = 3
batch_size = 2

[con.segmentor]
backbone = "test_resnet"
backbone_weights = "none"
hidden_dim = 64
feedforward_dim = 64
encoder_feedforward_dim = 64
queries = 20
encoder_layers = 1
decoder_layers = 2
heads = 4

[con.input]
crop = 256
test_short = 256
test_long = 427

[con.matching]
points = 1024

[cat]
iterations = 3
hidden_dim = 64

[finetune]
iterations = 4
keep_every = 2

[eval]
sweep = [0.0]
panels = 4

[runtime]
workers = 0
"""

CLIP = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@dataclass(frozen=True)
class RealRun:
    """A finished run over the hundred images.

    Attributes:
        shown: what split-coco and eval printed.
    """

    folder: Path
    data: Path
    cache: Path
    shown: list[subprocess.CompletedProcess[str]]

    @property
    def given(self) -> dict[str, Any]:
        """The json that was split."""
        return _json(self.data / "annotations/panoptic_train2017.json")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _split(run: Path, data: Path, cache: Path, *more: object) -> subprocess.CompletedProcess[str]:
    images, annotations = data / "train2017", data / "annotations/panoptic_train2017.json"
    arguments = ("split-coco", "--run", run, "--images", images, "--annotations", annotations)
    return concat_here(*arguments, *more, cache=cache)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    root, data = tmp_path_factory.mktemp("real"), shared_data("coco_panoptic_100train")
    (root / "clip.json").write_text(json.dumps(CLIP))
    (root / "small.toml").write_text(RECIPE.format(clip=root / "clip.json"))
    split = _split(root / "run", data, root / "cache", "--recipe", root / "small.toml")
    assert split.returncode == 0, split.stderr
    rest = concat_here("eval", "--run", root / "run", cache=root / "cache")
    assert rest.returncode == 0, rest.stderr
    return RealRun(root / "run", data, root / "cache", [split, rest])


def test_the_split_keeps_the_31_images_without_unseen_pixels(real: RealRun) -> None:
    unseen = set(load_vocabulary("coco_panoptic").unseen.ids)
    wanted = [
        entry["image_id"]
        for entry in real.given["annotations"]
        if not unseen & {segment["category_id"] for segment in entry["segments_info"]}
    ]
    kept = _json(real.folder / "split/train.json")
    assert len(wanted) == 31
    assert sorted(image["id"] for image in kept["images"]) == sorted(wanted)
    assert sorted(entry["image_id"] for entry in kept["annotations"]) == sorted(wanted)
    assert len(kept["categories"]) == 119
    assert "kept 31 training images, dropped 69" in real.shown[0].stdout
    assert "eval scores the given set itself" in real.shown[0].stdout


def test_the_split_says_why_each_other_image_was_dropped(real: RealRun) -> None:
    name_of = {category.id: category.name for category in load_vocabulary("coco_panoptic").unseen.categories}
    with open(real.folder / "split/dropped.csv", newline="") as file:
        said = {int(row["image_id"]): row["unseen categories"] for row in csv.DictReader(file)}
    assert len(said) == 69
    for entry in real.given["annotations"]:
        held = sorted({s["category_id"] for s in entry["segments_info"]} & set(name_of))
        assert said.get(entry["image_id"], "") == "; ".join(name_of[i] for i in held)


def test_the_counts_add_up(real: RealRun) -> None:
    with open(real.folder / "split/counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    segments = [segment for entry in real.given["annotations"] for segment in entry["segments_info"]]
    assert len(rows) == 133
    assert sum(int(row["segments before"]) for row in rows) == len(segments) == 1111
    assert sum(int(row["crowd_segments before"]) for row in rows) == sum(s["iscrowd"] for s in segments) == 6
    assert all(int(row["segments kept"]) == 0 for row in rows if row["unseen"] == "1")


def test_every_segment_but_crowd_has_a_token_however_small(real: RealRun) -> None:
    tokens = open_store(Path(read_manifest(real.folder / "precompute/manifest.json").outputs["images"].path))
    assert tokens.dim == 512
    areas = []
    for entry in _json(real.folder / "split/train.json")["annotations"]:
        wanted = [segment for segment in entry["segments_info"] if not segment["iscrowd"]]
        assert tokens.segment_tokens(entry["image_id"])[0].tolist() == [segment["id"] for segment in wanted]
        areas += [segment["area"] for segment in wanted]
    assert min(areas) < 100


def test_grayscale_crowd_void_and_tiny_segments_are_among_what_was_scored(real: RealRun) -> None:
    """So that the run above shows that they are handled."""
    modes, void = set(), 0
    for image, entry in zip(real.given["images"], real.given["annotations"], strict=True):
        with Image.open(real.data / "train2017" / image["file_name"]) as file:
            modes.add(file.mode)
        ids = read_panoptic_png(real.data / "annotations/panoptic_train2017" / entry["file_name"])
        void += int((ids == 0).sum())
    segments = [segment for entry in real.given["annotations"] for segment in entry["segments_info"]]
    assert modes == {"RGB", "L"}
    assert void > 0
    assert any(segment["iscrowd"] for segment in segments)
    assert min(segment["area"] for segment in segments) < 50


def test_eval_scores_all_hundred_images(real: RealRun) -> None:
    metrics = _json(real.folder / "eval/metrics.json")
    assert metrics["images"] == 100
    assert list(metrics["finetune_path"]) == ["2", "4"]
    panoptic = metrics["inductive"]["panoptic"]
    assert panoptic["all"]["n"] == panoptic["seen"]["n"] + panoptic["unseen"]["n"] >= 119
    for figures in panoptic.values():
        assert all(figures[key] is None or 0 <= figures[key] <= 100 for key in ("pq", "sq", "rq"))
    predicted = _json(real.folder / "eval/inductive.json")
    assert [image["id"] for image in predicted["images"]] == [image["id"] for image in real.given["images"]]
    for image, entry in zip(predicted["images"], predicted["annotations"], strict=True):
        ids = read_panoptic_png(real.folder / "eval/inductive" / entry["file_name"])
        assert ids.shape == (image["height"], image["width"])
    with Image.open(real.folder / "eval/panels.png") as picture:
        assert picture.width > 800
    assert "Panoptic quality" in real.shown[1].stdout


def test_the_truth_as_a_prediction_is_perfect(real: RealRun) -> None:
    vocabulary = load_vocabulary("coco_panoptic")
    png = real.data / "annotations/panoptic_train2017"
    data = open_panoptic_images(real.folder / "split/val.json", real.data / "train2017", png, vocabulary)
    scores = []
    for index in range(len(data)):
        ids, segments = data.truth(index)
        crowd = [segment.id for segment in segments if segment.iscrowd]
        painted = np.where(np.isin(ids, crowd), 0, ids)
        same = [PredictedSegment(s.id, s.category_id) for s in segments if not s.iscrowd]
        name = data.file_name(index)
        scores.append(score_image(ids, segments, painted, same, categories=set(vocabulary.ids), image=name))
    found = summarise(total(scores), category_groups(vocabulary))
    assert [found[group]["pq"] for group in ("all", "seen", "unseen", "harmonic")] == [100.0] * 4


def test_given_text_embeddings_take_the_place_of_a_text_encoder(real: RealRun, tmp_path: Path) -> None:
    given = shared_data("clip_text_embeddings") / "coco_multi.npy"
    names = shared_data("vocabularies") / "coco_stuff.json"
    run = tmp_path / "run"
    split = _split(
        *(run, real.data, real.cache, "--recipe", real.cache.parent / "small.toml"),
        *("--val-images", real.data / "train2017"),
        *("--val-annotations", real.data / "annotations/panoptic_train2017.json"),
        *("--text-embeddings", given, "--text-names", names),
    )
    assert split.returncode == 0, split.stderr
    assert "eval scores the given set itself" not in split.stdout
    done = concat_here("finetune", "--run", run, cache=real.cache)
    assert done.returncode == 0, done.stderr
    vocabulary = load_vocabulary("coco_panoptic")
    stores = {
        "text_seen": (read_manifest(run / "precompute/manifest.json"), vocabulary.seen.names),
        "text_taught": (read_manifest(run / "finetune/manifest.json"), vocabulary.unseen.names),
    }
    for name, (manifest, expected) in stores.items():
        rows = open_text(Path(manifest.outputs[name].path), expected, stage="eval")
        assert rows.shape == (len(expected), 512)
    images = [read_manifest(r / "precompute/manifest.json").outputs["images"].path for r in (run, real.folder)]
    assert images[0] == images[1]  # other names never cost the images again
    taught = concat_here("teach", run, "--names", "e-scooter", "--out", tmp_path / "taught", cache=real.cache)
    refused(taught, "made from given text embeddings", "e-scooter")
    assert not (tmp_path / "taught").exists()


def _zip_officially(data: Path, root: Path) -> tuple[Path, Path]:
    """The hundred images as COCO publishes them: a zip of images, and one of jsons with a zip of PNGs inside."""
    images, annotations = root / "train2017.zip", root / "panoptic_annotations_trainval2017.zip"
    with zipfile.ZipFile(images, "w") as archive:
        for path in sorted((data / "train2017").iterdir()):
            archive.write(path, f"train2017/{path.name}")
    inner = root / "panoptic_train2017.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for path in sorted((data / "annotations/panoptic_train2017").iterdir()):
            archive.write(path, f"panoptic_train2017/{path.name}")
    with zipfile.ZipFile(annotations, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(data / "annotations/panoptic_train2017.json", "annotations/panoptic_train2017.json")
        archive.write(inner, "annotations/panoptic_train2017.zip")
    inner.unlink()
    return images, annotations


def test_the_official_zips_train_and_score_as_the_folders_do(real: RealRun, tmp_path: Path) -> None:
    images, annotations = _zip_officially(real.data, tmp_path)
    run = tmp_path / "run"
    begin = ("--recipe", real.cache.parent / "small.toml", "--images", images, "--annotations", annotations)
    split = concat_here("split-coco", "--run", run, *begin, cache=tmp_path / "cache")
    assert split.returncode == 0, split.stderr
    done = concat_here("eval", "--run", run, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    for name in ("split/train.json", "con/model.safetensors", "eval/metrics.json", "eval/inductive.json"):
        assert (run / name).read_bytes() == (real.folder / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", annotations.name, "run", images.name]
    states = concat_here("status", run, "--json", cache=tmp_path / "cache")
    assert {stage["state"] for stage in json.loads(states.stdout)["stages"]} == {"fresh"}
    with zipfile.ZipFile(images, "a") as archive:
        archive.writestr("train2017/more.jpg", b"")
    states = concat_here("status", run, "--json", cache=tmp_path / "cache")
    assert "train images changed" in states.stdout


def test_two_images_that_both_hold_unseen_pixels_leave_none(tmp_path: Path) -> None:
    data = shared_data("coco_panoptic_sample2")
    json_path = data / "panoptic_examples.json"
    shown = concat_here(
        *("split-coco", "--run", tmp_path / "run", "--images", data / "input_images", "--annotations", json_path),
        *("--set", "con.segmentor.backbone_weights=none"),
        cache=tmp_path,
    )
    refused(shown, "No training image is left: 2 of 2", f"File   {json_path}")

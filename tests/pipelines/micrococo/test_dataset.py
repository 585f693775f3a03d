"""Tests of the embedded world: its categories, its scenes and the data set on disk."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from pipelines.base.errors import ConcatError
from pipelines.micrococo.dataset import MICROCOCO_CATEGORIES, SPLITS, make_micrococo, vocabulary_toml
from pipelines.micrococo.render import MIN_SEGMENT_AREA, STREAMS, VOID, render_scene, scene_rng
from pipelines.micrococo.world import SEEN_CATEGORIES, SHAPES, STUFF_COLOURS, TEXTURES, THING_COLOURS
from pipelines.vocabularies.shipped import SHIPPED
from pipelines.vocabularies.vocabulary import load_vocabulary

COUNTS = {"train": 200, "val": 12, "tune": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "micrococo"
    make_micrococo(root, **COUNTS)
    return root


def annotations(root: Path, split: str) -> dict:
    return json.loads((root / "annotations" / f"panoptic_{split}2017.json").read_bytes())


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def segment_ids(root: Path, split: str, file_name: str) -> np.ndarray:
    picture = Image.open(root / "annotations" / f"panoptic_{split}2017" / file_name)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(np.int64) @ (1, 256, 256**2)


# --- categories ---


def test_categories_are_the_documented_ones() -> None:
    assert len(MICROCOCO_CATEGORIES) == 36
    assert sum(c.isthing for c in MICROCOCO_CATEGORIES) == 24
    unseen = {c.name for c in MICROCOCO_CATEGORIES if c.unseen}
    assert unseen == {
        *("red circle", "yellow square", "green triangle", "blue star", "purple cross", "white ring"),
        *("plain green ground", "striped blue ground", "checkered brown ground"),
    }
    assert len({c.name for c in MICROCOCO_CATEGORIES}) == len({c.color for c in MICROCOCO_CATEGORIES}) == 36


@pytest.mark.parametrize("isthing", [True, False])
def test_every_part_of_an_unseen_category_occurs_in_seen_ones(isthing: bool) -> None:
    seen = [c for c in MICROCOCO_CATEGORIES if c.isthing == isthing and not c.unseen]
    parts = Counter(part for c in seen for part in (("colour", c.colour), ("form", c.form)))
    for category in MICROCOCO_CATEGORIES:
        if category.unseen and category.isthing == isthing:
            assert parts["colour", category.colour] >= (3 if isthing else 2)
            assert parts["form", category.form] >= (3 if isthing else 2)


def test_every_colour_and_form_is_used() -> None:
    assert {c.colour for c in MICROCOCO_CATEGORIES if c.isthing} == set(THING_COLOURS)
    assert {c.form for c in MICROCOCO_CATEGORIES if c.isthing} == set(SHAPES)
    assert {c.colour for c in MICROCOCO_CATEGORIES if not c.isthing} == set(STUFF_COLOURS)
    assert {c.form for c in MICROCOCO_CATEGORIES if not c.isthing} == set(TEXTURES)


def test_category_ids_cannot_be_taken_for_indices() -> None:
    ids = [c.id for c in MICROCOCO_CATEGORIES]
    assert ids == sorted(set(ids))
    assert ids[-1] > 80
    kinds = [c.isthing for c in MICROCOCO_CATEGORIES]
    assert sum(a != b for a, b in pairwise(kinds)) > 20, "things and stuff do not interleave"
    assert sum(identifier in (index, index + 1) for index, identifier in enumerate(ids)) < 3


def test_the_shipped_vocabulary_follows_the_rule() -> None:
    assert (SHIPPED / "micrococo.toml").read_text(encoding="utf-8") == vocabulary_toml()
    for ours, category in zip(MICROCOCO_CATEGORIES, load_vocabulary("micrococo").categories, strict=True):
        assert (ours.id, ours.name, ours.isthing, ours.color, ours.unseen) == (
            *(category.id, category.name, category.isthing, category.color, category.unseen),
        )


# --- scenes ---


def test_scenes_hold_what_is_allowed_and_no_specks() -> None:
    for index in range(150):
        scene = render_scene(scene_rng(3, "backbone-train", index), allowed=SEEN_CATEGORIES)
        assert scene.image.shape == (96, 96, 3)
        assert scene.image.dtype == np.uint8
        assert set(scene.categories) <= set(SEEN_CATEGORIES)
        areas = np.bincount(scene.segments[scene.segments != VOID], minlength=len(scene.categories))
        assert len(areas) == len(scene.categories)
        assert (areas >= MIN_SEGMENT_AREA).all()
        stuff = [k for k in scene.categories if not MICROCOCO_CATEGORIES[k].isthing]
        assert len(stuff) == len(set(stuff)) <= 3


def test_small_leftovers_become_void() -> None:
    scenes = (render_scene(scene_rng(0, "train", index)) for index in range(600))
    voids = [(scene.segments == VOID).sum() for scene in scenes]
    assert any(voids)
    assert np.mean(voids) < 0.01 * 96 * 96


def test_crowds_and_colourless_scenes_are_rare_but_there() -> None:
    scenes = [render_scene(scene_rng(0, "train", index)) for index in range(600)]
    crowded = [scene for scene in scenes if any(scene.crowds)]
    colourless = [scene for scene in scenes if scene.grayscale]
    assert 6 <= len(crowded) <= 36
    assert 1 <= len(colourless) <= 12
    for scene in crowded:
        assert sum(scene.crowds) == 1
        assert MICROCOCO_CATEGORIES[scene.categories[scene.crowds.index(True)]].isthing
    for scene in colourless:
        assert {MICROCOCO_CATEGORIES[k].colour for k in scene.categories} <= {"white", "gray"}
        assert (scene.image == scene.image[..., :1]).all()


def test_streams_do_not_share_scenes() -> None:
    first = [render_scene(scene_rng(0, stream, 0)).image.tobytes() for stream in STREAMS]
    assert len(set(first)) == len(STREAMS)
    assert render_scene(scene_rng(1, "train", 0)).image.tobytes() not in first


@pytest.mark.parametrize("size", [64, 128])
def test_scenes_come_in_other_sizes(size: int) -> None:
    scene = render_scene(scene_rng(0, "train", 1), size=size)
    assert scene.image.shape == (size, size, 3)
    assert scene.segments.shape == (size, size)


# --- the data set ---


def test_same_seed_same_bytes_whatever_the_workers_and_other_splits(root: Path, tmp_path: Path) -> None:
    make_micrococo(tmp_path / "again", train=24, val=12, tune=0, workers=2)
    expected = files(root)
    for name, content in files(tmp_path / "again").items():
        if not name.endswith("train2017.json") and "tune" not in name:
            assert content == expected[name], name
    some = annotations(tmp_path / "again", "train")["annotations"]
    assert some == annotations(root, "train")["annotations"][:24]


def test_another_seed_gives_other_pictures(root: Path, tmp_path: Path) -> None:
    make_micrococo(tmp_path / "other", train=1, val=0, tune=0, seed=1)
    ours, theirs = ({k: v for k, v in files(r).items() if k.endswith(".jpg")} for r in (root, tmp_path / "other"))
    for name, content in theirs.items():
        assert content != ours[name]


@pytest.mark.parametrize("split", SPLITS)
def test_json_has_the_official_fields(root: Path, split: str) -> None:
    content = annotations(root, split)
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    assert len(content["images"]) == len(content["annotations"]) == COUNTS[split]
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        assert {"id", "file_name", "height", "width", "license", "date_captured"} <= set(image)
        assert image["file_name"] == f"{image['id']:012d}.jpg"
        assert annotation["image_id"] == image["id"]
        assert annotation["file_name"] == f"{image['id']:012d}.png"
        for segment in annotation["segments_info"]:
            assert set(segment) == {"id", "category_id", "area", "bbox", "iscrowd"}
    for category, ours in zip(content["categories"], MICROCOCO_CATEGORIES, strict=True):
        assert set(category) == {"id", "name", "isthing", "supercategory", "color"}
        assert (category["id"], category["name"], category["isthing"]) == (ours.id, ours.name, int(ours.isthing))


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_agree_with_the_json(root: Path, split: str) -> None:
    for annotation in annotations(root, split)["annotations"]:
        ids = segment_ids(root, split, annotation["file_name"])
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        for segment in annotation["segments_info"]:
            rows, columns = np.nonzero(ids == segment["id"])
            assert segment["area"] == len(rows) >= MIN_SEGMENT_AREA
            left, top = columns.min(), rows.min()
            assert segment["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]


def test_image_ids_are_unique_and_full_of_holes(root: Path) -> None:
    ids = [image["id"] for split in SPLITS for image in annotations(root, split)["images"]]
    assert len(ids) == len(set(ids))
    assert max(ids) - min(ids) > 2 * len(ids)


def test_grayscale_files_have_one_channel_and_crowds_are_marked(root: Path) -> None:
    modes = Counter(Image.open(path).mode for path in (root / "train2017").glob("*.jpg"))
    assert set(modes) == {"L", "RGB"}
    assert modes["L"] <= 0.03 * COUNTS["train"]
    segments = [s for a in annotations(root, "train")["annotations"] for s in a["segments_info"]]
    assert {segment["iscrowd"] for segment in segments} == {0, 1}


def test_about_half_of_the_training_scenes_are_seen_only(root: Path) -> None:
    unseen = {category.id for category in MICROCOCO_CATEGORIES if category.unseen}
    pictured = [{s["category_id"] for s in a["segments_info"]} for a in annotations(root, "train")["annotations"]]
    clean = sum(not ids & unseen for ids in pictured)
    assert 0.4 <= clean / len(pictured) <= 0.75


def test_nothing_half_made_is_left_and_nothing_is_overwritten(root: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    calls: list[int] = []

    def stop(more: int) -> None:
        calls.append(more)
        if len(calls) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        make_micrococo(tmp_path / "killed", train=5, val=0, tune=0, progress=stop)
    assert not (tmp_path / "killed").exists()
    make_micrococo(tmp_path / "killed", train=2, val=0, tune=0)
    assert not (tmp_path / "killed.partial").exists()
    with pytest.raises(ConcatError, match="not empty"):
        make_micrococo(root, train=1)


def test_progress_counts_all_images(tmp_path: Path) -> None:
    done: list[int] = []
    make_micrococo(tmp_path / "counted", train=2, val=1, tune=1, progress=done.append)
    assert done == [1, 1, 1, 1]


# --- the other forms of labels ---


def test_label_maps_hold_the_category_of_every_panoptic_segment(root: Path) -> None:
    for annotation in annotations(root, "val")["annotations"]:
        ids = segment_ids(root, "val", annotation["file_name"])
        picture = Image.open(root / "stuffthingmaps/val2017" / annotation["file_name"])
        assert picture.mode == "L"
        expected = np.zeros_like(ids)
        for segment in annotation["segments_info"]:
            expected[ids == segment["id"]] = segment["category_id"]
        assert np.array_equal(np.asarray(picture), expected)


def test_instances_are_the_things_of_the_panoptic_labels(root: Path) -> None:
    instances = json.loads((root / "annotations/instances_train2017.json").read_bytes())
    things = {category.id for category in MICROCOCO_CATEGORIES if category.isthing}
    assert [category["id"] for category in instances["categories"]] == sorted(things)
    assert len({entry["id"] for entry in instances["annotations"]}) == len(instances["annotations"]) > 200
    found = {annotation["image_id"]: [] for annotation in annotations(root, "train")["annotations"]}
    for entry in instances["annotations"]:
        found[entry["image_id"]].append(entry)
    for annotation in annotations(root, "train")["annotations"][:40]:
        ids = segment_ids(root, "train", annotation["file_name"])
        listed = [s for s in annotation["segments_info"] if s["category_id"] in things]
        for segment, entry in zip(listed, found[annotation["image_id"]], strict=True):
            for field in ("category_id", "iscrowd", "area", "bbox"):
                assert segment[field] == entry[field]
            assert np.array_equal(coco_mask.decode(entry["segmentation"]), ids == segment["id"])

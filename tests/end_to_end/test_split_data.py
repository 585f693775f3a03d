"""Preparing data sets of label maps: published layouts, one's own, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from concat_command import concat_here, refused
from PIL import Image
from shared_data import shared_data

from pipelines.recipes.load import load_recipe

BARE = ("--set", "con.segmentor.backbone_weights=none")
VOCABULARY = """
name = "streets"
categories = [
  {id = 1, name = "road; street", isthing = false},
  {id = 2, name = "car"},
  {id = 5, name = "tram; streetcar", unseen = true},
]
"""


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    root = tmp_path / "streets"
    (root / "labels").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "streets.toml").write_text(VOCABULARY)
    for number in range(6):
        values = np.full((40, 60), 1, np.uint8)
        values[:10] = 255
        values[20:30, 10:30] = 5 if number % 2 else 2
        Image.fromarray(values).save(root / f"labels/{number}.png")
        Image.fromarray(np.full((40, 60, 3), 90 + number, np.uint8)).save(root / f"images/{number}.jpg")
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "val.txt").write_text("4\n5\n")
    return root


def _own(streets: Path, *more: object) -> tuple[object, ...]:
    given = ("--images", streets / "images", "--labels", streets / "labels", "--vocabulary", streets / "streets.toml")
    lists = ("--list", streets / "train.txt", "--val-list", streets / "val.txt")
    return ("split-data", "own", "--run", streets / "run", *given, *lists, *BARE, *more)


@pytest.mark.parametrize(
    ("protocol", "kept"), [("zss", ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]), ("zps", ["0.jpg", "2.jpg"])]
)
def test_ones_own_label_maps_are_split_by_either_protocol(streets: Path, protocol: str, kept: list[str]) -> None:
    shown = concat_here(*_own(streets, "--protocol", protocol), cache=streets / "cache")
    assert shown.returncode == 0, shown.stderr
    train, val = (json.loads((streets / f"run/split/{name}.json").read_text()) for name in ("train", "val"))
    assert [image["file_name"] for image in train["images"]] == kept
    assert [category["name"] for category in train["categories"]] == ["road", "car"]
    assert [image["file_name"] for image in val["images"]] == ["4.jpg", "5.jpg"]
    report = json.loads((streets / "run/split/check.json").read_text())
    assert report["train"]["images"] == len(kept)
    for name in ("train", "val"):
        with Image.open(streets / f"run/split/overlay_{name}.png") as sheet:
            assert sheet.width > 400
    checked = concat_here("check-data", streets / "run", cache=streets / "cache")
    assert checked.returncode == 0, checked.stderr
    assert "tram" in checked.stdout


def test_a_value_of_ones_own_label_maps_can_be_ignored(streets: Path) -> None:
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save(streets / "labels/1.png")
    shown = concat_here(*_own(streets, "--ignore", "9, 255"), cache=streets / "cache")
    assert shown.returncode == 0, shown.stderr
    assert "ignored = [\n    9,\n    255,\n]" in (streets / "run/recipe.toml").read_text()
    train = json.loads((streets / "run/split/train.json").read_text())
    assert [image["file_name"] for image in train["images"]] == ["0.jpg", "2.jpg", "3.jpg"]


def test_voc_is_found_by_its_layout_and_keeps_its_own_split(tmp_path: Path) -> None:
    shown = concat_here(
        *("split-data", "voc", "--run", tmp_path / "run", "--root", shared_data("voc_sample3"), *BARE), cache=tmp_path
    )
    assert shown.returncode == 0, shown.stderr
    recipe = load_recipe(str(tmp_path / "run/recipe.toml"))
    assert (recipe.task, recipe.data.vocabulary, recipe.data.protocol) == ("semantic", "voc20", "zss")
    train = json.loads((tmp_path / "run/split/train.json").read_text())
    assert len(train["categories"]) == 15
    assert [len(a["segments_info"]) for a in train["annotations"]] == [2, 1, 2]


def test_ade20k_needs_unseen_names_to_be_trained_on(tmp_path: Path) -> None:
    root = shared_data("ade20k_sample3")
    arguments = ("split-data", "ade20k", "--run", tmp_path / "run", "--root", root, *BARE)
    refused(concat_here(*arguments, cache=tmp_path), "ADE20K has no unseen split", "--dataset ade20k")
    shown = concat_here(*arguments, "--unseen", "wall, sky", cache=tmp_path)
    assert shown.returncode == 0, shown.stderr


def test_what_is_wrong_with_a_preparation_is_one_message(streets: Path) -> None:
    cache = streets / "cache"
    bare = ("split-data", "own", "--run", streets / "other", "--images", streets / "images")
    refused(concat_here(*bare, "--labels", streets / "labels", cache=cache), "need a vocabulary")
    refused(concat_here(*bare, "--root", streets, cache=cache), "--root is for published data sets")
    (streets / "val.txt").write_text("4\n77\n")
    refused(concat_here(*_own(streets), cache=cache), "77")
    (streets / "val.txt").write_text("4\n")
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save(streets / "labels/1.png")
    refused(concat_here(*_own(streets), cache=cache), "1.png", "value 9", "--ignore")
    refused(concat_here(*_own(streets, "--ignore", "void"), cache=cache), "--ignore wants pixel values")
    Image.fromarray(np.full((41, 60), 1, np.uint8)).save(streets / "labels/1.png")
    refused(concat_here(*_own(streets), cache=cache), "1.png", "60×41 px")
    Image.new("RGB", (60, 40), (1, 1, 2)).save(streets / "labels/1.png")
    refused(concat_here(*_own(streets), cache=cache), "1.png", "mode RGB")

"""`concat check-data`: what it prints of a data set and of a run, its contact sheets, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from concat_command import concat_here, refused
from label_map_world import write_label_maps
from panoptic_world import STUFF, THING, UNSEEN, VOCABULARY, World, segment, write_world
from PIL import Image
from shared_data import shared_data

from pipelines.base.files import write_json
from pipelines.data.formats.coco_panoptic import read_panoptic, write_panoptic
from pipelines.data.splits.split import split_panoptic
from pipelines.recipes.load import write_recipe
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary

IDS = np.repeat(np.array([[5, 6]], np.int32), 24, axis=0).repeat(12, axis=1)  # 24×24: halves of 288 px


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: concat_here("check-data", *arguments, "--workers", 1, cache=tmp_path / "cache")


def write(root: Path) -> World:
    """Four images, of which the last two hold an unseen category, and one that is in no list."""
    held = {1: (THING, STUFF), 2: (THING, STUFF), 3: (UNSEEN, STUFF), 4: (THING, UNSEEN)}
    world = write_world(
        root, {i: (IDS, [segment(5, a, area=288), segment(6, b, area=288)]) for i, (a, b) in held.items()}
    )
    Image.new("RGB", (8, 8)).save(world.images / "stray.jpg")
    return world


def options(world: World) -> list[Any]:
    return ["--images", world.images, "--annotations", world.annotations]


def write_vocabulary(path: Path, vocabulary: Vocabulary = VOCABULARY) -> Path:
    write_json(path, vocabulary.model_dump(mode="json", exclude_defaults=True))
    return path


def rows(shown: str) -> dict[str, list[str]]:
    """The rows of all tables: first cell → the others."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    return {cells[0]: cells[1:] for cells in lines}


def test_a_sound_data_set(check: Callable[..., Any], tmp_path: Path) -> None:
    shown = check(*options(write(tmp_path)), "--unseen", "cow", "--sheet", "sheet.png")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert rows(shown.stdout) == {
        "cat": ["thing", "3", "3", "864"],
        "sky": ["stuff", "3", "3", "864"],
        "cow": ["thing", "2", "2", "576"],
    }
    assert shown.stdout.index("seen categories") < shown.stdout.index("unseen categories")
    for line in ("4 images, 8 segments, 3 of 4 categories", "1 category has no segment: dog", "stray.jpg", "sheet.png"):
        assert line in shown.stdout
    assert "✓ Nothing was found" in shown.stdout
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 4 * 300


def test_faults_are_named_and_end_with_exit_code_2(check: Callable[..., Any], tmp_path: Path) -> None:
    world = write(tmp_path)
    (world.images / "0001.jpg").unlink()
    (world.images / "0002.jpg").write_bytes((world.images / "0003.jpg").read_bytes()[:200])
    (world.png / "0003.png").unlink()
    shown = check(*options(world))
    assert shown.returncode == 2
    for phrase in ("1 image file is missing", "0001.jpg", "1 image file cannot be read", "0002.jpg", "0003.png"):
        assert phrase in shown.stdout
    assert "✓" not in shown.stdout
    assert (tmp_path / "check.png").exists()  # of the images that can be read


def test_unknown_categories_are_refused_with_their_ids(check: Callable[..., Any], tmp_path: Path) -> None:
    other = write_vocabulary(tmp_path / "other.json", VOCABULARY.seen)
    shown = check(*options(write(tmp_path)), "--vocabulary", other)
    assert shown.returncode == 2
    assert f"id {UNSEEN} in 2 images" in shown.stdout


def test_json(check: Callable[..., Any], tmp_path: Path) -> None:
    shown = check(*options(write(tmp_path)), "--json")
    (listed,) = json.loads(shown.stdout)["lists"]
    assert (listed["name"], listed["task"], listed["sound"]) == ("panoptic.json", "panoptic", True)
    assert (listed["images"], listed["counted"], listed["decoded"]) == (4, 4, 4)
    assert [finding["kind"] for finding in listed["findings"]] == ["unused image", "category without segment"]
    assert Path(listed["sheet"]).exists()
    assert sum(category["segments"] for category in listed["categories"]) == 8


def test_label_maps(check: Callable[..., Any], tmp_path: Path) -> None:
    maps = np.full((20, 30), 3)
    maps[:5], maps[5:10] = 7, 255
    write_label_maps(tmp_path, {"a": maps, "b": maps + 0})
    paths = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    names = ["--vocabulary", write_vocabulary(tmp_path / "v.json")]
    shown = check(*paths, *names)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert rows(shown.stdout) == {"dog": ["thing", "2", "600"], "cat": ["thing", "2", "300"]}
    assert check(*paths, *names, "--ignore", "0").returncode == 2  # 255 is no category then
    refused(check(*paths), "Label maps do not say", "--vocabulary")
    refused(check(*paths, *names, "--ignore", "void"), "wants pixel values from 0 to 65535")


def test_what_does_not_fit_together_is_refused(check: Callable[..., Any], tmp_path: Path) -> None:
    world = write(tmp_path)
    refused(check(), "nothing to check")
    refused(check("--images", world.images), "--annotations or --labels")
    refused(check(*options(world), "--labels", world.png), "either")
    refused(check(*options(world), "--list", world.annotations), "--list goes with --labels")
    refused(check(tmp_path, *options(world)), "not both")
    refused(check("--images", tmp_path / "none", "--annotations", world.annotations), "none")
    refused(check(tmp_path), "no recipe.toml")


@pytest.mark.parametrize("protocol", ["zps", "zss"])
def test_both_lists_of_a_run(check: Callable[..., Any], tmp_path: Path, protocol: Any) -> None:
    world, run = write(tmp_path), tmp_path / "run"
    recipe = Recipe().model_dump()
    recipe["data"] |= {"images": str(world.images), "annotations": str(world.annotations), "protocol": protocol}
    recipe["data"]["vocabulary"] = str(write_vocabulary(tmp_path / "v.json"))
    write_recipe(run / "recipe.toml", Recipe.model_validate(recipe))
    refused(check(run), "no lists yet", "split-coco")
    (run / "split").mkdir()
    split_panoptic(world.annotations, run / "split/train.json", vocabulary=VOCABULARY, protocol=protocol)
    content = read_panoptic(world.annotations)
    write_panoptic(
        run / "split/val.json", images=content.images, annotations=content.annotations, vocabulary=VOCABULARY
    )
    shown = check(run)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"train  {2 if protocol == 'zps' else 4} images" in shown.stdout
    assert "val  4 images" in shown.stdout
    assert (run / "check_train.png").exists()
    assert (run / "check_val.png").exists()


def test_real_instances(check: Callable[..., Any], tmp_path: Path) -> None:
    folder = shared_data("coco_instances_tiny38")
    images, annotations = folder / "images/train2017", folder / "annotations/instances_train2017.json"
    shown = check("--images", images, "--annotations", annotations, "--json")
    (listed,) = json.loads(shown.stdout)["lists"]
    assert listed["task"] == "instance"
    assert listed["sound"] == (shown.returncode == 0)
    counted = json.loads(annotations.read_text())
    assert listed["images"] == len(counted["images"])
    assert sum(category["segments"] for category in listed["categories"]) == len(counted["annotations"])

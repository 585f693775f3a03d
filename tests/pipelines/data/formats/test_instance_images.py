"""Samples from instances: polygons and runs, small ones in front, crowd, background, other categories, real data."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from panoptic_world import OTHER_THING, THING, UNSEEN, VOCABULARY, image_entry
from PIL import Image
from pycocotools import mask as coco_mask
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.data.formats.coco_instances import read_instances
from pipelines.data.formats.instance_images import open_instance_images
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

OUTSIDE = 55  # a category of no vocabulary here
Json = dict[str, Any]


def _mask(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((4, 6), bool)
    mask[rows, columns] = True
    return mask


LEFT, CORNER, ALL, DOT = (
    _mask(slice(0, 4), slice(0, 3)),
    _mask(slice(0, 2), slice(2, 6)),
    _mask(slice(0, 4), slice(0, 6)),
    _mask(slice(3, 4), slice(5, 6)),
)


def _compressed(mask: NDArray[np.bool_]) -> Json:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def _runs(mask: NDArray[np.bool_]) -> Json:
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff(changes, prepend=0, append=mask.size).tolist()}


def _polygon(mask: NDArray[np.bool_]) -> list[list[int]]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return [[int(v) for v in (x, y, right, y, right, bottom, x, bottom)]]


def _instance(category_id: int, segmentation: Any, *, iscrowd: int = 0, image_id: int = 1) -> Json:
    return {"image_id": image_id, "category_id": category_id, "segmentation": segmentation, "iscrowd": iscrowd,
            "area": 12.4, "bbox": [0, 0, 1, 1]}  # fmt: skip


def _content(*instances: Json) -> Json:
    numbered = [instance | {"id": 100 + n} for n, instance in enumerate(instances)]
    return {"images": [image_entry(1), image_entry(2)], "annotations": numbered, "categories": []}


def _open(root: Path, content: Json, vocabulary: Vocabulary = VOCABULARY) -> LabelledImages:
    (root / "images").mkdir(exist_ok=True)
    for image in content["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(root / "images" / Path(image["file_name"]).name)
    (root / "a.json").write_text(json.dumps(content))
    return open_instance_images(root / "a.json", root / "images", vocabulary)


@pytest.mark.parametrize("form", [_polygon, _runs, _compressed])
def test_small_instances_lie_in_front_and_background_is_not_ignored(
    form: Callable[[NDArray[np.bool_]], Any], tmp_path: Path
) -> None:
    content = _content(_instance(THING, form(CORNER)), _instance(OTHER_THING, form(LEFT)))
    data = _open(tmp_path, content)
    sample = data.sample(0)
    assert sample.segment_ids.tolist() == [1, 2]
    assert sample.labels.tolist() == [0, 1]
    assert torch.equal(sample.masks, torch.from_numpy(np.stack([CORNER, LEFT & ~CORNER])))
    assert not sample.ignore.any()
    assert not sample.masks.any(0).all()
    assert data.truth(0)[1] == data.truth_segments(0) == [
        TruthSegment(1, THING, 12), TruthSegment(2, OTHER_THING, 12),
    ]  # fmt: skip


def test_another_process_is_given_the_masks(tmp_path: Path) -> None:
    content = _content(_instance(THING, _runs(_mask(slice(1, 3), slice(0, 2)))))
    data = _open(tmp_path, content)
    given = pickle.loads(pickle.dumps(data))
    assert torch.equal(given.sample(0).masks, data.sample(0).masks)
    assert given.sample(0).masks.any()
    assert not len(given.sample(1).masks)


def test_crowd_lies_behind_everything_and_is_ignored(tmp_path: Path) -> None:
    data = _open(tmp_path, _content(_instance(THING, _runs(DOT), iscrowd=1), _instance(THING, _runs(LEFT))))
    sample = data.sample(0)
    assert sample.segment_ids.tolist() == [2]
    assert torch.equal(sample.ignore, torch.from_numpy(DOT))
    assert [segment.iscrowd for segment in data.truth(0)[1]] == [True, False]
    data = _open(tmp_path, _content(_instance(THING, _runs(LEFT)), _instance(THING, _runs(CORNER), iscrowd=1)))
    assert torch.equal(data.sample(0).masks[0], torch.from_numpy(LEFT))  # though the crowd is smaller


def test_a_hidden_instance_is_listed_but_no_segment_of_the_sample(tmp_path: Path) -> None:
    twice = _content(_instance(THING, _polygon(DOT)), _instance(OTHER_THING, _polygon(DOT)))
    data = _open(tmp_path, twice)
    assert data.sample(0).segment_ids.tolist() == [2]
    assert [segment.id for segment in data.truth(0)[1]] == [2]
    assert [segment.id for segment in data.truth_segments(0)] == [1, 2]


def test_other_categories_are_ignored_pixels_and_the_numbers_of_the_rest_stay(tmp_path: Path) -> None:
    content = _content(_instance(OUTSIDE, _polygon(CORNER)), _instance(UNSEEN, _polygon(LEFT)))
    data = _open(tmp_path, content)
    sample = data.sample(0)
    assert sample.segment_ids.tolist() == [2]
    assert sample.labels.tolist() == [3]
    assert torch.equal(sample.ignore, torch.from_numpy(CORNER))
    assert torch.equal(sample.masks[0], torch.from_numpy(LEFT & ~CORNER))
    assert data.truth(0)[0].max() == 2


def test_an_image_without_instances_is_background(tmp_path: Path) -> None:
    sample = _open(tmp_path, _content(_instance(THING, _polygon(ALL)))).sample(1)
    assert tuple(sample.masks.shape) == (0, 4, 6)
    assert not sample.ignore.any()


@pytest.mark.parametrize("category", [UNSEEN, OUTSIDE])
def test_a_training_list_holds_seen_instances_alone(category: int, tmp_path: Path) -> None:
    content = _content(_instance(THING, _polygon(ALL)), _instance(category, _polygon(DOT), iscrowd=1))
    with pytest.raises(ProtocolError, match=rf"Image 1 \(0001.jpg\) holds category {category}, which is no seen"):
        _open(tmp_path, content, VOCABULARY.seen)


# --- broken ---


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "runs",
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, 1e9]],
        [[1, 2, 3, 4, 5, None]],
        [1, 2, 3, 4, 5, 6],
        {"size": [6, 4], "counts": [24]},
        {"size": [4, 6], "counts": [23]},
        {"size": [4, 6], "counts": [30, -6]},
        {"size": [4, 6], "counts": "0"},
        {"size": [4, 6], "counts": "\u2028"},
        {"counts": [24]},
    ],
)
def test_a_damaged_mask_is_named_by_image_and_number(segmentation: Any, tmp_path: Path) -> None:
    content = _content(_instance(THING, _polygon(ALL)), _instance(THING, segmentation))
    data = _open(tmp_path, content)
    with pytest.raises(CorruptFileError, match="Image 1: the mask of its instance 2 ") as error:
        data.sample(0)
    assert error.value.file == tmp_path / "a.json"
    assert data.sample(1).image_id == 2  # the others stay readable


@pytest.mark.parametrize("segmentation", [[], [[1, 2, 3, 4]], [[1, 1], [2, 2, 3, 3]], {"size": [4, 6], "counts": [24]}])
def test_an_instance_without_a_pixel_is_no_segment(segmentation: Any, tmp_path: Path) -> None:
    content = _content(_instance(THING, _polygon(ALL)), _instance(THING, segmentation))
    sample = _open(tmp_path, content).sample(0)
    assert sample.segment_ids.tolist() == [1]


def _set(*path: str | int, to: Any) -> Callable[[Json], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "missing required field `images`"),
        (lambda c: c["annotations"][0].pop("segmentation"), "missing required field `segmentation`"),
        (_set("annotations", 0, "area", to=-1), "Expected `float` >= 0"),
        (_set("annotations", 0, "category_id", to="seven"), "Expected `int`"),
        (_set("annotations", 0, "image_id", to=9), "The image 9 is annotated but not listed"),
        (_set("images", 1, "id", to=1), "Image 1 stands more than once"),
        (_set("images", 1, "id", to=2**70), "Not"),
        (_set("images", 1, "file_name", to="../2.jpg"), "leads out of its folder"),
        (_set("images", 1, "height", to=0), "Expected `int` >= 1"),
        (lambda c: c["images"][1].update(height=60000, width=60000), "Image 2 is said to have 60000×60000 px"),
    ],
)
def test_a_broken_json_is_refused(change: Callable[[Json], None], message: str, tmp_path: Path) -> None:
    content = _content(_instance(THING, _polygon(ALL)))
    change(content)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match=message) as error:
        read_instances(path)
    assert error.value.file == path


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    data = _open(tmp_path, _content(_instance(THING, _polygon(ALL))))
    Image.new("RGB", (6, 5)).save(tmp_path / "images/0001.jpg")
    with pytest.raises(ConcatError, match="Image 1: the json says 6×4 px, but this file has 6×5"):
        data.sample(0)


# --- real instances ---


@pytest.mark.parametrize("part", ["train2017", "val2017"])
def test_real_instances_have_about_the_area_that_their_json_states(part: str) -> None:
    root = shared_data("coco_instances_tiny38")
    annotations = root / f"annotations/instances_{part}.json"
    content = json.loads(annotations.read_text())
    categories = [{"id": c["id"], "name": c["name"], "isthing": True} for c in content["categories"]]
    vocabulary = Vocabulary.model_validate({"name": "coco", "categories": categories})
    data = open_instance_images(annotations, root / "images" / part, vocabulary)
    far, instances = 0, 0
    for index, image_id in enumerate(data.image_ids):
        given = [a for a in content["annotations"] if a["image_id"] == image_id]
        sample = data.sample(index)
        crowd = any(a["iscrowd"] for a in given)
        assert bool(sample.ignore.any()) == crowd
        shown = dict(zip(sample.segment_ids.tolist(), sample.masks.flatten(1).sum(1).tolist(), strict=True))
        for number, annotation in enumerate(given, start=1):
            if not annotation["iscrowd"] and number in shown:
                instances += 1
                far += shown[number] > 1.15 * annotation["area"] + 20  # smaller where others lie in front
                front = annotation["area"] == min(a["area"] for a in given)
                far += front and shown[number] < 0.85 * annotation["area"] - 4
    assert instances > 50
    assert far <= 1


def test_the_split_of_65_categories_ignores_the_pixels_of_the_other_15() -> None:
    root, vocabulary = shared_data("coco_instances_tiny38"), load_vocabulary("coco_instances_48_17")
    annotations = root / "annotations/instances_train2017.json"
    data = open_instance_images(annotations, root / "images/train2017", vocabulary)
    outside = {a["image_id"] for a in json.loads(annotations.read_text())["annotations"]
               if a["category_id"] not in vocabulary.ids}  # fmt: skip
    ignored = {data.image_ids[i] for i in range(len(data)) if data.sample(i).ignore.any()}
    assert outside
    assert outside <= ignored

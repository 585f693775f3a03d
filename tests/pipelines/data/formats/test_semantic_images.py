"""Samples from label maps: categories as segments, what is not listed as void, real maps, and broken ones."""

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from label_map_world import LabelMapWorld, write_label_maps
from numpy.typing import NDArray
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.data.formats.label_map import write_label_map
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.semantic_images import open_semantic_images
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

VALUES = np.array([[STUFF, STUFF, 255, UNSEEN], [THING, THING, 0, UNSEEN]])
SEEN = {STUFF: 2, THING: 2}


def _list(path: Path, images: Mapping[str, tuple[tuple[int, int], Mapping[int, int]]], label: str = ".png") -> Path:
    """A list of images (name → size, and area by category) as `concat split-data` writes it."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for number, (name, ((height, width), areas)) in enumerate(images.items(), start=1):
        content["images"].append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        segments = [{"id": c + 1, "category_id": c, "area": area, "iscrowd": 0} for c, area in areas.items()]
        content["annotations"].append({"image_id": number, "file_name": f"{name}{label}", "segments_info": segments})
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def world(tmp_path: Path) -> LabelMapWorld:
    return write_label_maps(tmp_path, {"one": VALUES})


def _open(world: LabelMapWorld, areas: Mapping[int, int], vocabulary: Vocabulary = VOCABULARY.seen) -> LabelledImages:
    listing = _list(world.root / "train.json", {"one": ((2, 4), areas)})
    return open_semantic_images(listing, world.root / "images", world.root / "labels", vocabulary)


def test_listed_categories_are_segments_and_all_other_pixels_are_ignored(world: LabelMapWorld) -> None:
    data = _open(world, SEEN)
    sample = data.sample(0)
    assert sample.labels.tolist() == [2, 0]  # indices of sky and cat
    assert sample.segment_ids.tolist() == [STUFF + 1, THING + 1]
    assert torch.equal(sample.masks, torch.from_numpy(np.stack([VALUES == STUFF, VALUES == THING])))
    assert torch.equal(sample.ignore, ~sample.masks.any(0))
    ids, segments = data.truth(0)
    assert ids.tolist() == [[91, 91, 0, 0], [8, 8, 0, 0]]
    assert segments == [TruthSegment(91, STUFF, 2), TruthSegment(8, THING, 2)]


def test_another_process_is_given_the_label_maps(world: LabelMapWorld) -> None:
    data = _open(world, SEEN)
    given = pickle.loads(pickle.dumps(data))
    assert torch.equal(given.sample(0).masks, data.sample(0).masks)


def test_a_category_of_value_0_is_a_category(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"one": np.array([[0, 0, 255, 3]] * 2)})
    vocabulary = Vocabulary.model_validate({"name": "v", "categories": [{"id": 0, "name": "person", "isthing": True}]})
    sample = _open(world, {0: 4}, vocabulary).sample(0)
    assert sample.segment_ids.tolist() == [1]
    assert sample.masks.int().sum() == 4
    assert sample.ignore.int().sum() == 4


def test_an_unseen_category_in_a_training_list_is_refused(world: LabelMapWorld) -> None:
    with pytest.raises(ProtocolError, match=r"Image 1 \(one.jpg\) holds category 21, which is no seen category"):
        _open(world, {**SEEN, UNSEEN: 2})
    assert len(_open(world, {**SEEN, UNSEEN: 2}, VOCABULARY).sample(0).labels) == 3


def _values(values: NDArray[np.integer]) -> Callable[[LabelMapWorld], None]:
    return lambda world: write_label_map(world.root / "labels/one.png", values)


@pytest.mark.parametrize(
    ("damage", "message", "file"),
    [
        (lambda w: (w.root / "labels/one.png").unlink(), "Label map not found", "labels/one.png"),
        (lambda w: (w.root / "images/one.jpg").unlink(), "Image not found", "images/one.jpg"),
        (lambda w: (w.root / "labels/one.png").write_bytes(b"?"), "Label map not readable", "labels/one.png"),
        (
            lambda w: Image.new("RGB", (4, 2), "red").save(w.root / "labels/one.png"),
            "Not a label map",
            "labels/one.png",
        ),
        (_values(VALUES[:1]), "Image 1: the json says 4×2 px, but this file has 4×1", "labels/one.png"),
        (_values(np.where(VALUES == STUFF, 0, VALUES)), "Image 1 has category 90 in its list", "labels/one.png"),
    ],
)
def test_a_broken_file_is_named(
    damage: Callable[[LabelMapWorld], None], message: str, file: str, world: LabelMapWorld
) -> None:
    data = _open(world, SEEN)
    damage(world)
    with pytest.raises(ConcatError, match=message) as error:
        data.sample(0)
    assert error.value.file == world.root / file


def test_a_list_of_panoptic_segments_is_none_of_label_maps(world: LabelMapWorld) -> None:
    listing = _list(world.root / "train.json", {"one": ((2, 4), SEEN)})
    listing.write_text(listing.read_text().replace('"id": 8', '"id": 9'))
    with pytest.raises(CorruptFileError, match="lists category 7 as segment 9"):
        open_semantic_images(listing, world.root / "images", world.root / "labels", VOCABULARY)


def test_a_category_listed_twice_is_refused(world: LabelMapWorld) -> None:
    listing = _list(world.root / "train.json", {"one": ((2, 4), SEEN)})
    listing.write_text(listing.read_text().replace(f'"id": {STUFF + 1}', '"id": 8').replace(str(STUFF), str(THING)))
    data = open_semantic_images(listing, world.root / "images", world.root / "labels", VOCABULARY)
    with pytest.raises(CorruptFileError, match="Image 1 lists segment 8 twice"):
        data.sample(0)


# --- real label maps ---


@pytest.mark.parametrize(
    ("sample", "labels", "images", "vocabulary"),
    [
        ("voc_sample3", "SegmentationClass", "JPEGImages", "voc20"),
        ("ade20k_sample3", "annotations", "images", "ade150"),
    ],
)
def test_published_label_maps_read_with_the_areas_that_pil_counts(
    sample: str, labels: str, images: str, vocabulary: str, tmp_path: Path
) -> None:
    root, chosen = shared_data(sample), load_vocabulary(vocabulary)
    entries, areas_of = {}, []
    for path in sorted((root / labels).glob("*.png")):
        values, counts = np.unique(np.asarray(Image.open(path)), return_counts=True)
        areas = {v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v in chosen.ids}
        entries[path.stem] = (Image.open(path).size[::-1], areas)
        areas_of.append(areas)
    data = open_semantic_images(_list(tmp_path / "a.json", entries), root / images, root / labels, chosen)
    assert len(data) == 3
    for index, areas in enumerate(areas_of):
        found = data.sample(index)
        assert found.masks.flatten(1).sum(1).tolist() == list(areas.values())
        assert [chosen.ids[label] for label in found.labels] == list(areas)
        assert int(found.ignore.sum()) == found.ignore.numel() - sum(areas.values())


def test_semantic_samples_agree_with_the_panoptic_ones_of_the_same_images(tmp_path: Path) -> None:
    root, vocabulary = shared_data("coco_panoptic_100train"), load_vocabulary("coco_panoptic")
    annotations = root / "annotations/panoptic_train2017.json"
    panoptic = open_panoptic_images(annotations, root / "train2017", annotations.with_suffix(""), vocabulary)
    entries = {}
    for index, entry in enumerate(panoptic.image_entries()):
        areas: dict[int, int] = {}
        for segment in panoptic.truth_segments(index):
            areas[segment.category_id] = areas.get(segment.category_id, 0) + segment.area
        entries[Path(entry["file_name"]).stem] = ((entry["height"], entry["width"]), areas)
    listing = _list(tmp_path / "a.json", entries)
    semantic = open_semantic_images(listing, root / "train2017", root / "semantic_derived", vocabulary)
    for index in range(len(semantic)):
        ids, segments = panoptic.truth(index)
        wanted = np.zeros_like(ids)
        for segment in segments:
            wanted[ids == segment.id] = segment.category_id + 1
        assert np.array_equal(semantic.truth(index)[0], wanted)


def test_things_and_other_things_are_one_segment_each(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"one": np.array([[THING, OTHER_THING, THING, OTHER_THING]] * 2)})
    assert len(_open(world, {THING: 4, OTHER_THING: 4}).sample(0).masks) == 2

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from pipelines.base.errors import ConcatError
from pipelines.data.files.archives import read_bytes
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.data.formats.label_map import decode_label_map
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.draw.overlay import UNSEEN_COLOUR
from pipelines.predict.prediction_files import PredictionFiles
from pipelines.predict.predictions import (
    Instance,
    InstanceResult,
    PanopticResult,
    Row,
    Segment,
    SemanticResult,
    boxes_of,
)
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary

COW = Category(id=7, name="cow", color=(200, 40, 40))
SKY = Category(id=0, name="sky", isthing=False, color=(40, 40, 200), unseen=True)
NAMES = Vocabulary(name="two", categories=(SKY, COW))
PIXELS = np.full((6, 8, 3), 120, np.uint8)
IDS = np.zeros((6, 8), np.int32)
IDS[:3], IDS[4:, 1:5] = 1, 2

PANOPTIC = PanopticResult(
    PIXELS, NAMES, IDS, (Segment(1, SKY, 0.9, 24, (0, 0, 8, 3)), Segment(2, COW, 0.123456789, 8, (1, 4, 4, 2)))
)
LABELS = np.where(IDS == 2, 7, 0).astype(np.int32)
SEMANTIC = SemanticResult(
    PIXELS, NAMES, LABELS, (Segment(0, SKY, None, 40, (0, 0, 8, 6)), Segment(7, COW, None, 8, (1, 4, 4, 2)))
)


def _instance(rows: slice, columns: slice, score: float) -> Instance:
    mask = np.zeros((6, 8), np.uint8)
    mask[rows, columns] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    box = boxes_of(mask.astype(np.int32))[1]
    return Instance(COW, score, {"size": [6, 8], "counts": rle["counts"].decode()}, int(mask.sum()), box)


INSTANCES = InstanceResult(
    PIXELS,
    NAMES.things,
    (
        _instance(slice(0, 4), slice(0, 4), 0.9),
        _instance(slice(2, 6), slice(2, 6), 0.5),
        _instance(slice(0, 6), slice(6, 8), 0.1),
    ),
)


def test_boxes_are_x_y_width_height() -> None:
    assert boxes_of(IDS) == {1: (0, 0, 8, 3), 2: (1, 4, 4, 2)}
    assert boxes_of(np.array([[0, 5]], np.int32)) == {5: (1, 0, 1, 1)}


def test_tables_say_what_was_found() -> None:
    assert PANOPTIC.table() == [
        Row(1, "sky", "stuff", True, 0.9, 24, 50.0, 0, 0, 8, 3),
        Row(2, "cow", "thing", False, 0.1235, 8, 16.67, 1, 4, 4, 2),
    ]
    assert [(row.id, row.score, row.area) for row in SEMANTIC.table()] == [(0, None, 40), (7, None, 8)]
    assert [(row.id, row.score) for row in INSTANCES.table()] == [(1, 0.9), (2, 0.5)]  # not the guess


def test_overlays_show_segments_and_mark_unseen_ones() -> None:
    for prediction in (PANOPTIC, SEMANTIC):
        drawn = np.asarray(prediction.overlay(side=400))
        assert drawn.shape == (300, 400, 3)
        assert (drawn == UNSEEN_COLOUR).all(axis=-1).any()
        assert drawn[299, 102, 0] > drawn[299, 102, 2]  # the cow is reddish
    void = np.asarray(PANOPTIC.overlay(side=400))[175, 200].astype(int)
    assert void.max() - void.min() == 0
    sky = np.asarray(SEMANTIC.overlay(side=400))[175, 380].astype(int)
    assert sky[2] > sky[0]


def test_the_best_instance_is_in_front() -> None:
    bird = Category(id=9, name="bird", color=(40, 40, 200))
    cow, behind, guess = INSTANCES.instances
    shown = InstanceResult(PIXELS, NAMES.things, (cow, replace(behind, category=bird), guess))
    drawn = np.asarray(shown.overlay(side=400)).astype(int)
    both, second = drawn[110:190, 110:190], drawn[210:290, 210:290]
    assert both[..., 0].mean() > both[..., 2].mean()
    assert second[..., 0].mean() < second[..., 2].mean()
    assert np.ptp(drawn[150, 350]) == 0  # the guess is not drawn


@pytest.mark.parametrize(("size", "side"), [((6, 8), 432), ((1500, 20), 1024), ((600, 500), 600)])
def test_an_overlay_is_of_a_readable_size(size: tuple[int, int], side: int) -> None:
    blank = PanopticResult(np.zeros((*size, 3), np.uint8), NAMES, np.zeros(size, np.int32), ())
    assert max(blank.overlay().size) == side


def test_panoptic_files_are_in_cocos_format(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path)
    assert files.add("a/one.jpg", PANOPTIC) == "a/one"
    assert files.add("two.png", PanopticResult(PIXELS, NAMES, np.zeros((6, 8), np.int32), ())) == "two"
    files.finish()
    listed = read_panoptic(tmp_path / "panoptic.json")
    assert [image.file_name for image in listed.images] == ["a/one.jpg", "two.png"]
    (image, annotation), (_, nothing) = listed.pairs()
    assert (image.height, image.width) == (6, 8)
    assert [(s.id, s.category_id, s.area, s.bbox) for s in annotation.segments_info] == [
        (1, 0, 24, (0, 0, 8, 3)),
        (2, 7, 8, (1, 4, 4, 2)),
    ]
    assert nothing.segments_info == []
    assert np.array_equal(read_panoptic_png(tmp_path / "panoptic" / annotation.file_name), IDS)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert [c["id"] for c in content["categories"]] == [0, 7]
    assert content["annotations"][0]["segments_info"][1]["score"] == 0.123457


def test_semantic_files_are_label_maps_and_the_vocabulary_of_their_values(tmp_path: Path) -> None:
    SEMANTIC.save(tmp_path, "one")
    path = tmp_path / "semantic/one.png"
    assert np.array_equal(decode_label_map(read_bytes(path), path), LABELS)
    assert load_vocabulary(str(tmp_path / "semantic.json")) == NAMES


def test_instance_files_are_cocos_results(tmp_path: Path) -> None:
    INSTANCES.save(tmp_path, "one")
    results = json.loads((tmp_path / "instances.json").read_text())
    images = json.loads((tmp_path / "images.json").read_text())
    assert images["images"] == [{"id": 1, "file_name": "one.png", "height": 6, "width": 8}]
    assert [(r["image_id"], r["category_id"], r["score"]) for r in results] == [(1, 7, 0.9), (1, 7, 0.5), (1, 7, 0.1)]
    assert results[1]["bbox"] == [2, 2, 4, 4]
    assert np.array_equal(coco_mask.decode(results[1]["segmentation"]), INSTANCES.instances[1].mask())


def test_tables_and_overlays_lie_beside_them_and_nothing_half_written(tmp_path: Path) -> None:
    PANOPTIC.save(str(tmp_path), "my.photo")
    with open(tmp_path / "tables/my.photo.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["unseen"], row["score"]) for row in rows] == [("sky", "1", "0.9"), ("cow", "0", "0.1235")]
    with Image.open(tmp_path / "overlays/my.photo.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(PANOPTIC.overlay()))
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [
        "overlays/my.photo.png",
        "panoptic.json",
        "panoptic/my.photo.png",
        "tables/my.photo.csv",
    ]


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path)
    names = [files.add(name, PANOPTIC) for name in ("x.jpg", "x.png", "x-2.jpg", "sub/x.jpg", "x.bmp")]
    assert names == ["x", "x-2", "x-2-2", "sub/x", "x-3"]
    files.finish()
    listed = json.loads((tmp_path / "panoptic.json").read_text())
    assert [a["file_name"] for a in listed["annotations"]] == [f"{name}.png" for name in names]


def test_nothing_is_written_for_no_image(tmp_path: Path) -> None:
    PredictionFiles(tmp_path / "out").finish()
    assert not (tmp_path / "out").exists()


def test_ids_that_no_label_map_can_hold_are_refused(tmp_path: Path) -> None:
    names = Vocabulary(name="v", categories=(SKY, Category(id=70000, name="far")))
    with pytest.raises(ConcatError, match="70000 does not fit"):
        PredictionFiles(tmp_path).add("x.png", SemanticResult(PIXELS, names, LABELS, ()))
    assert not list(tmp_path.iterdir())

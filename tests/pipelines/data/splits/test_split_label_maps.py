"""The lists of label maps: real samples, both protocols against a slow version, ids of images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_map_world import LabelMapWorld, write_image, write_label_maps
from numpy.typing import NDArray
from panoptic_world import STUFF, THING, UNSEEN, VOCABULARY
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.base.progress import SilentReporter
from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.data.formats.label_map_pairs import pair_label_maps
from pipelines.data.splits.label_map_counts import LabelMapTotals, read_label_maps
from pipelines.data.splits.split import split_panoptic
from pipelines.data.splits.split_label_maps import image_ids, list_label_maps, split_label_maps
from pipelines.data.splits.split_result import CategoryTotals, DroppedImage, Protocol
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

VOID = 255
COCO = load_vocabulary("coco_panoptic")


def _read(images: Files, labels: Files, vocabulary: Vocabulary, workers: int = 1) -> LabelMapTotals:
    return read_label_maps(
        labels,
        images,
        pair_label_maps(images, labels),
        vocabulary=vocabulary,
        ignored=(0, VOID),
        workers=workers,
        progress=SilentReporter(),
    )


def _read_world(world: LabelMapWorld) -> LabelMapTotals:
    return _read(world.images, world.labels, VOCABULARY)


@pytest.fixture(scope="module")
def coco() -> LabelMapTotals:
    root = shared_data("coco_panoptic_100train")
    return _read(open_files(root / "train2017"), open_files(root / "semantic_derived"), COCO, workers=2)


@pytest.mark.parametrize("protocol", ["zps", "zss"])
def test_real_label_maps_are_split_as_their_panoptic_json_is(
    protocol: Protocol, coco: LabelMapTotals, tmp_path: Path
) -> None:
    source = shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json"
    theirs = split_panoptic(source, tmp_path / "panoptic.json", vocabulary=COCO, protocol=protocol)
    ours = split_label_maps(coco, tmp_path / "maps.json", vocabulary=COCO, protocol=protocol)
    assert ours.dropped == theirs.dropped
    assert len(ours.dropped) == (69 if protocol == "zps" else 0)
    kept, expected = (read_panoptic(tmp_path / name).pairs() for name in ("maps.json", "panoptic.json"))
    assert {image.id for image, _ in kept} >= {image.id for image, _ in expected}  # a map knows no crowds
    entry_of = {image.id: (image, annotation) for image, annotation in kept}
    for image, annotation in expected:
        our_image, ours_of_image = entry_of[image.id]
        assert our_image == image
        area_of: dict[int, int] = {}
        for segment in annotation.segments_info:
            area_of[segment.category_id] = area_of.get(segment.category_id, 0) + segment.area
        assert {s.category_id: s.area for s in ours_of_image.segments_info} == area_of
        assert ours_of_image.file_name == annotation.file_name
    assert ours.kept + len(ours.dropped) + ours.empty == 100


def test_all_real_images_and_categories_stand_in_the_list_for_validation(coco: LabelMapTotals, tmp_path: Path) -> None:
    totals = list_label_maps(coco, tmp_path / "val.json", vocabulary=COCO)
    written = json.loads((tmp_path / "val.json").read_text())
    assert [c["id"] for c in written["categories"]] == COCO.ids
    assert len(written["images"]) == len(written["annotations"]) == 100
    assert sum(total.images for total in totals.values()) == sum(
        len(a["segments_info"]) for a in written["annotations"]
    )


def test_voc_maps_with_palette_and_border_get_running_numbers(tmp_path: Path) -> None:
    root, voc = shared_data("voc_sample3"), load_vocabulary("voc20")
    totals = _read(open_files(root / "JPEGImages"), open_files(root / "SegmentationClass"), voc)
    list_label_maps(totals, tmp_path / "val.json", vocabulary=voc)
    written = json.loads((tmp_path / "val.json").read_text())
    assert [(i["id"], i["file_name"]) for i in written["images"]] == [
        (1, "2007_000032.jpg"),
        (2, "2007_000033.jpg"),
        (3, "2007_000129.jpg"),
    ]
    with Image.open(root / "SegmentationClass/2007_000032.png") as image:
        values = np.array(image)
    assert written["annotations"][0] == {
        "image_id": 1,
        "file_name": "2007_000032.png",
        "segments_info": [
            {"id": 2, "category_id": 1, "area": int((values == 1).sum()), "iscrowd": 0},
            {"id": 16, "category_id": 15, "area": int((values == 15).sum()), "iscrowd": 0},
        ],
    }


def test_the_protocols_differ_in_what_becomes_of_images_with_unseen_pixels(tmp_path: Path) -> None:
    world = write_label_maps(
        tmp_path,
        {
            "3": np.array([[STUFF, STUFF, UNSEEN]]),
            "10": np.array([[THING], [VOID]]),
            "4": np.array([[UNSEEN, 0]]),
            "5": np.array([[VOID, 0]]),
            "6": np.array([[THING, STUFF]]),
        },
    )
    write_image(tmp_path / "images/77.jpg", 2, 2)
    (tmp_path / "images/6.jpg").unlink()
    totals = _read_world(world)
    zps = split_label_maps(totals, tmp_path / "zps.json", vocabulary=VOCABULARY)
    zss = split_label_maps(totals, tmp_path / "zss.json", vocabulary=VOCABULARY, protocol="zss")
    assert zps.dropped == [DroppedImage(3, "3.jpg", (UNSEEN,)), DroppedImage(4, "4.jpg", (UNSEEN,))]
    assert (zps.kept, zps.empty, zps.ignored, zps.unannotated, zps.orphaned) == (1, 1, 0, 1, 1)
    assert (zss.kept, zss.empty, zss.ignored, zss.dropped) == (2, 2, 1, [])
    assert zss.before[STUFF] == zss.after[STUFF] == CategoryTotals(images=1, segments=1, pixels=2)
    assert (zps.after[STUFF], zss.after[UNSEEN]) == (CategoryTotals(), CategoryTotals())
    assert zss.before[UNSEEN] == CategoryTotals(images=2, segments=2, pixels=2)
    assert [image.id for image in read_panoptic(tmp_path / "zps.json").images] == [10]
    kept = read_panoptic(tmp_path / "zss.json").pairs()
    assert [(i.id, [(s.id, s.category_id, s.area) for s in a.segments_info]) for i, a in kept] == [
        (10, [(THING + 1, THING, 1)]),
        (3, [(STUFF + 1, STUFF, 2)]),
    ]
    assert [c["id"] for c in json.loads((tmp_path / "zss.json").read_text())["categories"]] == VOCABULARY.seen.ids


def test_no_training_image_left_is_one_message_and_leaves_no_file(tmp_path: Path) -> None:
    totals = _read_world(write_label_maps(tmp_path, {"a": np.array([[UNSEEN]])}))
    with pytest.raises(ConcatError, match="No training image is left: 1 of 1 annotated images hold unseen") as error:
        split_label_maps(totals, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert error.value.file == tmp_path / "labels"
    assert not (tmp_path / "train.json").exists()


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000000000009.jpg", "sub/000000000025.png"], [9, 25]),
        (["7.jpg", "07.jpg"], [1, 2]),  # not distinct
        (["2147483647.jpg", "0.jpg"], [2147483647, 0]),
        (["2147483648.jpg", "5.jpg"], [1, 2]),
        (["2007_000032.jpg"], [1]),  # int() would take this
        (["-3.jpg", "+4.jpg", "٣.jpg", " 5.jpg"], [1, 2, 3, 4]),
        (["ADE_val_00000001.jpg", "5.jpg"], [1, 2]),
        ([f"{'9' * 5000}.jpg"], [1]),
        ([], []),
    ],
)
def test_images_are_numbered_by_their_names_or_in_order(names: list[str], ids: list[int]) -> None:
    assert image_ids(names) == ids


_MAPS = st.lists(
    hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=3),
        elements=st.sampled_from([0, VOID, *VOCABULARY.ids]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(maps=_MAPS, protocol=st.sampled_from(["zps", "zss"]))
def test_any_maps_are_split_as_a_slow_version_does(
    maps: list[NDArray[np.int64]], protocol: Protocol, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("maps")
    totals = _read_world(write_label_maps(root, {f"{n}": values for n, values in enumerate(maps)}))
    expected = _slowly_listed(maps, protocol)
    if not expected:
        with pytest.raises(ConcatError, match="No training image is left"):
            split_label_maps(totals, root / "train.json", vocabulary=VOCABULARY, protocol=protocol)
        return
    result = split_label_maps(totals, root / "train.json", vocabulary=VOCABULARY, protocol=protocol)
    written = json.loads((root / "train.json").read_text())
    assert written["annotations"] == expected
    assert [image["id"] for image in written["images"]] == [a["image_id"] for a in expected]
    for image in written["images"]:
        assert (image["height"], image["width"]) == maps[image["id"]].shape
    for category_id, after in result.after.items():
        held = [s for a in expected for s in a["segments_info"] if s["category_id"] == category_id]
        assert after == CategoryTotals(images=len(held), segments=len(held), pixels=sum(s["area"] for s in held))
    with_unseen = [n for n, values in enumerate(maps) if (values == UNSEEN).any()]
    assert [d.image_id for d in result.dropped] == (with_unseen if protocol == "zps" else [])
    assert result.ignored == sum(a["image_id"] in with_unseen for a in expected)
    assert result.kept + len(result.dropped) + result.empty == len(maps)


def _slowly_listed(maps: list[NDArray[np.int64]], protocol: Protocol) -> list[dict[str, Any]]:
    listed = []
    for number, values in enumerate(maps):
        if protocol == "zps" and (values == UNSEEN).any():
            continue
        segments = [
            {"id": i + 1, "category_id": i, "area": int((values == i).sum()), "iscrowd": 0}
            for i in sorted(VOCABULARY.seen.ids)
            if (values == i).any()
        ]
        if segments:
            listed.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    return listed

"""The json of COCO's panoptic format: a round trip, and a table of broken files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from panoptic_world import THING, VOCABULARY, annotation_entry, image_entry, segment, write_panoptic_json
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.formats.coco_panoptic import (
    Annotation,
    ImageInfo,
    SegmentInfo,
    category_entries,
    read_panoptic,
    write_panoptic,
)


def _content() -> dict[str, Any]:
    return {
        "images": [image_entry(5), image_entry(2)],
        "annotations": [annotation_entry(2, [segment(1, THING)]), annotation_entry(5, [segment(9, THING, iscrowd=1)])],
    }


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_pairs_follow_the_images_whatever_the_order_of_the_annotations(tmp_path: Path) -> None:
    pairs = read_panoptic(_write(tmp_path / "a.json", _content())).pairs()
    assert [(image.id, annotation.image_id) for image, annotation in pairs] == [(5, 5), (2, 2)]
    assert pairs[0][1].segments_info == [SegmentInfo(9, THING, 1, 1, (0, 0, 1, 1))]


def test_what_is_written_reads_back_and_has_the_official_fields(tmp_path: Path) -> None:
    images = [ImageInfo(5, "5.jpg", 4, 6)]
    annotations = [Annotation(5, "5.png", [SegmentInfo(1, THING, 7, 0, (1.0, 2.0, 3.0, 4.0)), SegmentInfo(2, THING)])]
    path = tmp_path / "new" / "a.json"
    write_panoptic(path, images=images, annotations=annotations, vocabulary=VOCABULARY, info={"year": 2025})
    back = read_panoptic(path)
    assert (back.images, back.annotations) == (images, annotations)
    content = json.loads(path.read_text())
    assert content["info"] == {"year": 2025}
    assert content["categories"][0] == {
        "id": THING, "name": "cat", "isthing": 1, "supercategory": "thing", "color": [1, 2, 3],
    }  # fmt: skip
    assert content["annotations"][0]["segments_info"][1] == {"id": 2, "category_id": THING, "iscrowd": 0}


def test_category_entries_tell_things_from_stuff() -> None:
    assert [entry["isthing"] for entry in category_entries(VOCABULARY)] == [1, 1, 0, 1]


def test_the_official_sample_reads() -> None:
    content = read_panoptic(shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json")
    assert len(content.pairs()) == 100
    assert sum(s.iscrowd for a in content.annotations for s in a.segments_info) == 6


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="not found") as error:
        read_panoptic(tmp_path / "none.json")
    assert error.value.file == tmp_path / "none.json"


def _without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def _with(value: Any, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("images"), "missing required field `images`"),
        (_without("annotations"), "missing required field `annotations`"),
        (_without("images", 0, "height"), "missing required field `height`"),
        (_without("annotations", 0, "segments_info"), "missing required field `segments_info`"),
        (_without("annotations", 0, "segments_info", 0, "category_id"), "missing required field `category_id`"),
        (_with("5a", "images", 0, "id"), "Expected `int`"),
        (_with(0, "images", 0, "width"), "Expected `int` >= 1"),
        (_with(-1, "annotations", 0, "segments_info", 0, "id"), "Expected `int` >= 0"),
        (_with(2**24, "annotations", 0, "segments_info", 0, "id"), "Expected `int` <= 16777215"),
        (_with(-1, "annotations", 0, "segments_info", 0, "area"), "Expected `int` >= 0"),
        (_with(2, "images", 0, "id"), "Image 2 stands more than once"),
        (_with(2, "annotations", 1, "image_id"), "Image 2 is annotated twice"),
        (_with(77, "annotations", 1, "image_id"), "image 77 is annotated but not listed"),
        (_without("images", 0), "image 5 is annotated but not listed"),
        (_without("annotations", 0), "Image 2 has no annotation"),
        (_with("../../etc/passwd", "images", 0, "file_name"), "leads out of its folder"),
        (_with("/etc/passwd", "annotations", 0, "file_name"), "leads out of its folder"),
        (_with("a/../../b.png", "annotations", 0, "file_name"), "leads out of its folder"),
        (_with("..\\b.png", "annotations", 0, "file_name"), "leads out of its folder"),
        (_with("C:\\b.png", "annotations", 0, "file_name"), "leads out of its folder"),
        (_with("", "images", 0, "file_name"), "leads out of its folder"),
    ],
)
def test_a_broken_json_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    content = _content()
    change(content)
    path = _write(tmp_path / "broken.json", content)
    with pytest.raises(CorruptFileError, match=message) as error:
        read_panoptic(path)
    assert error.value.file == path


DAMAGES = [lambda whole: whole[:-20], lambda _: b"", lambda _: b"\xff\xfe{", lambda _: b'{"images": [']


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_json_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptFileError, match="Not valid JSON"):
        read_panoptic(path)


def test_a_json_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="Not a COCO-panoptic json"):
        read_panoptic(_write(tmp_path / "list.json", [1, 2]))


def test_a_name_in_a_subfolder_is_allowed(tmp_path: Path) -> None:
    content = _content()
    content["images"][0]["file_name"] = "part/..a.jpg"
    assert read_panoptic(_write(tmp_path / "a.json", content)).images[0].file_name == "part/..a.jpg"

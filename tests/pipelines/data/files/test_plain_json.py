"""Jsons as people's tools spell them: what can be read in one way only is read alike, what is ambiguous is refused."""

import json
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.decode_json import decode_value
from pipelines.data.files.plain_json import plain_json
from pipelines.data.formats.coco_panoptic import PanopticJson, read_panoptic

PLAIN = {
    "images": [{"id": 7, "file_name": "7.jpg", "height": 60, "width": 80}],
    "annotations": [
        {
            "image_id": 7,
            "file_name": "7.png",
            "segments_info": [
                {"id": 1001, "category_id": 1, "area": 300, "iscrowd": 0, "bbox": [1, 2, 3, 4]},
                {"id": 255, "category_id": 3, "area": 400, "iscrowd": 1},
            ],
        }
    ],
}
SWITCHES = {"iscrowd"}


@st.composite
def _spelt(draw: st.DrawFn, value: Any, key: str = "") -> Any:
    """The same value as some tool may write it."""
    if isinstance(value, dict):
        written = {name: draw(_spelt(inner, name)) for name, inner in value.items()}
        if draw(st.booleans()):
            written["bbox" if "bbox" not in value and "area" in value else "licence"] = None
        if draw(st.booleans()):
            written["of_some_tool"] = draw(st.sampled_from([{"id": "x"}, "words", [None], 1.5]))
        return written
    if isinstance(value, list):
        return [draw(_spelt(inner)) for inner in value]
    if not isinstance(value, int) or not key:
        return value
    spellings = [value, float(value), str(value), f" {value}", f"{value}.0"]
    return draw(st.sampled_from([*spellings, *([bool(value)] if key in SWITCHES else [])]))


@given(_spelt(PLAIN))
def test_every_spelling_is_read_alike(written: Any) -> None:
    assert decode_value(json.dumps(written).encode(), PanopticJson) == decode_value(
        json.dumps(PLAIN).encode(), PanopticJson
    )


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=8))
def test_what_is_plain_stays_as_it_is(value: Any) -> None:
    assert msgspec.json.decode(plain_json(msgspec.json.encode(value))) == value


def test_a_byte_order_mark_is_no_part_of_a_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(BOM_UTF8 + json.dumps(PLAIN).encode())
    assert read_panoptic(path) == decode_value(json.dumps(PLAIN).encode(), PanopticJson)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("annotations", 0, "segments_info", 0, "area"), 12.5),
        (("annotations", 0, "segments_info", 0, "area"), "12.5"),
        (("annotations", 0, "segments_info", 0, "area"), True),
        (("annotations", 0, "segments_info", 0, "id"), "3e2"),
        (("annotations", 0, "segments_info", 0, "id"), "abc"),
        (("annotations", 0, "segments_info", 0, "category_id"), ""),
        (("annotations", 0, "segments_info", 0, "iscrowd"), "no"),
        (("annotations", 0, "segments_info", 0, "iscrowd"), "٣"),
        (("annotations", 0, "segments_info", 0, "area"), "9" * 5000),
        (("images", 0, "id"), 1e300),
        (("images", 0, "height"), "60 px"),
        (("images", 0, "width"), [80]),
    ],
)
def test_what_is_ambiguous_is_refused_with_place_and_mend(tmp_path: Path, place: tuple, value: Any) -> None:
    content = json.loads(json.dumps(PLAIN))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match="Expected `int`") as caught:
        read_panoptic(path)
    assert caught.value.file == path
    assert place[-1] in caught.value.message
    assert "whole number" in str(caught.value.mend)


def test_a_number_out_of_range_is_not_told_to_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(PLAIN).replace('"iscrowd": 1', '"iscrowd": 2'))
    with pytest.raises(CorruptFileError, match="Expected `int` <= 1") as caught:
        read_panoptic(path)
    assert "whole number" not in str(caught.value.mend)

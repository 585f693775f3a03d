"""The split: real samples, planted leaks, a slow obvious version on random input, and broken json."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panoptic_world import (
    OTHER_THING,
    STUFF,
    THING,
    UNSEEN,
    VOCABULARY,
    annotation_entry,
    image_entry,
    segment,
    write_panoptic_json,
)
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.data.splits.split import split_panoptic
from pipelines.data.splits.split_result import CategoryTotals, DroppedImage, Protocol
from pipelines.vocabularies.vocabulary import load_vocabulary

COCO = load_vocabulary("coco_panoptic")


def test_the_real_sample_keeps_exactly_the_images_without_unseen_pixels(tmp_path: Path) -> None:
    source = shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json"
    result = split_panoptic(source, tmp_path / "train.json", vocabulary=COCO)
    given, kept = json.loads(source.read_text()), json.loads((tmp_path / "train.json").read_text())
    unseen = {category.id for category in COCO.categories if category.unseen}
    expected = {}
    for annotation in given["annotations"]:
        held = {s["category_id"] for s in annotation["segments_info"]} & unseen
        expected[annotation["image_id"]] = tuple(sorted(held))
    assert (result.kept, len(result.dropped), result.unannotated) == (31, 69, 0)
    assert [a["image_id"] for a in kept["annotations"]] == [i for i, held in expected.items() if not held]
    assert {d.image_id: d.category_ids for d in result.dropped} == {i: held for i, held in expected.items() if held}
    assert all(d.file_name == f"{d.image_id:012d}.jpg" for d in result.dropped)
    assert [a for a in given["annotations"] if not expected[a["image_id"]]] == kept["annotations"]
    assert [i for i in given["images"] if not expected[i["id"]]] == kept["images"]
    assert (kept["info"], kept["licenses"]) == (given["info"], given["licenses"])
    assert not {c["name"] for c in kept["categories"]} & set(COCO.unseen.names)
    assert len(read_panoptic(tmp_path / "train.json").pairs()) == 31


def test_no_training_image_left_is_one_message_and_leaves_no_file(tmp_path: Path) -> None:
    source = shared_data("coco_panoptic_sample2") / "panoptic_examples.json"
    with pytest.raises(ConcatError, match=r"^No training image is left: 2 of 2") as error:
        split_panoptic(source, tmp_path / "train.json", vocabulary=COCO)
    assert (error.value.file, bool(error.value.mend)) == (source, True)
    assert list(tmp_path.iterdir()) == []


def test_one_crowd_segment_of_an_unseen_category_drops_an_image(tmp_path: Path) -> None:
    source = write_panoptic_json(
        tmp_path / "a.json",
        {
            1: [segment(1, THING, area=10), segment(2, STUFF, area=5), segment(3, THING, area=2, iscrowd=1)],
            2: [segment(1, THING, area=20), segment(2, UNSEEN, area=1, iscrowd=1)],
            3: [],
        },
    )
    result = split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert result.kept == 2
    assert result.dropped == [DroppedImage(2, "0002.jpg", (UNSEEN,))]
    assert result.before[THING] == CategoryTotals(images=2, segments=3, crowd_segments=1, pixels=32)
    assert result.after[THING] == CategoryTotals(images=1, segments=2, crowd_segments=1, pixels=12)
    assert result.before[UNSEEN] == CategoryTotals(images=1, segments=1, crowd_segments=1, pixels=1)
    assert result.after[UNSEEN] == result.before[OTHER_THING] == CategoryTotals()
    assert list(result.before) == VOCABULARY.ids


def test_zss_keeps_real_images_and_lists_their_seen_segments_alone(tmp_path: Path) -> None:
    source = shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json"
    result = split_panoptic(source, tmp_path / "train.json", vocabulary=COCO, protocol="zss")
    given, kept = json.loads(source.read_text()), json.loads((tmp_path / "train.json").read_text())
    unseen = {category.id for category in COCO.categories if category.unseen}
    for annotation in given["annotations"]:
        annotation["segments_info"] = [s for s in annotation["segments_info"] if s["category_id"] not in unseen]
    expected = [a for a in given["annotations"] if any(not s["iscrowd"] for s in a["segments_info"])]
    kept_ids = {a["image_id"] for a in expected}
    assert (result.kept, result.dropped, result.ignored, result.empty) == (98, [], 67, 2)
    assert kept["annotations"] == expected
    assert kept["images"] == [image for image in given["images"] if image["id"] in kept_ids]
    assert not {c["name"] for c in kept["categories"]} & set(COCO.unseen.names)
    assert all(result.after[i].pixels == (0 if i in unseen else result.before[i].pixels) for i in COCO.ids)


def test_zss_copies_what_it_does_not_touch_byte_for_byte(tmp_path: Path) -> None:
    seen = b'{"category_id": 7,  "area":5, "id": 1, "bbox": [0, 1.50, 2, 3e0]}'
    unseen = b'{"id":2,"category_id":21}'
    untouched = b'{"segments_info" :[' + seen + b'], "image_id": 1, "file_name":"a.png"}'
    touched = b'{"segments_info":[' + unseen + b" , " + seen + b'], "image_id": 2, "file_name" : "\\u0041.png"}'
    images = b'{"id":1,"file_name":"a"},{"id":2,"file_name":"b"}'
    source = tmp_path / "a.json"
    source.write_bytes(b'{"annotations":[' + untouched + b",\n" + touched + b'],"images":[' + images + b"]}")
    split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY, protocol="zss")
    written = (tmp_path / "train.json").read_bytes()
    assert untouched in written
    assert b'{"segments_info":[' + seen + b'],"image_id":2,"file_name":"\\u0041.png"}' in written


def test_zss_drops_and_counts_images_without_a_seen_segment_but_crowds(tmp_path: Path) -> None:
    source = write_panoptic_json(
        tmp_path / "a.json",
        {
            1: [segment(1, UNSEEN)],
            2: [segment(1, THING, iscrowd=1), segment(2, UNSEEN)],
            3: [],
            4: [segment(1, UNSEEN), segment(2, STUFF), segment(3, THING, iscrowd=1)],
            5: [segment(1, THING)],
        },
    )
    result = split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY, protocol="zss")
    assert (result.kept, result.dropped, result.ignored, result.empty) == (2, [], 1, 3)
    assert [image.id for image in read_panoptic(tmp_path / "train.json").images] == [4, 5]
    assert result.after[THING] == CategoryTotals(images=2, segments=2, crowd_segments=1, pixels=2)
    assert result.after[UNSEEN] == CategoryTotals()


def test_zss_without_a_seen_segment_is_one_message(tmp_path: Path) -> None:
    source = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, UNSEEN)]})
    with pytest.raises(ConcatError, match=r"No training image is left: 0 of 1 .* 1 hold nothing seen"):
        split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY, protocol="zss")


def test_a_json_in_a_zip_is_split_as_the_one_beside_it(tmp_path: Path) -> None:
    source = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)], 2: [segment(1, UNSEEN)]})
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source, "annotations/a.json")
    results = [
        split_panoptic(path, tmp_path / "out" / f"{number}.json", vocabulary=VOCABULARY)
        for number, path in enumerate((source, tmp_path / "x.zip/annotations/a.json"))
    ]
    assert results[0] == results[1]
    assert (tmp_path / "out/0.json").read_bytes() == (tmp_path / "out/1.json").read_bytes()


def test_listed_images_without_annotation_are_left_out_and_counted(tmp_path: Path) -> None:
    source = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)]})
    content = json.loads(source.read_text())
    content["images"].append(image_entry(2))
    source.write_text(json.dumps(content))
    result = split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert (result.kept, result.unannotated) == (1, 1)
    assert len(read_panoptic(tmp_path / "train.json").images) == 1


def test_a_category_that_is_none_of_the_vocabulary_is_named_with_its_image(tmp_path: Path) -> None:
    source = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)], 4: [segment(1, STUFF), segment(2, 55)]})
    with pytest.raises(ConcatError, match="Image 4 holds category 55, which is none of the vocabulary toy"):
        split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY)


def test_a_field_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING), segment(2, UNSEEN)]})
    path.write_bytes(path.read_bytes().replace(b'"file_name": "0001.png"', b'"\x8d": 1, "file_name": "0001.png"'))
    with pytest.raises(CorruptFileError, match=r"an annotation: .* can't decode byte 0x8d"):
        split_panoptic(path, tmp_path / "train.json", vocabulary=VOCABULARY, protocol="zss")


def test_a_vocabulary_without_unseen_categories_is_refused(tmp_path: Path) -> None:
    source = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)]})
    with pytest.raises(ConcatError, match="marks no category as unseen"):
        split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY.seen)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "missing required field `annotations`"),
        ({"images": [3], "annotations": []}, "image number 0: Expected `object`"),
        ({"images": [image_entry(1)], "annotations": [{"image_id": 1}]}, "annotation number 0: .*`segments_info`"),
        ({"images": [image_entry(1)], "annotations": [annotation_entry(1, [{"id": 1}])]}, "`category_id`"),
        ({"images": [image_entry(1)], "annotations": [annotation_entry(1, [segment(1, 2**40)])]}, "<= 16777215"),
        ({"images": [image_entry(1)], "annotations": [annotation_entry(1, [segment(1, 7, iscrowd=2**70)])]}, "iscrowd"),
        ({"images": [image_entry(1) | {"file_name": "../a"}], "annotations": []}, "leads out of its folder"),
        ({"images": [image_entry(1)] * 2, "annotations": []}, "Image 1 stands more than once"),
        ({"images": [image_entry(1)], "annotations": [annotation_entry(1, [])] * 2}, "Image 1 is annotated twice"),
        ({"images": [], "annotations": [annotation_entry(8, [])]}, "image 8 is annotated but not listed"),
    ],
)
def test_a_broken_json_is_refused_by_name(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text(json.dumps(content))
    with pytest.raises(CorruptFileError, match=message) as error:
        split_panoptic(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert error.value.file == source


def test_a_truncated_json_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)]}).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "a.json").write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match="Not valid JSON"):
            split_panoptic(tmp_path / "a.json", tmp_path / "train.json", vocabulary=VOCABULARY)


_SEGMENTS = st.lists(
    st.builds(
        segment,
        st.integers(1, 2**24 - 1),
        st.sampled_from(VOCABULARY.ids),
        area=st.integers(0, 10**6),
        iscrowd=st.integers(0, 1),
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(
    segments_of=st.dictionaries(st.integers(0, 10**6), _SEGMENTS, max_size=6),
    protocol=st.sampled_from(["zps", "zss"]),
    data=st.data(),
)
def test_any_json_is_split_as_a_slow_version_does(
    segments_of: dict[int, list[dict[str, Any]]],
    protocol: Protocol,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    source = write_panoptic_json(folder / "a.json", segments_of)
    content = json.loads(source.read_text())
    content["annotations"] = data.draw(st.permutations(content["annotations"]))
    source.write_text(json.dumps(content, indent=data.draw(st.sampled_from([None, 2]))))
    kept = _slow_zps(content["annotations"]) if protocol == "zps" else _slow_zss(content["annotations"])
    if not kept:
        with pytest.raises(ConcatError, match="No training image is left"):
            split_panoptic(source, folder / "train.json", vocabulary=VOCABULARY, protocol=protocol)
        return
    result = split_panoptic(source, folder / "train.json", vocabulary=VOCABULARY, protocol=protocol)
    written = json.loads((folder / "train.json").read_text())
    kept_ids = {a["image_id"] for a in kept}
    assert written["annotations"] == kept
    assert written["images"] == [image for image in content["images"] if image["id"] in kept_ids]
    assert [c["name"] for c in written["categories"]] == VOCABULARY.seen.names
    assert result.before == _slow_totals(content["annotations"])
    assert result.after == _slow_totals(kept)
    assert result.kept + len(result.dropped) + result.empty == len(content["annotations"])
    with_unseen = [a["image_id"] for a in content["annotations"] if _categories(a) & {UNSEEN}]
    assert result.ignored == len(kept_ids.intersection(with_unseen))
    assert [d.image_id for d in result.dropped] == (with_unseen if protocol == "zps" else [])


def _categories(annotation: dict[str, Any]) -> set[int]:
    return {s["category_id"] for s in annotation["segments_info"]}


def _slow_zps(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [a for a in annotations if UNSEEN not in _categories(a)]


def _slow_zss(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen = [{**a, "segments_info": [s for s in a["segments_info"] if s["category_id"] != UNSEEN]} for a in annotations]
    return [a for a in seen if any(not s["iscrowd"] for s in a["segments_info"])]


def _slow_totals(annotations: list[dict[str, Any]]) -> dict[int, CategoryTotals]:
    images, segments, crowds, pixels = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
    for annotation in annotations:
        images.update({s["category_id"] for s in annotation["segments_info"]})
        for s in annotation["segments_info"]:
            segments[s["category_id"]] += 1
            crowds[s["category_id"]] += s["iscrowd"]
            pixels[s["category_id"]] += s["area"]
    return {i: CategoryTotals(images[i], segments[i], crowds[i], pixels[i]) for i in VOCABULARY.ids}


_BROKEN = st.sampled_from([None, -1, 2**70, 1.5, "7", "", [], {}, True, 2**24])
_FIELDS = st.sampled_from(
    [
        ("images",),
        ("annotations",),
        ("images", 0, "id"),
        ("images", 0, "file_name"),
        ("annotations", 1),
        ("annotations", 1, "image_id"),
        ("annotations", 0, "segments_info"),
        ("annotations", 0, "segments_info", 0),
        ("annotations", 0, "segments_info", 0, "category_id"),
        ("annotations", 0, "segments_info", 0, "area"),
        ("annotations", 0, "segments_info", 0, "iscrowd"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(where=_FIELDS, value=_BROKEN, protocol=st.sampled_from(["zps", "zss"]))
def test_no_malformed_field_ends_in_anything_but_a_message_or_a_list(
    where: tuple[Any, ...], value: Any, protocol: Protocol, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    source = write_panoptic_json(
        folder / "a.json", {1: [segment(1, THING), segment(2, UNSEEN)], 2: [segment(3, STUFF)]}
    )
    content = json.loads(source.read_text())
    *path, last = where
    inner = content
    for key in path:
        inner = inner[key]
    inner[last] = value
    source.write_text(json.dumps(content))
    failure = None
    try:
        split_panoptic(source, folder / "train.json", vocabulary=VOCABULARY, protocol=protocol)
    except ConcatError as error:
        failure = error
    if failure:
        assert failure.file == source
        assert not (folder / "train.json").exists()
    else:
        assert read_panoptic(folder / "train.json").images

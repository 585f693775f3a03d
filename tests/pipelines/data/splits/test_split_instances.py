"""The lists of an instances json: real samples with both published splits, a slow version, and broken json."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY, image_entry
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.splits.split_instances import list_instances, split_instances
from pipelines.data.splits.split_result import CategoryTotals, DroppedImage
from pipelines.vocabularies.vocabulary import load_vocabulary

FOREIGN = 55  # in the json's categories, but not in the vocabulary
Json = dict[str, Any]


def _instance(image_id: int, category_id: int, *, area: float = 2.4, iscrowd: int = 0) -> Json:
    polygon = [[0.5, 1.0, 2.25, 3.0, 1, 0]]
    return {"image_id": image_id, "category_id": category_id, "area": area, "iscrowd": iscrowd, "segmentation": polygon}


def _content(images: int, instances: list[Json]) -> Json:
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [image_entry(image_id) for image_id in range(1, images + 1)],
        "annotations": [instance | {"id": number} for number, instance in enumerate(instances, 1)],
        "categories": [{"id": i, "name": str(i)} for i in [*VOCABULARY.ids, FOREIGN]],
    }


def _write(path: Path, content: Json) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("vocabulary", "kept", "dropped", "outside"),
    [("coco_instances_48_17", 14, 16, 10), ("coco_instances_65_15", 24, 6, 0)],
)
def test_the_real_sample_keeps_exactly_the_images_without_unseen_instances(
    vocabulary: str, kept: int, dropped: int, outside: int, tmp_path: Path
) -> None:
    source = shared_data("coco_instances_tiny38") / "annotations/instances_train2017.json"
    chosen = load_vocabulary(vocabulary)
    result = split_instances(source, tmp_path / "train.json", vocabulary=chosen)
    given, written = json.loads(source.read_text()), json.loads((tmp_path / "train.json").read_text())
    with_unseen = {a["image_id"] for a in given["annotations"] if a["category_id"] in chosen.unseen.ids}
    listed = [
        a for a in given["annotations"] if a["category_id"] in chosen.seen.ids and a["image_id"] not in with_unseen
    ]
    with_seen = {a["image_id"] for a in listed if not a["iscrowd"]}
    assert written["annotations"] == [a for a in listed if a["image_id"] in with_seen]
    assert written["images"] == [i for i in given["images"] if i["id"] in with_seen]
    assert (written["info"], written["licenses"]) == (given["info"], given["licenses"])
    assert [c["id"] for c in written["categories"]] == chosen.seen.ids
    assert (result.kept, len(result.dropped), result.unannotated, result.empty) == (kept, dropped, 2, 0)
    assert {d.image_id for d in result.dropped} == with_unseen
    assert result.outside == outside


def test_every_real_image_stays_in_the_list_for_validation(tmp_path: Path) -> None:
    source = shared_data("coco_instances_tiny38") / "annotations/instances_train2017.json"
    chosen = load_vocabulary("coco_instances_48_17")
    totals = list_instances(source, tmp_path / "val.json", vocabulary=chosen)
    given, written = json.loads(source.read_text()), json.loads((tmp_path / "val.json").read_text())
    assert written["images"] == given["images"]
    assert written["annotations"] == [a for a in given["annotations"] if a["category_id"] in chosen.ids]
    assert [c["name"] for c in written["categories"]] == chosen.names
    person = [a for a in given["annotations"] if a["category_id"] == 1]
    assert totals[1].segments == len(person)
    assert totals[1].images == len({a["image_id"] for a in person})
    assert totals[1].pixels == sum(round(a["area"]) for a in person)


def test_crowds_of_unseen_categories_drop_images_and_foreign_instances_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    instances = [
        _instance(1, THING, area=10.5),
        _instance(1, FOREIGN),
        _instance(2, THING),
        _instance(2, UNSEEN, iscrowd=1),
        _instance(3, FOREIGN),
        _instance(4, THING, iscrowd=1),
        _instance(6, THING, area=3.6),
        _instance(6, THING, iscrowd=1),
    ]
    source = _write(tmp_path / "a.json", _content(6, instances))
    result = split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    written = json.loads((tmp_path / "train.json").read_text())
    assert [image["id"] for image in written["images"]] == [1, 6]
    assert [a["id"] for a in written["annotations"]] == [1, 7, 8]
    assert result.dropped == [DroppedImage(2, "0002.jpg", (UNSEEN,))]
    assert (result.kept, result.empty, result.unannotated, result.outside) == (2, 2, 1, 2)
    assert (result.ignored, result.orphaned) == (0, 0)
    assert result.before[THING] == CategoryTotals(images=4, segments=5, crowd_segments=2, pixels=10 + 2 + 2 + 4 + 2)
    assert result.after[THING] == CategoryTotals(images=2, segments=3, crowd_segments=1, pixels=10 + 4 + 2)
    assert result.after[UNSEEN] == result.before[OTHER_THING] == CategoryTotals()


def test_entries_are_copied_byte_for_byte(tmp_path: Path) -> None:
    entry = b'{"id" : 1, "image_id":1,"area":5.0e0,"category_id":7, "segmentation":[[1.50,2.0,3,0,0,0]],"x":"\\u0041"}'
    image = b'{"file_name": "a.jpg" ,"id":1, "height":4.0}'
    source = tmp_path / "a.json"
    source.write_bytes(b'{"images":[' + image + b'],"annotations":[' + entry + b'],"categories":[{"id":7}]}')
    split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    list_instances(source, tmp_path / "val.json", vocabulary=VOCABULARY)
    for name in ("train.json", "val.json"):
        assert entry in (tmp_path / name).read_bytes()
        assert image in (tmp_path / name).read_bytes()


def test_a_json_in_a_zip_is_split_as_the_one_beside_it(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.json", _content(2, [_instance(1, THING), _instance(2, UNSEEN)]))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(source, "annotations/a.json")
        archive.writestr("readme.txt", "")
    split_instances(source, tmp_path / "1.json", vocabulary=VOCABULARY)
    split_instances(tmp_path / "x.zip/annotations/a.json", tmp_path / "2.json", vocabulary=VOCABULARY)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_ignoring_unseen_instances_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.json", _content(1, [_instance(1, THING)]))
    with pytest.raises(ConcatError, match="Instances know no zss"):
        split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY, protocol="zss")


def test_a_vocabulary_without_unseen_categories_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.json", _content(1, [_instance(1, THING)]))
    with pytest.raises(ConcatError, match="marks no category as unseen"):
        split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY.seen)


def test_no_training_image_left_is_one_message_and_leaves_no_file(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.json", _content(2, [_instance(1, THING), _instance(1, UNSEEN)]))
    with pytest.raises(ConcatError, match=r"No training image is left: 1 of 2 .*, and 1 hold nothing seen") as error:
        split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert error.value.file == source
    assert not (tmp_path / "train.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [_instance(1, 77)]}, "category 77, which the json's own categories do not list"),
        ({"annotations": [_instance(9, THING)]}, "image 9 is annotated but not listed"),
        ({"annotations": [{"image_id": 1}]}, "annotation number 0: .*`category_id`"),
        ({"annotations": [_instance(1, THING, area=-1)]}, "annotation number 0: .*>= 0.*area"),
        ({"annotations": [_instance(1, THING, iscrowd=2)]}, "annotation number 0: .*iscrowd"),
        ({"images": [image_entry(1)] * 2}, "Image 1 stands more than once"),
        ({"images": [image_entry(1) | {"file_name": "../1.jpg"}]}, "leads out of its folder"),
        ({"images": [{"id": 1}]}, "image number 0: .*`file_name`"),
        ({"images": 3}, "Expected `array`"),
        ({"categories": [{"name": "cat"}]}, "categories: .*`id`"),
    ],
)
def test_a_broken_json_is_refused_by_name(change: Json, message: str, tmp_path: Path) -> None:
    source = _write(tmp_path / "a.json", _content(1, [_instance(1, THING)]) | change)
    with pytest.raises(CorruptFileError, match=message) as error:
        split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    assert error.value.file == source


def test_a_panoptic_json_is_told_apart(tmp_path: Path) -> None:
    source = shared_data("coco_panoptic_sample2") / "panoptic_examples.json"
    with pytest.raises(CorruptFileError, match="Not a COCO instances json: annotation number 0") as error:
        list_instances(source, tmp_path / "val.json", vocabulary=load_vocabulary("coco_panoptic"))
    assert "instances_train2017.json" in str(error.value)


_INSTANCES = st.lists(
    st.builds(
        _instance,
        st.integers(1, 5),
        st.sampled_from([THING, OTHER_THING, STUFF, UNSEEN, FOREIGN]),
        area=st.floats(0, 1e6),
        iscrowd=st.integers(0, 1),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(instances=_INSTANCES)
def test_any_json_is_split_as_a_slow_version_does(
    instances: list[Json], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    content = _content(5, instances)
    source = _write(folder / "a.json", content)
    of_image = {i: [a for a in content["annotations"] if a["image_id"] == i] for i in range(1, 6)}
    with_unseen = [i for i, held in of_image.items() if any(a["category_id"] == UNSEEN for a in held)]
    seen = {
        i: [a for a in held if a["category_id"] in VOCABULARY.seen.ids]
        for i, held in of_image.items()
        if i not in with_unseen
    }
    kept = [i for i, held in seen.items() if any(not a["iscrowd"] for a in held)]
    if not kept:
        with pytest.raises(ConcatError, match="No training image is left"):
            split_instances(source, folder / "train.json", vocabulary=VOCABULARY)
        return
    result = split_instances(source, folder / "train.json", vocabulary=VOCABULARY)
    written = json.loads((folder / "train.json").read_text())
    assert [image["id"] for image in written["images"]] == kept
    assert written["annotations"] == [
        a for a in content["annotations"] if a["image_id"] in kept and a["category_id"] in VOCABULARY.seen.ids
    ]
    assert [d.image_id for d in result.dropped] == with_unseen
    assert result.unannotated == sum(not held for held in of_image.values())
    assert result.kept + len(result.dropped) + result.empty + result.unannotated == 5
    assert result.outside == sum(a["category_id"] == FOREIGN for a in content["annotations"])


_FIELDS = st.sampled_from(
    [
        ("images",),
        ("annotations",),
        ("categories",),
        ("categories", 0, "id"),
        ("images", 0),
        ("images", 0, "id"),
        ("images", 0, "file_name"),
        ("annotations", 0),
        ("annotations", 0, "image_id"),
        ("annotations", 0, "category_id"),
        ("annotations", 0, "area"),
        ("annotations", 0, "iscrowd"),
    ]
)
_BROKEN = st.sampled_from([None, -1, 2**70, 1.5, 1e300, "7", "../x", "", [], {}, True, 2**24, 2**53])


@settings(max_examples=200, deadline=None)
@given(where=_FIELDS, value=_BROKEN)
def test_no_malformed_field_ends_in_anything_but_a_message_or_a_list(
    where: tuple[Any, ...], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    content: Any = _content(2, [_instance(1, THING), _instance(2, THING)])
    inner = content
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    source, failure = _write(folder / "a.json", content), None
    try:
        split_instances(source, folder / "train.json", vocabulary=VOCABULARY)
    except ConcatError as error:
        failure = error
    if failure:
        assert failure.file == source
        assert not (folder / "train.json").exists()
    else:
        assert json.loads((folder / "train.json").read_text())["images"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_or_changed_json_ends_in_a_message_or_a_list(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    whole = json.dumps(_content(1, [_instance(1, THING)])).encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    (folder / "cut.json").write_bytes(whole[:place])
    with pytest.raises(CorruptFileError, match="Not valid JSON"):
        split_instances(folder / "cut.json", folder / "train.json", vocabulary=VOCABULARY)
    changed = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    (folder / "changed.json").write_bytes(changed)
    try:
        split_instances(folder / "changed.json", folder / "train.json", vocabulary=VOCABULARY)
    except ConcatError:
        assert not (folder / "train.json").exists()


@pytest.mark.parametrize("nothing", [[], [[1, 1, 3, 3]], {"size": [4, 6], "counts": [24]}])
def test_an_instance_without_a_pixel_is_no_object_but_drops_its_image(nothing: Any, tmp_path: Path) -> None:
    instances = [
        _instance(1, THING),
        _instance(1, THING) | {"segmentation": nothing},
        _instance(2, THING),
        _instance(2, UNSEEN) | {"segmentation": nothing},
        _instance(3, THING) | {"segmentation": nothing},
    ]
    source = _write(tmp_path / "a.json", _content(3, instances))
    result = split_instances(source, tmp_path / "train.json", vocabulary=VOCABULARY)
    written = json.loads((tmp_path / "train.json").read_text())
    assert [a["id"] for a in written["annotations"]] == [1]
    assert [image.image_id for image in result.dropped] == [2]
    assert [image["id"] for image in written["images"]] == [1]  # the third holds no object
    assert result.remarks == (
        "3 instances have no pixel and are no objects: id 2 of image 1; id 4 of image 2; id 5 of image 3",
    )
    list_instances(source, tmp_path / "val.json", vocabulary=VOCABULARY)
    assert [a["id"] for a in json.loads((tmp_path / "val.json").read_text())["annotations"]] == [1, 3]

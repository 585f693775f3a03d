import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panoptic_world import (
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

from pipelines.base.errors import CorruptFileError
from pipelines.data.checks.survey import Survey, describe_json, evenly_spread, survey_json
from pipelines.data.files.archives import open_files
from pipelines.data.formats.coco_panoptic import read_panoptic


def write(path: Path, images: list[Any], annotations: list[Any], **more: Any) -> Path:
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in VOCABULARY.categories]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories, **more}))
    return path


def found(survey: Survey) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.examples for finding in survey.findings.sorted()}


def instance(image_id: int, category_id: int, mask: Any = ((0, 0, 2, 0, 2, 2),)) -> dict[str, Any]:
    return {"id": image_id, "image_id": image_id, "category_id": category_id, "segmentation": mask, "iscrowd": 0}


def test_a_sound_json_is_used_as_it_is(tmp_path: Path) -> None:
    path = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)], 2: [segment(1, UNSEEN)]})
    survey = survey_json(path, "panoptic", VOCABULARY, tmp_path / "rest.json")
    assert (survey.listing, survey.names, found(survey)) == (path, {"0001.jpg", "0002.jpg"}, {})
    assert not (tmp_path / "rest.json").exists()


def test_all_that_is_wrong_with_a_panoptic_json_is_named_and_the_rest_is_listed(tmp_path: Path) -> None:
    images = [image_entry(n) for n in (1, 2, 3, 4, 5, 1)] + [image_entry(6) | {"file_name": "../../6.jpg"}]
    annotations = [
        annotation_entry(1, [segment(1, THING)]),
        annotation_entry(2, [segment(1, 55), segment(2, 55), segment(3, 56)]),
        annotation_entry(3, [segment(1, 55)]),
        annotation_entry(4, [segment(1, STUFF)]),
        annotation_entry(4, [segment(1, STUFF)]),
        annotation_entry(6, []),
        annotation_entry(77, []),
    ]
    path = write(tmp_path / "a.json", images, annotations)
    (tmp_path / "png").mkdir()
    for name in ("0001.png", "0006.png"):
        (tmp_path / "png" / name).touch()
    survey = survey_json(path, "panoptic", VOCABULARY, tmp_path / "rest.json", labels=open_files(tmp_path / "png"))
    assert found(survey) == {
        "unknown category": ("id 55 in 2 images", "id 56 in 1 image"),
        "missing label map": ("0004.png",),
        "repeated image": ("0001.jpg (id 1)",),
        "repeated annotation": ("image id 4 (0004.png)",),
        "unsafe name": ("'../../6.jpg'",),
        "annotation without image": ("image id 77 (0077.png)",),
        "image without annotation": ("0005.jpg",),
    }
    assert survey.listing == tmp_path / "rest.json"
    assert [image.id for image, _ in read_panoptic(survey.listing).pairs()] == [1]
    assert survey.names == {f"000{n}.jpg" for n in range(1, 6)}


def test_instances_of_other_categories_and_images_without_instance_are_no_fault(tmp_path: Path) -> None:
    entries = [instance(1, THING), instance(2, 99), instance(8, THING)]
    path = write(tmp_path / "a.json", [image_entry(n) for n in (1, 2, 3)], entries)
    survey = survey_json(path, "instance", VOCABULARY, tmp_path / "rest.json")
    assert found(survey) == {
        "category outside": ("id 99 in 1 instance",),
        "annotation without image": ("image id 8",),
        "image without instance": ("0003.jpg",),
    }
    assert [f.serious for f in survey.findings.sorted()] == [True, False, False]
    assert survey.listing is not None
    content = json.loads(survey.listing.read_text())
    assert [entry["image_id"] for entry in content["annotations"]] == [1, 2]
    assert len(content["images"]) == 3


def test_instances_of_no_seen_category_are_wrong_where_none_is_unseen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [image_entry(1)], [instance(1, THING), instance(1, UNSEEN)])
    survey = survey_json(path, "instance", VOCABULARY.seen, tmp_path / "rest.json")
    assert found(survey) == {"unknown category": (f"id {UNSEEN} in 1 instance",)}
    assert survey.listing is not None
    assert [entry["category_id"] for entry in json.loads(survey.listing.read_text())["annotations"]] == [THING]


@pytest.mark.parametrize("mask", [[], [[0, 0, 2, 2]]])
def test_instances_without_a_pixel_are_counted_and_named(tmp_path: Path, mask: list[Any]) -> None:
    path = write(tmp_path / "a.json", [image_entry(1)], [instance(1, THING), instance(1, THING, mask)])
    survey = survey_json(path, "instance", VOCABULARY, tmp_path / "rest.json")
    assert found(survey) == {"instance without pixel": ("id 1 of 0001.jpg",)}
    assert survey.listing is not None
    assert [entry["segmentation"] for entry in json.loads(survey.listing.read_text())["annotations"]] == [
        [[0, 0, 2, 0, 2, 2]]
    ]


def test_nothing_may_be_left(tmp_path: Path) -> None:
    path = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, 55)]})
    assert survey_json(path, "panoptic", VOCABULARY, tmp_path / "rest.json").listing is None


def test_the_form_of_a_json_is_told_by_its_annotations(tmp_path: Path) -> None:
    path = write_panoptic_json(tmp_path / "a.json", {1: [segment(1, THING)]})
    task, vocabulary = describe_json(path)
    assert task == "panoptic"
    assert [(c.id, c.name, c.isthing) for c in vocabulary.categories] == [
        (c.id, c.name, c.isthing) for c in VOCABULARY.categories
    ]
    assert describe_json(write(tmp_path / "b.json", [image_entry(1)], [instance(1, THING)]))[0] == "instance"
    for annotations in ([], [{"caption": "a cat"}], [3]):
        with pytest.raises(CorruptFileError, match="Neither"):
            describe_json(write(tmp_path / "c.json", [], annotations))


@pytest.mark.parametrize("told", [b'"cat"', b'"segments_info"'])
def test_a_json_that_is_no_text_is_neither(tmp_path: Path, told: bytes) -> None:
    path = write(tmp_path / "a.json", [image_entry(1)], [annotation_entry(1, [segment(1, THING)])])
    path.write_bytes(path.read_bytes().replace(told, b'"\x8d"'))
    with pytest.raises(CorruptFileError, match="can't decode byte 0x8d"):
        describe_json(path)


def test_real_jsons_are_told_apart() -> None:
    panoptic = shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json"
    instances = shared_data("coco_instances_tiny38") / "annotations/instances_train2017.json"
    assert [describe_json(path)[0] for path in (panoptic, instances)] == ["panoptic", "instance"]
    assert [len(describe_json(path)[1]) for path in (panoptic, instances)] == [133, 80]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a.jpg", "b.jpg", "../c"])), max_size=6),
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.sampled_from([THING, STUFF, 55]), max_size=3)), min_size=1, max_size=6
    ),
)
def test_what_is_left_can_always_be_read(
    tmp_path_factory: pytest.TempPathFactory, images: list[Any], annotations: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("survey")
    path = write(
        folder / "a.json",
        [image_entry(i) | {"file_name": name} for i, name in images],
        [annotation_entry(i, [segment(n + 1, c) for n, c in enumerate(held)]) for i, held in annotations],
    )
    survey = survey_json(path, "panoptic", VOCABULARY, folder / "rest.json")
    if survey.listing is None:
        return
    left = read_panoptic(survey.listing).pairs()
    assert left
    assert {s.category_id for _, annotation in left for s in annotation.segments_info} <= set(VOCABULARY.ids)
    faultless = not any(finding.serious for finding in survey.findings.sorted())
    assert faultless == (survey.listing == path)


@given(st.integers(0, 300), st.integers(1, 40))
def test_even_spreading(length: int, most: int) -> None:
    places = evenly_spread(length, most)
    assert len(places) == min(length, most)
    assert places == sorted(set(places))
    if places and most > 1:
        assert (places[0], places[-1]) == (0, length - 1)
        steps = [b - a for a, b in pairwise(places)]
        assert not steps or max(steps) - min(steps) <= 1

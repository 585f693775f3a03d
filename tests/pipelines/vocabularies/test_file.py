"""One's own vocabulary files: the forms that are read, and a clear message for every mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.vocabularies.vocabulary import load_vocabulary

ROAD: dict[str, Any] = {"id": 7, "name": "road"}
CAR: dict[str, Any] = {"id": 1, "name": "car"}


def write(folder: Path, value: Any) -> Path:
    path = folder / "own.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_small_toml_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "street.toml"
    path.write_text(
        '[[categories]]\nid = 1\nname = "car"\n\n[[categories]]\nid = 7\nname = "road; street"\nisthing = false\n'
    )
    street = load_vocabulary(str(path))
    assert street.name == "street"
    assert [(c.id, c.name, c.isthing, c.unseen, c.spoken) for c in street.categories] == [
        (1, "car", True, False, ("car",)),
        (7, "road", False, False, ("road", "street")),
    ]


def test_toml_and_json_mean_the_same(tmp_path: Path) -> None:
    value = {"name": "x", "categories": [CAR, ROAD | {"isthing": False, "color": [1, 2, 3], "unseen": True}]}
    (tmp_path / "own.toml").write_text(tomli_w.dumps(value))
    assert load_vocabulary(str(tmp_path / "own.toml")) == load_vocabulary(str(write(tmp_path, value)))


@pytest.mark.parametrize("form", ["bare list", "coco json"])
def test_categories_as_coco_writes_them(form: str, tmp_path: Path) -> None:
    entries = [{"supercategory": "person", "isthing": 1, "id": 1, "name": "person", "color": [220, 20, 60]},
               {"supercategory": "sky", "isthing": 0, "id": 187, "name": "sky-other-merged"}]  # fmt: skip
    value = entries if form == "bare list" else {"info": {}, "images": [], "annotations": [], "categories": entries}
    vocabulary = load_vocabulary(str(write(tmp_path, value)))
    assert vocabulary.name == "own"
    assert [(c.id, c.isthing, c.spoken) for c in vocabulary.categories] == [
        (1, True, ("person",)),
        (187, False, ("sky",)),
    ]


def test_the_official_category_list_is_coco_panoptic() -> None:
    official = load_vocabulary(str(shared_data("coco_panoptic_sample2") / "panoptic_coco_categories.json"))
    coco = load_vocabulary("coco_panoptic")
    assert official.name == "panoptic_coco_categories"
    assert official.categories == tuple(c.model_copy(update={"unseen": False}) for c in coco.categories)


def test_an_annotation_json_serves_as_a_vocabulary() -> None:
    path = shared_data("coco_instances_tiny38") / "annotations" / "instances_val2017.json"
    assert load_vocabulary(str(path)).ids == [c.id for c in load_vocabulary("coco_panoptic").categories if c.isthing]


BAD = [
    ([CAR, CAR | {"name": "bus"}], "the id 1 stands twice, for 'car' and 'bus'"),
    ([CAR, CAR | {"id": 2}], "the name 'car' stands twice, with the ids 1 and 2"),
    ([CAR, {"id": 2, "name": "bus; Car"}], r"Category 2 \('bus'\) and category 1 \('car'\) would ask CLIP for 'Car'"),
    ([CAR, {"id": 2, "name": "car-other"}], r"Category 2 \('car-other'\) and category 1 \('car'\) would ask CLIP"),
    ([{"id": 2, "name": "car; car"}], r"Category 2 \('car'\) would ask CLIP for 'car' twice"),
    ([CAR | {"name": "a;;b"}], r"Category 1 \(id 1, name 'a;;b'\): a synonym in its name 'a;;b' is empty"),
    ([CAR | {"name": "a;b", "prompt_names": ["c"]}], "synonyms stand both in name and in prompt_names"),
    ([CAR, ROAD | {"name": " "}], r"Category 2 \(id 7, name ' '\): name must be a text that is not empty, not ' '"),
    ([CAR | {"name": 3}], "name must be a text that is not empty, not 3"),
    ([{"id": 3}], r"Category 1 \(id 3\) has no name"),
    ([{"name": "car"}], r"Category 1 \(name 'car'\) has no id"),
    ([CAR | {"id": 2**24}], r"\(id 16777216, name 'car'\): id must be a whole number from 0 to 16777215 \(24 bits\)"),
    ([CAR | {"id": -1}], "id must be a whole number from 0 to 16777215"),
    ([CAR | {"id": "1"}], "id must be a whole number .*, not '1'"),
    ([CAR | {"id": True}], "id must be a whole number .*, not True"),
    ([CAR | {"id": 1.0}], "id must be a whole number .*, not 1.0"),
    ([CAR | {"isthing": 2}], "isthing must be true or false, not 2"),
    ([CAR | {"unseen": "perhaps"}], "unseen must be true or false, not 'perhaps'"),
    ([CAR | {"color": [0, 0, 256]}], r"color must be three whole numbers from 0 to 255, not \[0, 0, 256\]"),
    ([CAR | {"color": [0, 0]}], r"color must be three whole numbers from 0 to 255, not \[0, 0\]"),
    ([CAR | {"color": "red"}], "color must be three whole numbers from 0 to 255, not 'red'"),
    ([CAR | {"prompt_names": ["car", ""]}], r"prompt_names must be a list of texts, none empty, not \['car', ''\]"),
    ([CAR | {"prompt_names": "car"}], "prompt_names must be a list of texts, none empty, not 'car'"),
    ([CAR | {"colour": [1, 2, 3]}], r"Category 1 \(id 1, name 'car'\) has an unknown key 'colour'"),
    ([CAR, "road"], "Category 2: it is no table with id and name, but 'road'"),
    ({"categories": [CAR], "unseen": ["car"]}, "The vocabulary has an unknown key 'unseen'"),
    ({"categories": [CAR], "name": 3}, "the vocabulary's name must be a text that is not empty"),
    ({"categories": {"1": "car"}}, "holds no list of categories"),
    ({"name": "x"}, "holds no list of categories"),
    ("3", "holds no list of categories"),
    ([], "names no category"),
    ({"categories": []}, "names no category"),
    ('[{"id": 1, "na', "not valid JSON"),
    ("", "not valid JSON"),
    ("[" * 100_000, "not valid JSON: it is nested too deeply"),
]


@pytest.mark.parametrize(("value", "message"), BAD)
def test_a_mistake_is_named_with_its_file_and_category(value: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, value)
    with pytest.raises(CorruptFileError, match=message) as error:
        load_vocabulary(str(path))
    assert error.value.file == path
    assert error.value.mend
    assert len(error.value.message) < 300


def test_an_unknown_key_gets_the_allowed_ones_and_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError) as error:
        load_vocabulary(str(write(tmp_path, [CAR | {"colour": [1, 2, 3]}])))
    assert error.value.mend == "Did you mean color? Allowed: id, name, isthing, color, unseen, prompt_names."


@pytest.mark.parametrize("content", [b"name = ", b"\x00", b"\xff\xfe", b"categories = 3", b'name = "x"'])
def test_a_file_that_is_no_toml_vocabulary_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="Not a vocabulary") as error:
        load_vocabulary(str(path))
    assert error.value.file == path


def test_a_missing_vocabulary_names_the_shipped_ones() -> None:
    with pytest.raises(ConcatError, match="not found") as error:
        load_vocabulary("coco_panoptc")
    assert error.value.mend is not None
    assert error.value.mend.startswith(
        "Shipped ones: ade150, coco_instances_48_17, coco_instances_65_15, coco_panoptic"
    )


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match=r"a \.toml or a \.json file"):
        load_vocabulary(str(tmp_path / "names.txt"))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**25), 2**25), st.floats(), st.text(max_size=6),
    st.sampled_from(["car", "road", "car; road", ";", "Car", "\ud800", "a\nb"]),
)  # fmt: skip
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4), st.lists(st.integers(-1, 256), min_size=3, max_size=3))
KEYS = st.sampled_from(["id", "name", "isthing", "color", "unseen", "prompt_names", "supercategory", "colour"])
SOUND = st.fixed_dictionaries({"id": st.integers(0, 9), "name": st.sampled_from(["a", "b", "c; d", "e-other"])})
ENTRIES = st.one_of(SOUND, st.builds(lambda a, b: a | b, SOUND, st.dictionaries(KEYS, VALUES, max_size=2)), VALUES)
FILES = st.one_of(
    st.lists(ENTRIES, max_size=3),
    st.fixed_dictionaries({"categories": st.one_of(st.lists(ENTRIES, max_size=3), VALUES)}, optional={"name": VALUES}),
    st.dictionaries(st.sampled_from(["name", "categories", "images", "extra"]), VALUES, max_size=3),
    VALUES,
)


@settings(max_examples=300, deadline=None)
@given(value=FILES, cut=st.one_of(st.none(), st.integers(0, 40)))
def test_any_json_is_refused_or_makes_a_sound_vocabulary(value: Any, cut: int | None, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value)[:cut])
    sound_or_refused(path)


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_toml_is_refused_or_makes_a_sound_vocabulary(content: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(b'[[categories]]\nid = 1\nname = "a"\n' + content)
    sound_or_refused(path)


def sound_or_refused(path: Path) -> None:
    refusal, vocabulary = None, None
    try:
        vocabulary = load_vocabulary(str(path))
    except ConcatError as error:
        refusal = error
    if refusal is not None:
        assert refusal.file == path
        assert refusal.mend
        assert str(refusal).encode()  # can be printed
    if vocabulary is not None:
        assert vocabulary.name
        assert len(vocabulary) == len(set(vocabulary.ids)) == len(set(vocabulary.names)) > 0
        assert all(0 <= identity < 2**24 for identity in vocabulary.ids)
        spoken = [name.casefold() for category in vocabulary.categories for name in category.spoken]
        assert len(spoken) == len(set(spoken))
        assert all(name.strip() for name in spoken)

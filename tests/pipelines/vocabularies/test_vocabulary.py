"""Vocabularies: the shipped ones against published facts, names for prompts, the guard of unseen names, bad files."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError, ProtocolError
from pipelines.vocabularies.shipped import SHIPPED
from pipelines.vocabularies.vocabulary import (
    Category,
    Vocabulary,
    clean_name,
    load_vocabulary,
    open_seen,
    open_unseen,
    write_part,
)

TOY = Vocabulary(
    name="toy",
    categories=(
        Category(id=4, name="cat", isthing=True),
        Category(id=9, name="cow", isthing=True, unseen=True),
        Category(id=7, name="sky-other-merged", isthing=False, prompt_names=("sky", "heaven")),
    ),
)


def test_coco_panoptic_has_the_119_seen_and_14_unseen_categories() -> None:
    coco = load_vocabulary("coco_panoptic")
    assert (len(coco), len(coco.seen), len(coco.unseen)) == (133, 119, 14)
    assert sum(category.isthing for category in coco.categories) == 80
    assert coco.unseen.names == [
        "cow", "giraffe", "suitcase", "frisbee", "skateboard", "carrot", "scissors", "cardboard", "playingfield",
        "river", "road", "tree-merged", "sky-other-merged", "grass-merged",
    ]  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What is published of a shipped vocabulary: its id is the published one plus `shift`."""

    name: str
    seen: int
    unseen: int
    things: int
    shift: int = 0


PUBLISHED = [
    Published("coco_panoptic", 119, 14, 80),
    Published("coco_stuff", 156, 15, 80),
    Published("coco_instances_48_17", 48, 17, 65),
    Published("coco_instances_65_15", 65, 15, 80),
    Published("voc20", 15, 5, 20, shift=1),
    Published("pc59", 49, 10, 31, shift=1),
    Published("ade150", 150, 0, 100, shift=1),
]


@pytest.mark.parametrize("expected", PUBLISHED, ids=lambda expected: expected.name)
def test_shipped_vocabularies_have_the_published_numbers_of_categories(expected: Published) -> None:
    vocabulary = load_vocabulary(expected.name)
    assert (len(vocabulary.seen), len(vocabulary.unseen)) == (expected.seen, expected.unseen)
    assert sum(category.isthing for category in vocabulary.categories) == expected.things
    assert len({category.color for category in vocabulary.categories}) == len(vocabulary)


@pytest.mark.parametrize("expected", PUBLISHED, ids=lambda expected: expected.name)
def test_shipped_vocabularies_agree_with_the_published_lists(expected: Published) -> None:
    published = json.loads((shared_data("vocabularies") / f"{expected.name}.json").read_text())
    categories = published.get("categories") or published["seen"] + published["unseen"]
    unseen = {entry if isinstance(entry, str) else entry["name"] for entry in published["unseen"]}
    vocabulary = load_vocabulary(expected.name)
    assert {c.id: c.name for c in vocabulary.categories} == {c["id"] + expected.shift: c["name"] for c in categories}
    assert vocabulary.ids == sorted(vocabulary.ids)
    assert set(vocabulary.unseen.names) == unseen
    for entry in categories:
        category = vocabulary.categories[vocabulary.index_of()[entry["id"] + expected.shift]]
        assert category.isthing == bool(entry.get("isthing", category.isthing))
        assert list(category.color) == entry.get("color", list(category.color))


def test_voc_has_the_colours_of_its_own_palette() -> None:
    with Image.open(shared_data("voc_sample3") / "SegmentationClass" / "2007_000032.png") as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
    for category in load_vocabulary("voc20").categories:
        assert list(category.color) == palette[category.id].tolist()


def test_instances_have_the_colours_of_the_panoptic_things() -> None:
    colors = {c.id: c.color for c in load_vocabulary("coco_panoptic").categories}
    for name in ("coco_instances_48_17", "coco_instances_65_15"):
        assert all(category.color == colors[category.id] for category in load_vocabulary(name).categories)


def test_ade_asks_for_the_data_sets_own_synonyms() -> None:
    table = (shared_data("ade20k_sample3") / "objectInfo150.txt").read_text().splitlines()[1:]
    names = {int(row.split("\t")[0]): [name.strip() for name in row.split("\t")[-1].split(",")] for row in table}
    for category in load_vocabulary("ade150").categories:
        assert category.name in names[category.id]
        assert {name.lower() for name in category.spoken} <= set(names[category.id])  # but for "CRT screen"


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_every_shipped_vocabulary_loads_under_its_name_with_distinct_prompts(name: str) -> None:
    vocabulary = load_vocabulary(name)
    assert vocabulary.name == name
    spoken = [name for category in vocabulary.categories for name in category.spoken]
    assert len(set(spoken)) == len(spoken)
    assert all(name == " ".join(name.split()) and "-" not in name for name in spoken)


def test_merged_categories_are_made_of_coco_stuff_and_each_constituent_once() -> None:
    mapping = tomllib.loads((SHIPPED / "mappings" / "coco_panoptic_constituents.toml").read_text())
    stuff = {c["name"] for c in json.loads((shared_data("vocabularies") / "coco_stuff.json").read_text())["categories"]}
    coco = load_vocabulary("coco_panoptic")
    assert set(mapping) == set(coco.names) - stuff
    constituents = [name for names in mapping.values() for name in names]
    assert set(constituents) <= stuff
    assert len(set(constituents)) == len(constituents)
    assert not set(constituents) & set(coco.names)
    dropped = {"furniture-other", "metal", "plastic", "solid-other", "structural-other", "waterdrops", "textile-other",
               "cloth", "clothes", "plant-other", "wood", "ground-other"}  # fmt: skip
    assert stuff - set(coco.names) - set(constituents) == dropped  # those that panoptic COCO sets to void


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("tree-merged", "tree"),
        ("sky-other-merged", "sky"),
        ("door-stuff", "door"),
        ("wall-brick", "wall brick"),
        ("playingfield", "playing field"),
        ("dining table", "dining table"),
        ("other", "other"),
    ],
)
def test_names_are_cleaned_for_prompts(name: str, spoken: str) -> None:
    assert clean_name(name) == spoken
    assert Category(id=1, name=name, isthing=True).spoken == (spoken,)


def test_halves_keep_their_order_and_add_up() -> None:
    assert (TOY.seen.ids, TOY.unseen.ids) == ([4, 7], [9])
    assert (TOY.seen + TOY.unseen).index_of() == {4: 0, 7: 1, 9: 2}
    assert TOY.categories[2].spoken == ("sky", "heaven")


def test_another_split_marks_exactly_the_named_categories() -> None:
    assert TOY.with_unseen(["cat"]).unseen.names == ["cat"]


@pytest.mark.parametrize(("names", "message"), [(["dragon"], "names 'dragon', which is no category"), ([], "no categ")])
def test_an_unseen_list_that_names_no_category_is_an_error(names: list[str], message: str) -> None:
    with pytest.raises(ConcatError, match=message) as error:
        TOY.with_unseen(names)
    assert error.value.mend


def test_parts_round_trip_through_their_files(tmp_path: Path) -> None:
    write_part(tmp_path / "seen.json", TOY.seen)
    write_part(tmp_path / "unseen.json", TOY.unseen)
    assert open_seen(tmp_path / "seen.json") == TOY.seen
    assert open_unseen(tmp_path / "unseen.json", stage="finetune") == TOY.unseen


def test_an_unseen_name_planted_in_the_seen_list_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path / "seen.json", TOY)
    with pytest.raises(ProtocolError, match="holds the unseen category 'cow'") as error:
        open_seen(tmp_path / "seen.json")
    assert error.value.file == tmp_path / "seen.json"


@pytest.mark.parametrize("stage", ["precompute", "train-con", "dump-queries", "train-cat"])
def test_stages_before_finetuning_cannot_open_unseen_names(stage: str, tmp_path: Path) -> None:
    write_part(tmp_path / "unseen.json", TOY.unseen)
    with pytest.raises(ProtocolError, match=f"{stage} must not open unseen names"):
        open_unseen(tmp_path / "unseen.json", stage=stage)


def test_a_part_without_a_category_round_trips(tmp_path: Path) -> None:
    write_part(tmp_path / "unseen.json", load_vocabulary("ade150").unseen)
    assert len(open_unseen(tmp_path / "unseen.json", stage="eval")) == 0


def test_synonyms_in_a_name_are_what_clip_is_asked_for() -> None:
    category = Category(id=1, name=" road ;street; lane ")
    assert (category.name, category.spoken, category.isthing) == ("road", ("road", "street", "lane"), True)


def test_of_voc_only_the_cow_is_new_to_a_model_of_coco_stuffs_seen_names() -> None:
    stuff = load_vocabulary("coco_stuff")
    voc = load_vocabulary("voc20").unseen_relative_to(stuff.seen)
    assert voc.unseen.names == ["cow"]
    assert voc.ids == list(range(1, 21))
    context = load_vocabulary("pc59").unseen_relative_to(stuff.seen)
    assert set(context.unseen.names) == {
        "bag", "bedclothes", "computer", "cow", "grass", "plate", "road", "sidewalk", "sign", "track", "tree",
    }  # fmt: skip
    ade = load_vocabulary("ade150").unseen_relative_to(stuff.seen)
    assert {"tree", "road", "grass", "river"} <= set(ade.unseen.names)
    assert not {"sky", "wall", "person", "couch"} & set(ade.unseen.names)


def test_one_known_synonym_makes_a_category_seen_whatever_its_case() -> None:
    known = Vocabulary(name="known", categories=(Category(id=1, name="TV"),))
    asked = Vocabulary(
        name="asked",
        categories=(Category(id=1, name="screen; tv", unseen=True), Category(id=2, name="tv-set")),
    )
    assert asked.unseen_relative_to(known).unseen.names == ["tv-set"]

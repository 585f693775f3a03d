"""Vocabularies: the shipped ones against published facts, names for prompts, the guard of unseen names, bad files."""

import json
import tomllib
from pathlib import Path

import pytest
from shared_data import shared_data

from pipelines.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.vocabulary import (
    SHIPPED,
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


def test_coco_panoptic_agrees_with_the_published_list() -> None:
    published = json.loads((shared_data("vocabularies") / "coco_panoptic.json").read_text())
    coco = load_vocabulary("coco_panoptic")
    rows = [(c["id"], c["name"], bool(c["isthing"]), tuple(c["color"])) for c in published["categories"]]
    assert [(c.id, c.name, c.isthing, c.color) for c in coco.categories] == rows
    assert set(coco.unseen.names) == set(published["unseen"])


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_every_shipped_vocabulary_loads_under_its_name_with_distinct_prompts(name: str) -> None:
    vocabulary = load_vocabulary(name)
    assert vocabulary.name == name
    assert len(vocabulary.seen) + len(vocabulary.unseen) == len(vocabulary)
    assert 0 < len(vocabulary.unseen) < len(vocabulary)
    spoken = [name for category in vocabulary.categories for name in category.spoken]
    assert len(set(spoken)) == len(spoken)


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


CATEGORY = '[[categories]]\nid = {id}\nname = "{name}"\nisthing = true\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Not a vocabulary"),
        ("\x00", "Not a vocabulary"),
        ('name = "x"', "Field required"),
        ('name = "x"\n' + CATEGORY.format(id=1, name=""), "at least 1 character"),
        ('name = "x"\n' + CATEGORY.format(id=-1, name="a"), "greater than or equal to 0"),
        ('name = "x"\n' + CATEGORY.format(id=1, name="a") + "colour = 3\n", "Extra inputs"),
        ('name = "x"\n' + CATEGORY.format(id=1, name="a") + "color = [0, 0, 256]\n", "less than or equal to 255"),
        ('name = "x"\n' + CATEGORY.format(id=1, name="a") * 2, "the id 1 stands more than once"),
        (
            'name = "x"\n' + CATEGORY.format(id=1, name="a") + CATEGORY.format(id=2, name="a"),
            "the name 'a' stands more than once",
        ),
    ],
)
def test_a_bad_vocabulary_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(CorruptFileError, match=message) as error:
        load_vocabulary(str(path))
    assert error.value.file == path


def test_an_own_vocabulary_loads_from_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('name = "x"\n' + CATEGORY.format(id=3, name="a"))
    toml = load_vocabulary(str(tmp_path / "own.toml"))
    (tmp_path / "own.json").write_text(toml.model_dump_json())
    assert load_vocabulary(str(tmp_path / "own.json")) == toml


def test_a_missing_vocabulary_names_the_shipped_ones() -> None:
    with pytest.raises(ConcatError, match="not found") as error:
        load_vocabulary("coco_panoptc")
    assert error.value.mend is not None
    assert "coco_panoptic, micrococo" in error.value.mend

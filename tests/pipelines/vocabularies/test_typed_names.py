from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.vocabularies.shipped import SHIPPED
from pipelines.vocabularies.typed_names import parse_names, vocabulary_of
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary


def test_commas_separate_categories_and_semicolons_synonyms() -> None:
    cow, scooter, road = parse_names("cow; cattle, e-scooter ,  road;street ", first_id=7)
    assert [c.id for c in (cow, scooter, road)] == [7, 8, 9]
    assert (cow.name, cow.spoken) == ("cow", ("cow", "cattle"))
    assert (scooter.name, scooter.spoken) == ("e-scooter", ("e-scooter",))  # said as typed, unlike COCO's names
    assert (road.name, road.spoken) == ("road", ("road", "street"))
    assert not any(c.unseen for c in (cow, scooter, road))


@pytest.mark.parametrize(
    ("text", "isthing"),
    [
        ("cow", True),
        ("Road", False),  # COCO's stuff
        ("grass", False),  # spoken name of grass-merged
        ("grass-merged", False),
        ("street; road", False),  # known by its synonym
        ("red circle", True),
        ("plain green ground", False),
        ("e-scooter", True),  # known to none
        ("cow [stuff]", False),
        ("road [ Thing ]", True),
        ("road [thing]; street", True),
        ("asphalt; blacktop[stuff]", False),
    ],
)
def test_thing_or_stuff_is_as_marked_else_as_known_else_thing(text: str, isthing: bool) -> None:
    assert parse_names(text)[0].isthing == isthing


def test_a_known_name_takes_its_colour_and_its_prompt() -> None:
    grass = next(c for c in load_vocabulary("coco_panoptic").categories if c.name == "grass-merged")
    typed, merged = parse_names("Grass")[0], parse_names("grass-merged")[0]
    assert typed.color == merged.color == grass.color
    assert (typed.spoken, merged.spoken) == (("Grass",), ("grass",))


def test_colours_of_unknown_names_differ_and_stay() -> None:
    text = ", ".join(f"thing number {n}" for n in range(30))
    colours = [c.color for c in parse_names(text)]
    assert len(set(colours)) == 30
    assert colours == [c.color for c in parse_names(text)]
    assert parse_names("one, two")[1].color == parse_names("two", first_id=2)[0].color


def test_given_vocabularies_are_asked_before_the_shipped_ones() -> None:
    own = Vocabulary(name="own", categories=(Category(id=3, name="cow", isthing=False, color=(1, 2, 3)),))
    cow = parse_names("cow", known=[own])[0]
    assert (cow.isthing, cow.color) == (False, (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("", "is empty"),
        ("cow,,horse", "is empty"),
        ("cow;, horse", "in 'cow;' is empty"),
        ("cow, [stuff]", "in '[stuff]' is empty"),
        ("cow, Cow", "'Cow' stands twice, in 'cow' and in 'Cow'"),
        ("cow; cattle, horse; CATTLE", "'CATTLE' stands twice, in 'cow' and in 'horse'"),
        ("cow; cow", "'cow' stands twice, in 'cow'"),
        ("e-bike, e bike", "stands twice"),
        ("cow [animal]", "neither [thing] nor [stuff]"),
        ("cow [thing", "neither [thing] nor [stuff]"),
        ("cow [thing]; cattle [stuff]", "marked as thing and as stuff"),
    ],
)
def test_mistakes_are_named(text: str, phrase: str) -> None:
    with pytest.raises(ConcatError) as caught:
        parse_names(text)
    assert phrase in caught.value.message
    assert caught.value.mend


words = st.from_regex(r"[a-z]{1,6}( [a-z]{1,6})?", fullmatch=True)


@given(st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=5))
def test_what_is_typed_is_what_is_named(entries: list[list[str]]) -> None:
    names = [name for entry in entries for name in entry]
    text = " , ".join(" ;".join(entry) for entry in entries)
    if len(set(names)) < len(names):
        with pytest.raises(ConcatError, match="stands twice"):
            parse_names(text)
        return
    categories = parse_names(text)
    assert [c.name for c in categories] == [entry[0] for entry in entries]
    assert [c.id for c in categories] == list(range(1, len(entries) + 1))
    assert all(c.spoken == tuple(entry) for c, entry in zip(categories, entries, strict=True) if len(entry) > 1)


def test_a_vocabulary_is_a_file_a_shipped_name_or_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vocabulary_of("ade150") == load_vocabulary("ade150")
    assert vocabulary_of(str(SHIPPED / "voc20.toml")) == vocabulary_of(SHIPPED / "voc20.toml")
    typed = vocabulary_of("cow, grass")
    assert (typed.names, typed.ids, typed.name) == (["cow", "grass"], [1, 2], "typed names")
    (tmp_path / "mine.txt").write_text("cow; cattle\ngrass [thing]\n")
    listed = vocabulary_of(tmp_path / "mine.txt")
    assert (listed.name, listed.names) == ("mine", ["cow", "grass"])
    monkeypatch.chdir(tmp_path)
    assert vocabulary_of("mine.txt") == listed


def test_a_long_text_is_no_path() -> None:
    assert vocabulary_of("a" * 5000).names == ["a" * 5000]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(CorruptFileError, match="no UTF-8 text"):
        vocabulary_of(tmp_path / "picture.png")
    with pytest.raises(ConcatError, match="not found"):
        vocabulary_of("nowhere.toml")
    with pytest.raises(ConcatError, match="No such file"):
        vocabulary_of(tmp_path / "nowhere")

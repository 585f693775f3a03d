"""Categories from names typed on the spot: `cow; cattle, e-scooter, road; street [stuff]`.

Commas (or line breaks) separate categories, semicolons the synonyms of one; `[thing]` or `[stuff]` may follow a name.
What a name says nothing about comes from the vocabularies that know it.
"""

import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.vocabularies.colours import distinct_colour
from pipelines.vocabularies.shipped import shipped_vocabularies
from pipelines.vocabularies.vocabulary import Category, Vocabulary, clean_name, load_vocabulary

EXAMPLE: Final = 'Write for example "cow; cattle, e-scooter, road; street [stuff]".'
_VOCABULARY_FILES: Final = (".toml", ".json")
_FIRST_ASKED: Final = ("coco_panoptic", "coco_stuff", "ade150")  # COCO's colours and kinds before the others'
_MARKED: Final = re.compile(r"(?P<name>[^\[\]]*)(?:\[(?P<mark>[^\[\]]*)\])?")


def parse_names(text: str, *, first_id: int = 1, known: Sequence[Vocabulary] = ()) -> list[Category]:
    """The categories that a text names, none marked unseen.

    Thing or stuff and the colour of a name come from the first vocabulary that speaks it (case does not count); other
    names are things, in colours far apart.

    Args:
        text: names, as typed.
        first_id: id of the first category; the others count on.
        known: vocabularies asked before the shipped ones.

    Raises:
        ConcatError: a name is empty or stands twice (synonyms included), or a mark is neither [thing] nor [stuff].
    """
    entries = [_parse_entry(entry) for entry in re.split(r"[,\n]", text.strip())]
    _check_unique([names for names, _ in entries])
    return [_category(id, names, mark, known) for id, (names, mark) in enumerate(entries, start=first_id)]


def vocabulary_of(text_or_path: str | Path, *, known: Sequence[Vocabulary] = ()) -> Vocabulary:
    """A vocabulary from whatever a user gives for one.

    Args:
        text_or_path: a vocabulary file (.toml, .json), another existing file (of names, a category a line), the name
            of a shipped vocabulary, or typed names.
        known: as for `parse_names`.

    Raises:
        ConcatError: it is none of these; CorruptFileError where a file is damaged.
    """
    text, path = str(text_or_path), Path(text_or_path)
    if path.suffix.lower() in _VOCABULARY_FILES or text in _shipped_names():
        return load_vocabulary(text)
    if isinstance(text_or_path, Path) or os.path.isfile(text):
        return Vocabulary(name=path.stem, categories=tuple(parse_names(_read(path), known=known)))
    return Vocabulary(name="typed names", categories=tuple(parse_names(text, known=known)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConcatError(f"Vocabulary not readable: {error.strerror}.", file=path, mend="Check the path.") from None
    except UnicodeDecodeError:
        raise CorruptFileError(
            "Not a list of names: it is no UTF-8 text.", file=path, mend="Give a .toml, .json or text file."
        ) from None


def _parse_entry(entry: str) -> tuple[list[str], bool | None]:
    """The synonyms of one category, and whether it is marked as a thing (None: not marked)."""
    names, marks = [], set()
    for part in entry.split(";"):
        found = _MARKED.fullmatch(part.strip())
        mark = found["mark"] if found else None
        if found is None or (mark is not None and mark.strip().lower() not in ("thing", "stuff")):
            raise ConcatError(f"A mark in {entry.strip()!r} is neither [thing] nor [stuff].", mend=EXAMPLE)
        if mark is not None:
            marks.add(mark.strip().lower() == "thing")
        names.append(" ".join(found["name"].split()))
    if not all(names):
        where = f" in {entry.strip()!r}" if entry.strip() else ""
        raise ConcatError(f"One of the names{where} is empty.", mend=EXAMPLE)
    if len(marks) > 1:
        raise ConcatError(f"{names[0]!r} is marked as thing and as stuff.", mend="Mark it once.")
    return names, next(iter(marks), None)


def _check_unique(entries: Sequence[Sequence[str]]) -> None:
    owners: dict[str, str] = {}
    for names in entries:
        for name in names:
            key = clean_name(name).casefold()
            if key in owners:
                where = f"in {owners[key]!r} and in {names[0]!r}" if owners[key] != names[0] else f"in {names[0]!r}"
                raise ConcatError(f"The name {name!r} stands twice, {where}.", mend="Name it once.")
            owners[key] = names[0]


def _category(id: int, names: Sequence[str], mark: bool | None, known: Sequence[Vocabulary]) -> Category:
    like = _find(names, known)
    asked = like.spoken if like and names == [like.name] else tuple(names)  # "grass-merged" is spoken "grass"
    return Category(
        id=id,
        name=names[0],
        isthing=mark if mark is not None else like is None or like.isthing,
        color=like.color if like else distinct_colour(id - 1),
        prompt_names=asked,
    )


def _find(names: Sequence[str], known: Sequence[Vocabulary]) -> Category | None:
    """The category of the first vocabulary that speaks one of these names, the first name asked for first."""
    for name in names:
        key = name.casefold()
        for spoken in (*map(_by_spoken_name, known), *_shipped()):
            if key in spoken:
                return spoken[key]
    return None


def _by_spoken_name(vocabulary: Vocabulary) -> dict[str, Category]:
    """Every way to say a category, in small letters; its plain name counts before another's synonym."""
    plain = {category.name.casefold(): category for category in vocabulary.categories}
    return {name.casefold(): c for c in vocabulary.categories for name in c.spoken} | plain


@cache
def _shipped() -> tuple[dict[str, Category], ...]:
    return tuple(_by_spoken_name(load_vocabulary(name)) for name in _shipped_names())


def _shipped_names() -> Iterator[str]:
    """Names of the shipped vocabularies, in the order in which they are asked."""
    others = shipped_vocabularies()
    yield from _FIRST_ASKED
    yield from (name for name in others if name not in _FIRST_ASKED)

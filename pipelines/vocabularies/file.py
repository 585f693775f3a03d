"""From a vocabulary file to plain values, and from what is wrong with them to one clear message.

A file is TOML or JSON and holds a table with `categories` (and a `name`), COCO's json with `categories` among other
things, or, in JSON, the bare list of categories that COCO's tools share.
"""

import json
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError

FIELDS: Final = {
    "id": (
        "a whole number from 0 to 16777215 (24 bits)",
        "Write the id that the data set's files use, such as id = 7.",
    ),
    "name": (
        "a text that is not empty",
        'Write a name, such as name = "road", or with synonyms name = "road; street".',
    ),
    "isthing": ("true or false", "Write isthing = false for stuff; things need no mention."),
    "color": ("three whole numbers from 0 to 255", "Write red, green and blue, such as color = [128, 64, 128]."),
    "unseen": ("true or false", "Write unseen = true for an unseen category; seen ones need no mention."),
    "prompt_names": ("a list of texts, none empty", 'Write what CLIP is asked for: prompt_names = ["road", "street"].'),
}
_IGNORED: Final = frozenset({"supercategory", "keypoints", "skeleton"})  # of COCO's entries
_COCO_TOP: Final = frozenset({"info", "licenses", "images", "annotations", "type"})
_EXAMPLE: Final = 'In TOML: [[categories]], then id = 7 and name = "road", for each category.'


def read_vocabulary_file(path: Path) -> dict[str, Any]:
    """The values of a vocabulary file, in the form that `Vocabulary` validates.

    Args:
        path: .toml or .json.

    Returns:
        `name` (the file's own or its stem) and `categories`, without what only COCO's tools read (`supercategory`).

    Raises:
        OSError: there is no such file, or it cannot be read.
        ConcatError: its name ends in neither .toml nor .json.
        CorruptFileError: it is no TOML or JSON, or holds no list of categories.
    """
    value = _parse(path)
    table = {"categories": value} if isinstance(value, list) else value
    if not isinstance(table, dict) or not isinstance(table.get("categories"), list):
        raise CorruptFileError("Not a vocabulary: it holds no list of categories.", file=path, mend=_EXAMPLE)
    unknown = [key for key in table if key not in {"name", "categories", *_COCO_TOP}]
    if unknown:
        raise _unknown_key("The vocabulary", unknown[0], ("name", "categories"), path)
    return {
        "name": table.get("name", path.stem),
        "categories": [_without_ignored(entry) for entry in table["categories"]],
    }


def _parse(path: Path) -> Any:
    if path.suffix not in (".toml", ".json"):
        raise ConcatError("A vocabulary is a .toml or a .json file.", file=path, mend="Name it accordingly.")
    kind = path.suffix[1:].upper()
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        raise CorruptFileError(
            f"Not a vocabulary: not valid {kind}: {why}.", file=path, mend=f"Mend the {kind}, or copy the file anew."
        ) from None


def _without_ignored(entry: Any) -> Any:
    return {k: v for k, v in entry.items() if k not in _IGNORED} if isinstance(entry, dict) else entry


def what_is_wrong(error: ValidationError, values: dict[str, Any], path: Path) -> CorruptFileError:
    """The first complaint of `Vocabulary` about the values of a file: which category, which field, how to mend it.

    Args:
        error: what validation found.
        values: what `read_vocabulary_file` returned.
        path: the file.
    """
    first = error.errors()[0]
    where, kind = first["loc"], first["type"]
    message = str(first["ctx"]["error"]) if kind == "value_error" else first["msg"]
    if where == ("name",):
        about, mend = f"the vocabulary's name must be {FIELDS['name'][0]}", "Leave it out: the file's name will do."
        return CorruptFileError(f"Not a vocabulary: {about}.", file=path, mend=mend)
    if not where:
        return CorruptFileError(
            f"Not a vocabulary: {message}.", file=path, mend="Give every category an id and a name of its own."
        )
    entry = values["categories"][where[1]]
    who = f"Category {int(where[1]) + 1}{_known_as(entry)}"
    if len(where) == 2:
        about = message if kind == "value_error" else f"it is no table with id and name, but {_short(entry)}"
        return CorruptFileError(f"{who}: {about}.", file=path, mend=_EXAMPLE)
    field = str(where[2])
    if kind == "extra_forbidden":
        return _unknown_key(who, field, tuple(FIELDS), path)
    wanted, mend = FIELDS[field]
    if field not in entry:
        return CorruptFileError(f"{who} has no {field}.", file=path, mend=mend)
    return CorruptFileError(f"{who}: {field} must be {wanted}, not {_short(entry[field])}.", file=path, mend=mend)


def _unknown_key(who: str, key: str, allowed: tuple[str, ...], path: Path) -> CorruptFileError:
    close = get_close_matches(key, allowed, n=1)
    mend = f"Did you mean {close[0]}? " if close else ""
    return CorruptFileError(
        f"{who} has an unknown key {_short(key)}.", file=path, mend=f"{mend}Allowed: {', '.join(allowed)}."
    )


def _known_as(entry: Any) -> str:
    known = [f"{key} {_short(entry[key])}" for key in ("id", "name") if key in entry] if isinstance(entry, dict) else []
    return f" ({', '.join(known)})" if known else ""


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

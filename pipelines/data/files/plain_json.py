"""COCO's jsons as people's tools spell them, told in the one spelling that readers expect.

A whole number may come as 12.0 or "12", a switch as true, a field without a value as null: each can be read in one way
only. Only what a reader could not take as it stands goes through here, so that files as published are read at full
speed.
"""

import re
from typing import Any, Final

import msgspec

WHOLE: Final = frozenset({"id", "image_id", "category_id", "height", "width", "area", "iscrowd", "isthing"})
SWITCHES: Final = frozenset({"iscrowd", "isthing"})
_LENGTHS: Final = {"bbox": 4, "color": 3}  # fields that may be left out, and so are where they hold no such list
_DIGITS: Final = re.compile(r" *-?[0-9]{1,16}(\.0*)? *")
_EXACT: Final = 2**53  # integers that a float holds


def plain_json(data: bytes) -> bytes:
    """The same json, spelt plainly.

    Raises:
        msgspec.DecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return msgspec.json.encode(plain_value(msgspec.json.decode(data)))


def plain_value(value: Any) -> Any:
    """A decoded json, spelt plainly."""
    if isinstance(value, dict):
        return {key: _plain_field(key, inner) for key, inner in value.items() if _says_something(key, inner)}
    return [plain_value(inner) for inner in value] if isinstance(value, list) else value


def plain_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """An image, a category, an instance or a result: its numbers alone are looked at, and masks stay as they are."""
    return {k: whole(k, v) if k in WHOLE else v for k, v in entry.items() if v is not None or k not in WHOLE}


def whole(key: str, value: Any) -> Any:
    """The whole number that a field's value can only mean; what may mean something else stays as it is."""
    if isinstance(value, bool):
        return int(value) if key in SWITCHES else value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _plain_field(key: str, value: Any) -> Any:
    return whole(key, value) if key in WHOLE else plain_value(value)


def _says_something(key: str, value: Any) -> bool:
    if key not in _LENGTHS:
        return value is not None
    numbers = isinstance(value, list) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
    return numbers and len(value) == _LENGTHS[key]

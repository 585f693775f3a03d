"""A json of a known format, which may lie in a zip, decoded as what its fields should be."""

from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.archives import read_bytes
from pipelines.data.files.plain_json import plain_json

_T = TypeVar("_T")

Refusal = Callable[[Path, str], CorruptFileError]
"""Makes the error for a json of another format, from the file and what is wrong."""


WHOLE_NUMBER: Final = 'A whole number belongs there: 12, 12.0 and "12" are read alike, 12.5 is not.'


def decode_json(path: Path, kind: type[_T], refusal: Refusal, cache: Path | None = None) -> _T:
    """Reads a COCO json, which may lie in a zip, as `kind`; a byte-order mark is no part of it.

    Args:
        path: the json.
        kind: what its fields should be.
        refusal: the error for a json of another format.
        cache: see `open_files`.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it may not be read, is truncated, no JSON, or lacks a field of the format.
    """
    try:
        return decode_value(read_bytes(path, cache, what="Annotations").removeprefix(BOM_UTF8), kind)
    except msgspec.ValidationError as error:
        raise refused(refusal, path, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mend = "The file is damaged or truncated: copy or unpack it again."
        raise CorruptFileError(f"Not valid JSON: {error}.", file=path, mend=mend) from None


def decode_value(data: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """JSON as `kind`, in whatever spelling can be read in one way only (see `plain_json`).

    Raises:
        msgspec.ValidationError: it is of another kind.
        msgspec.DecodeError: it is no JSON.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        return msgspec.json.decode(plain_json(bytes(data)), type=kind)


def refused(refusal: Refusal, path: Path, what: str) -> CorruptFileError:
    """The error for a json that lacks a field of its format, or, with a mend of its own, for a number that is none."""
    error = refusal(path, what)
    if "Expected `int`, got" in what:
        error.mend = WHOLE_NUMBER
    return error

"""A json of a known format, which may lie in a zip, decoded as what its fields should be."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.archives import read_bytes

_T = TypeVar("_T")

Refusal = Callable[[Path, str], CorruptFileError]
"""Makes the error for a json of another format, from the file and what is wrong."""


def decode_json(path: Path, kind: type[_T], refusal: Refusal, cache: Path | None = None) -> _T:
    """Reads a COCO json, which may lie in a zip, as `kind`.

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
        return msgspec.json.decode(read_bytes(path, cache, what="Annotations"), type=kind)
    except msgspec.ValidationError as error:
        raise refusal(path, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mend = "The file is damaged or truncated: copy or unpack it again."
        raise CorruptFileError(f"Not valid JSON: {error}.", file=path, mend=mend) from None

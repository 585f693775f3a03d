"""How large a store of CLS tokens will be; no torch, so that a plan is made quickly."""

import json
from pathlib import Path
from typing import Final

from pipelines.base.disk import bytes_below
from pipelines.base.errors import ConcatError
from pipelines.base.files import read_json

CHUNK: Final = 64
"""Rows of a chunk, and images encoded between two marks of progress.

Batches never cross such a group, so a fill that was interrupted makes the very tokens an undisturbed one makes.
"""
_METADATA: Final = 5 * 1024  # bytes: a json for each array and group


def store_bytes(images: int, segments: int, *, dim: int, views: int) -> int:
    """The bytes of a complete store: (images + segments) · views · C float16, ids, offsets and marks of progress.

    Args:
        images: n.
        segments: m, crowds left out.
        dim: C.
        views: 1, or 2 with mirrored images.
    """
    rows = sum(-(-count // CHUNK) * CHUNK for count in (images, segments))  # chunks are written whole
    return rows * views * dim * 2 + 8 * images + 8 * segments + 8 * (images + 1) + images + _METADATA


def bytes_there(folder: Path, images: int, segments: int) -> int:
    """The bytes that the cache already has of a store of so many images and segments, complete or interrupted.

    Stores are told by their sizes, since what else is in their names is not known before CLIP is loaded.
    """
    wanted = {"image/ids": [images], "segment/ids": [segments]}
    stores = [path for path in sorted(folder.glob("images-*")) if _shapes(path, wanted) == wanted]
    return max((bytes_below(path) for path in stores), default=0)


def _shapes(store: Path, arrays: dict[str, list[int]]) -> dict[str, list[int]] | None:
    try:
        return {name: read_json(store / name / "zarr.json")["shape"] for name in arrays}
    except (ConcatError, KeyError, TypeError, OSError, json.JSONDecodeError):
        return None

"""The store of image and segment CLS tokens (zarr v3), as training reads it; `fill` makes it.

An image store knows nothing of names, so that a new prompt or name never costs the images again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from pipelines.base.errors import ConcatError, CorruptFileError

SUFFIXES = ("", "_flipped")
"""Of the token arrays, by view."""
MEND = "Delete it; precompute makes it again."


@dataclass(frozen=True)
class ImageTokens:
    """All tokens, in memory; unit length but for rounding to float16.

    Attributes:
        rows: image id → row.
        images: per view n×C, float16; view 1, if there is one, is of the mirrored images.
        segment_ids: m, int64; those of image row i are `offsets[i]` to `offsets[i + 1]`.
        segments: per view m×C, float16.
        offsets: n + 1.
    """

    rows: dict[int, int]
    images: tuple[Tensor, ...]
    segment_ids: Tensor
    segments: tuple[Tensor, ...]
    offsets: list[int]
    path: Path

    @property
    def dim(self) -> int:
        """C."""
        return self.images[0].shape[1]

    @property
    def views(self) -> int:
        """1, or 2 with mirrored images."""
        return len(self.images)

    def image_token(self, image_id: int, view: int = 0) -> Tensor:
        """C (C,) of the complete image."""
        return self.images[view][self._row(image_id)]

    def segment_tokens(self, image_id: int, view: int = 0) -> tuple[Tensor, Tensor]:
        """Segment ids (O) and tokens C' (O×C) of an image, in the order of its json."""
        row = self._row(image_id)
        rows = slice(self.offsets[row], self.offsets[row + 1])
        return self.segment_ids[rows], self.segments[view][rows]

    def tokens_for(self, image_id: int, segment_ids: Tensor | Sequence[int], view: int = 0) -> Tensor:
        """Tokens C' (O×C) of the named segments of an image, in the order asked for.

        Raises:
            ConcatError: the store has no such image or segment.
        """
        known, tokens = self.segment_tokens(image_id, view)
        wanted = torch.as_tensor(segment_ids, dtype=torch.int64)
        match = wanted[:, None] == known[None, :]  # O×known
        if not match.any(dim=1).all():
            missing = int(wanted[~match.any(dim=1)][0])
            raise ConcatError(
                f"No CLIP token of segment {missing} of image {image_id}.", file=self.path, mend="Run precompute again."
            )
        return tokens[match.int().argmax(dim=1)] if len(wanted) else tokens[:0]

    def _row(self, image_id: int) -> int:
        if image_id not in self.rows:
            raise ConcatError(f"No CLIP token of image {image_id}.", file=self.path, mend="Run precompute again.")
        return self.rows[image_id]


def open_store(path: Path) -> ImageTokens:
    """Reads a complete store once, sequentially, into memory.

    Raises:
        ConcatError: there is none.
        CorruptFileError: it is damaged, truncated or not complete.
    """
    if not path.is_dir():
        raise ConcatError("CLIP tokens not found.", file=path, mend="Run precompute.")
    try:
        store = zarr.open_group(path, mode="r")
        views = int(store.attrs["views"])
        image_ids, segment_ids, offsets, done = (
            _read(store, name) for name in ("image/ids", "segment/ids", "segment/offsets", "done")
        )
        images = tuple(_read(store, f"image/tokens{suffix}") for suffix in SUFFIXES[:views])
        segments = tuple(_read(store, f"segment/tokens{suffix}") for suffix in SUFFIXES[:views])
    except Exception as error:  # zarr, json and numpy each have their own words for a damaged store
        raise CorruptFileError(f"Not a store of CLIP tokens: {error}", file=path, mend=MEND) from error
    flaw = _flaw(image_ids, segment_ids, offsets, done, images, segments)
    if flaw:
        raise CorruptFileError(f"The store of CLIP tokens is damaged: {flaw}.", file=path, mend=MEND)
    return ImageTokens(
        rows={image_id: row for row, image_id in enumerate(image_ids.tolist())},
        images=tuple(torch.from_numpy(tokens) for tokens in images),
        segment_ids=torch.from_numpy(segment_ids),
        segments=tuple(torch.from_numpy(tokens) for tokens in segments),
        offsets=offsets.tolist(),
        path=path,
    )


def _read(store: zarr.Group, name: str) -> NDArray[Any]:
    return np.asarray(store[name][:])


def _flaw(
    image_ids: NDArray[np.int64],
    segment_ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    done: NDArray[np.bool_],
    images: Sequence[NDArray[np.float16]],
    segments: Sequence[NDArray[np.float16]],
) -> str:
    """What is wrong, if anything; a chunk that is missing reads as NaN or −1."""
    if not done.all() or len(done) != len(image_ids):
        return "it is not complete"
    if (image_ids == -1).any() or (segment_ids == -1).any():
        return "ids are missing"
    if len(offsets) != len(image_ids) + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        return "the offsets do not fit the images"
    if offsets[-1] != len(segment_ids):
        return "the offsets do not fit the segments"
    for tokens, ids in [*((t, image_ids) for t in images), *((t, segment_ids) for t in segments)]:
        if tokens.ndim != 2 or len(tokens) != len(ids):
            return "tokens and ids differ in number"
        lengths = np.linalg.norm(tokens.astype(np.float32), axis=1)
        if not np.allclose(lengths, 1.0, atol=0.01):
            return "tokens are missing or not of unit length"
    return ""

"""What the tiny CLIP sees of a micrococo scene: the scene, and each segment cut out of it on black."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.micrococo_render import Scene

ViewKind = Literal["full", "crop"]
"""`full`: the whole frame, `crop`: the square about the segment; both black outside the segment."""


@dataclass(frozen=True)
class SegmentView:
    """A segment cut out: `image` as `kind` says, `category` an index in `MICROCOCO_CATEGORIES`."""

    image: Image.Image
    category: int
    kind: ViewKind


def segment_views(
    scene: Scene, *, crowds: bool = False, margin: int = 0, rng: np.random.Generator | None = None
) -> Iterator[SegmentView]:
    """Both views of every segment, in the segments' order.

    Args:
        scene: what to cut up.
        crowds: whether crowds are cut out too.
        margin: black px round the segment's box in a crop.
        rng: draws each crop's margin from 0 to `margin` when given.
    """
    for segment, (category, crowd) in enumerate(zip(scene.categories, scene.crowds, strict=True)):
        if crowd and not crowds:
            continue
        mask = scene.segments == segment
        masked = scene.image * mask[..., None]
        yield SegmentView(Image.fromarray(masked), category, "full")
        around = margin if rng is None else int(rng.integers(margin + 1))
        yield SegmentView(Image.fromarray(_square_crop(masked, mask, around)), category, "crop")


def _square_crop(masked: NDArray[np.uint8], mask: NDArray[np.bool_], margin: int) -> NDArray[np.uint8]:
    """(L, L, 3): the mask's box in the middle of a black square, L = longer side + 2 margins px."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = masked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = box.shape[:2]
    side = max(height, width) + 2 * margin
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = box
    return square

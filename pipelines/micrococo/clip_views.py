"""What the tiny CLIP sees of a micrococo scene: the scene, and each segment cut out of it on black."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from pipelines.clip.masked import masked_image
from pipelines.micrococo.render import Scene

ViewKind = Literal["full", "crop"]
"""`full`: the whole frame, `crop`: the square about the segment; both black outside the segment."""
_BLACK: Final = (0, 0, 0)


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
        full, crop = (masked_image(scene.image, mask, masked=kind, fill=_BLACK) for kind in get_args(ViewKind))
        around = margin if rng is None else int(rng.integers(margin + 1))
        yield SegmentView(full, category, "full")
        yield SegmentView(ImageOps.expand(crop, around, _BLACK), category, "crop")

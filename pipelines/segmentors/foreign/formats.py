"""Which format a whole segmentor's weights are of."""

from collections.abc import Iterable
from typing import Final

from pipelines.base.errors import ConcatError
from pipelines.segmentors.foreign import detectron2, mmdet, own, transformers_layout
from pipelines.segmentors.foreign.layout import SegmentorLayout
from pipelines.segmentors.foreign.read import Held

LAYOUTS: Final = (detectron2.SEGMENTORS, mmdet.SEGMENTORS, own.SEGMENTORS, transformers_layout.SEGMENTORS)


def recognised(held: Held) -> SegmentorLayout:
    """The layout of a file, told by its names.

    Raises:
        ConcatError: it is none of a segmentor that is known.
    """
    for layout in LAYOUTS:
        names = [layout.earlier(name) for name in held.shapes]
        if backbone_prefix(layout, names) and any(name.startswith(layout.heads) for name in names):
            return layout
    raise ConcatError(
        f"The weights are of no segmentor that is known: they begin with {next(iter(held.shapes), 'nothing')!r}.",
        file=held.path,
        mend="Give Mask2Former or MaskFormer of Detectron2, MMDetection 3, PADing or transformers; a backbone alone "
        "belongs to con.segmentor.backbone_weights.",
    )


def backbone_prefix(layout: SegmentorLayout, names: Iterable[str]) -> str:
    """What the names of the backbone begin with; empty where there is none."""
    names = list(names)
    return next((prefix for prefix in layout.backbone if any(name.startswith(prefix) for name in names)), "")


def classes_of(held: Held, layout: SegmentorLayout) -> int | None:
    """How many categories the class head tells apart; None: the file has none."""
    shape = next((s for name, s in held.shapes.items() if layout.earlier(name) == layout.classifier), None)
    return shape[0] - 1 if shape else None

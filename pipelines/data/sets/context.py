"""PASCAL Context, its 59 frequent categories."""

from typing import Final

from pipelines.data.sets.layouts import Place, Published

CONTEXT: Final = Published(
    vocabulary="pc59",
    ignored=(0, 255),  # none of the 59, void
    roots=("", "VOC2010", "VOCdevkit/VOC2010"),
    train=(Place.of_voc("SegmentationClassContext", "SegmentationContext/train"),),
    val=(Place.of_voc("SegmentationClassContext", "SegmentationContext/val"),),
)

"""The kinds of segmentors, and from settings to one."""

from typing import TYPE_CHECKING, cast

from pipelines.base.parts import Part, PartTable
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.maskformer_settings import MaskFormerSettings
from pipelines.segmentors.settings import SegmentorSettings

if TYPE_CHECKING:
    from torch import nn

SEGMENTORS = PartTable(
    "segmentor",
    group="concat.segmentors",
    parts=(
        Part(Mask2FormerSettings, "pipelines.segmentors.mask2former:Mask2Former"),
        Part(MaskFormerSettings, "pipelines.segmentors.maskformer:MaskFormer"),
    ),
)


def build_segmentor(settings: SegmentorSettings, *, load_weights: bool = True) -> "nn.Module":
    """Builds the extractor: uint8 images B×3×H×W → `SegmentorOutput`.

    Args:
        settings: architecture and the backbone's weights.
        load_weights: False leaves the backbone at random, for a caller that loads a checkpoint afterwards; nothing of
            the weights' file or origin is then needed.

    Raises:
        ConcatError: the widths do not fit one another, or see `build_backbone`.
        ProtocolError: the backbone is a CLIP image tower.
    """
    from pipelines.segmentors.backbone import build_backbone

    backbone = build_backbone(settings.backbone, settings.backbone_weights, load_weights=load_weights)
    return cast("nn.Module", SEGMENTORS.build(settings, backbone=backbone))

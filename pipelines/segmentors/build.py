"""The kinds of segmentors, and from settings to one."""

from typing import TYPE_CHECKING, cast

from pipelines.base.parts import Part, PartTable
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.maskformer_settings import MaskFormerSettings
from pipelines.segmentors.settings import SegmentorSettings

if TYPE_CHECKING:
    from torch import nn

    from pipelines.segmentors.foreign.segmentors import Start

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
        settings: architecture and weights: of the whole segmentor, or of its backbone.
        load_weights: False leaves all at random, for a caller that loads a checkpoint afterwards; nothing of
            the weights' file or origin is then needed.

    Raises:
        ConcatError: the widths do not fit one another or the weights; or see `build_backbone`.
        ProtocolError: the backbone is a CLIP image tower.
    """
    return build_and_start(settings, load_weights=load_weights)[0]


def build_and_start(settings: SegmentorSettings, *, load_weights: bool = True) -> "tuple[nn.Module, Start | None]":
    """The same, and what became of the names in a whole segmentor's weights; None: it has its backbone's alone."""
    from pipelines.segmentors.backbone import build_backbone

    whole = bool(settings.weights) and load_weights
    backbone = build_backbone(settings.backbone, settings.backbone_weights, load_weights=load_weights and not whole)
    segmentor = cast("nn.Module", SEGMENTORS.build(settings, backbone=backbone))
    if not whole:
        return segmentor, None
    from pipelines.segmentors.foreign.segmentors import load_segmentor
    from pipelines.segmentors.segmentor_origin import read_segmentor_file

    return segmentor, load_segmentor(segmentor, settings.kind, read_segmentor_file(settings.weights))

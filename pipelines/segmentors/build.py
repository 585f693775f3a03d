"""The kinds of segmentors, and from settings to one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pipelines.base.errors import ConcatError
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
    from pipelines.segmentors.dilation import dilate_last_stage
    from pipelines.segmentors.frozen_batch_norm import freeze_batch_norms

    whole = bool(settings.weights) and load_weights
    backbone = build_backbone(settings.backbone, settings.backbone_weights, load_weights=load_weights and not whole)
    if settings.last_stage_dilation:
        dilate_last_stage(backbone.net, settings.last_stage_dilation)
    frozen = settings.batch_norm == "frozen"
    if frozen and not whole:
        freeze_batch_norms(backbone)
    segmentor = cast("nn.Module", SEGMENTORS.build(settings, backbone=backbone))
    if not whole:
        return segmentor, None
    from pipelines.segmentors.foreign.segmentors import load_segmentor
    from pipelines.segmentors.segmentor_origin import read_segmentor_file

    start = load_segmentor(segmentor, settings.kind, read_segmentor_file(settings.weights))
    if frozen:  # only now: the file has the norms as they were before
        freeze_batch_norms(backbone)
    return segmentor, start


def checkpoint_layers(segmentor: "nn.Module") -> None:
    """Has a segmentor remember what goes into each of its layers alone.

    Raises:
        ConcatError: segmentors of its kind cannot.
    """
    change: Callable[[], None] | None = getattr(segmentor, "checkpoint_layers", None)
    if change is None:
        kind = type(segmentor).__name__
        raise ConcatError(f"A {kind} cannot compute its layers again.", mend="Set con.checkpointing=false.")
    change()

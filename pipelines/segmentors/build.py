"""From settings to a segmentor."""

from torch import nn

from pipelines.base.errors import ConcatError
from pipelines.recipes.recipe import SegmentorSettings
from pipelines.segmentors.backbone import build_backbone
from pipelines.segmentors.mask2former import Mask2Former
from pipelines.segmentors.maskformer import MaskFormer

_GROUPS = 32  # of the pixel decoders' group norms


def build_segmentor(settings: SegmentorSettings, *, load_weights: bool = True) -> nn.Module:
    """Builds the extractor: uint8 images B×3×H×W → `SegmentorOutput`.

    Args:
        settings: architecture and the backbone's weights.
        load_weights: False leaves the backbone at random, for a caller that loads a checkpoint afterwards; nothing of
            the weights' file or origin is then needed.

    Raises:
        ConcatError: the widths do not fit one another, or see `build_backbone`.
        ProtocolError: the backbone is a CLIP image tower.
    """
    width, heads = settings.hidden_dim, settings.heads
    if width % _GROUPS or width % heads:
        raise ConcatError(
            f"con.segmentor.hidden_dim is {width}; it must be a multiple of {_GROUPS} and of the {heads} heads.",
            mend="Use, for example, 64, 128 or 256 with 4 or 8 heads.",
        )
    backbone = build_backbone(settings.backbone, settings.backbone_weights, load_weights=load_weights)
    kinds: dict[str, type[Mask2Former] | type[MaskFormer]] = {"mask2former": Mask2Former, "maskformer": MaskFormer}
    return kinds[settings.kind](settings, backbone)

"""Widths and depths of MaskFormer."""

from pipelines.base.parts import named
from pipelines.base.settings import setting
from pipelines.segmentors.settings import SegmentorSettings


class MaskFormerSettings(SegmentorSettings):
    """MaskFormer: an FPN as the pixel decoder, and a decoder that attends everywhere."""

    kind: str = named("maskformer")
    feedforward_dim: int = setting(2048, "Width of the decoder's feed-forward layers.", ge=8)
    decoder_layers: int = setting(9, "Layers of the transformer decoder.", ge=1)
    heads: int = setting(8, "Attention heads.", ge=1)
    dropout: float = setting(0.0, "Dropout.", ge=0, lt=1)

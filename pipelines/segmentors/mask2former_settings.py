"""Widths and depths of Mask2Former."""

from typing import Literal

from pipelines.base.parts import named
from pipelines.base.settings import setting
from pipelines.segmentors.settings import SegmentorSettings


class Mask2FormerSettings(SegmentorSettings):
    """Mask2Former: a pixel decoder of deformable attention, and a decoder that attends within masks."""

    kind: str = named("mask2former")
    feedforward_dim: int = setting(2048, "Width of the decoder's feed-forward layers.", ge=8)
    encoder_feedforward_dim: int = setting(1024, "Width of the pixel decoder's feed-forward layers.", ge=8)
    encoder_layers: int = setting(6, "Layers of the pixel decoder.", ge=1)
    decoder_layers: int = setting(9, "Layers of the transformer decoder.", ge=1)
    heads: int = setting(8, "Attention heads.", ge=1)
    dropout: float = setting(0.0, "Dropout.", ge=0, lt=1)
    initialisation: Literal["original", "transformers"] = setting(
        "original", "How the pixel decoder starts: filled by fan-in as in the original, or as transformers does."
    )

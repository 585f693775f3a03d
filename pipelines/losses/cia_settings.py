"""Conditional instance alignment."""

from typing import Literal

from pipelines.base.parts import named
from pipelines.base.settings import setting
from pipelines.losses.alignment_settings import AlignmentSettings


class CiaSettings(AlignmentSettings):
    """Conditional instance alignment with CLIP's tokens of the segments (eq. 8)."""

    kind: str = named("cia")
    weight: float = setting(1.0, "λ_c; 0 switches CIA off.", ge=0)
    temperature: float = setting(0.07, "τ.", gt=0)
    negatives: Literal["image", "batch"] = setting(
        "image", "Segments contrasted with: those of the image (of the batch, where it has only one) or of the batch."
    )

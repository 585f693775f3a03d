"""Conditional global alignment."""

from typing import Literal

from pipelines.base.parts import named
from pipelines.base.settings import setting
from pipelines.losses.alignment_settings import AlignmentSettings


class CgaSettings(AlignmentSettings):
    """Conditional global alignment with CLIP's token of the image (eqs. 4 to 6)."""

    kind: str = named("cga")
    weight: float = setting(1.0, "λ_g; 0 switches CGA off.", ge=0)
    gamma: float = setting(2.0, "γ, enhancement of matched queries; 0: unconditional (G of table 3).", ge=0)
    enhancement: Literal["multiply", "plus", "minus"] = setting("multiply", "How γ enters (supplement table 8).")
    temperature: float = setting(0.07, "τ.", gt=0)
    bank_size: int = setting(32, "CLS tokens kept from earlier batches (tokens).", ge=0)

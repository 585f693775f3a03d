"""The matching and its loss (eqs. 2, 3)."""

from typing import Literal

from pipelines.base.settings import Settings, setting


class MatchingSettings(Settings):
    """Matching and its loss (eqs. 2, 3)."""

    classification: Literal["focal", "softmax"] = setting("focal", "Classification loss.")
    class_weight: float = setting(2.0, "Weight of the classification loss.", ge=0)
    mask_loss: Literal["cross-entropy", "focal"] = setting(
        "cross-entropy", "Of a mask's pixels: binary cross entropy (Mask2Former) or focal loss (MaskFormer)."
    )
    mask_weight: float = setting(5.0, "Weight of the mask's cross entropy or focal loss.", ge=0)
    dice_weight: float = setting(5.0, "Weight of the mask's dice loss.", ge=0)
    focal_alpha: float = setting(0.25, "Focal α, the weight of positives; negative: none.", le=1)
    focal_gamma: float = setting(2.0, "Focal exponent.", ge=0)
    no_object_weight: float = setting(0.1, "Weight of ∅ in the softmax variant.", ge=0)
    points: int = setting(12544, "Points at which masks are compared; 0: every pixel of the predicted masks.", ge=0)
    oversample: float = setting(3.0, "Candidates drawn for each importance-sampled point.", ge=1)
    importance: float = setting(0.75, "Share of points sampled where the mask is uncertain.", ge=0, le=1)

"""The section of train-cat."""

from typing import Annotated, Literal

from pipelines.base.parts import PartSettings
from pipelines.base.settings import Settings, cosmetic, section, setting
from pipelines.generators.build import GENERATORS
from pipelines.generators.cvae_settings import CvaeSettings
from pipelines.training.settings import OptimiserSettings


class CatSettings(Settings):
    """train-cat: the generator (eqs. 10 to 12)."""

    generator: Annotated[PartSettings, GENERATORS] = section(CvaeSettings)
    iterations: int = setting(36875, "Optimisation steps.", ge=1)
    batch_images: int = setting(16, "Images a step, whose matched queries form the batch (images).", ge=1)
    optimiser: OptimiserSettings = section(OptimiserSettings, learning_rate=1e-3, schedule="constant", clip_norm=0.0)
    mmd_weight: float = setting(1.0, "Weight of MMD (eq. 10).", ge=0)
    kl_weight: float = setting(1.0, "Weight of KL, for a generator with a posterior.", ge=0)
    query_contrast: bool = setting(True, "Use the query contrast (QC, eq. 11).")
    unmatched_negatives: bool = setting(True, "Unmatched queries V∅ are negatives too (supplement table 2).")
    contrast_weight: float = setting(0.1, "λ_r.", ge=0)
    contrast_temperature: float = setting(0.07, "τ_r.", gt=0)
    contrast_negatives: Literal["image", "batch"] = setting("image", "Whose queries are contrasted.")
    semantic_supervision: bool = setting(True, "Use the vision-to-semantic focal loss (Sup).")
    supervision_weight: float = setting(0.01, "λ_f.", ge=0)
    checkpoint_every: int = cosmetic(1000, "Steps between checkpoints (steps).", ge=1)
    log_every: int = cosmetic(50, "Steps between lines of metrics.jsonl (steps).", ge=1)

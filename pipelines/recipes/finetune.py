"""The section of finetune."""

from typing import Literal

from pipelines.base.settings import Settings, cosmetic, section, setting
from pipelines.training.settings import OptimiserSettings


class FinetuneSettings(Settings):
    """finetune: the projector on real seen and pseudo unseen queries (eq. 13)."""

    unseen: bool = setting(True, "Teach the data set's unseen names; false, and nothing taught: an inductive run.")
    taught: tuple[str, ...] = setting((), "Names taught besides, as `concat teach` takes them: 'tram; streetcar'.")
    iterations: int = setting(36875, "Optimisation steps.", ge=1)
    batch_images: int = setting(16, "Images a step (images).", ge=1)
    optimiser: OptimiserSettings = section(OptimiserSettings, learning_rate=1e-5, schedule="constant", clip_norm=0.0)
    pseudo_unseen: int = setting(150, "U, pseudo unseen queries a step (supplement table 5).", ge=1)
    pseudo_seen: int = setting(0, "Pseudo seen queries a step (supplement table 4).", ge=0)
    pseudo_weight: float = setting(1.0, "Weight of the pseudo term.", ge=0)
    real_focal: bool = setting(True, "Keep the focal loss on real seen queries (Fcls).")
    real_targets: Literal["seen", "all"] = setting("seen", "Names that real seen queries are classified among.")
    keep_every: int = setting(1000, "Steps between kept iterates (steps).", ge=1)
    log_every: int = cosmetic(50, "Steps between lines of metrics.jsonl (steps).", ge=1)

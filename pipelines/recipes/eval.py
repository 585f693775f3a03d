"""The section of eval."""

from pipelines.base.settings import Settings, cosmetic, setting


class EvalSettings(Settings):
    """eval: predictions and their scores."""

    score_threshold: float = setting(0.1, "Queries scored lower are dropped.", ge=0, le=1)
    overlap_threshold: float = setting(0.8, "Share of its mask that a segment has to keep.", ge=0, le=1)
    mask_threshold: float = setting(0.5, "Mask probability that counts as inside.", ge=0, le=1)
    increment: float = setting(1.0, "Added to unseen logits in the inductive setting (supplement table 6).")
    sweep: tuple[float, ...] = setting((0.0, 0.5, 1.0, 1.5, 2.0), "Increments scored besides.")
    novel_only: bool = setting(True, "Score unseen names among themselves too, besides all names together.")
    instances: int = setting(100, "Instances predicted in an image, the best scored.", ge=1)
    panels: int = setting(8, "Images on the page of qualitative panels (images).", ge=0)
    batch_size: int = cosmetic(1, "Images a forward pass (images).", ge=1)

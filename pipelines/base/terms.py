"""The field's words with a fixed choice of meanings, as settings, files and tables use them."""

from collections.abc import Mapping
from typing import Final, Literal

Task = Literal["panoptic", "semantic", "instance"]
"""What is predicted and scored."""

Protocol = Literal["zps", "zss"]
"""Training images with unseen pixels are dropped (zps), or kept and those pixels ignored (zss)."""

Setting = Literal["inductive", "transductive"]
"""May training know the names of unseen categories (transductive) or not."""

Candidates = Literal["generalised", "novel-only"]
"""What a prediction can be: any name, or an unseen one alone."""

NOT_ZERO_SHOT: Final = "not zero-shot"
"""What results are called whose segmentor knew, or may have known, unseen categories from its start."""

WHY_NOT_ZERO_SHOT: Final = "the segmentor started from weights that were, or may have been, taught unseen categories"

MAIN_FIGURE: Final[Mapping[Task, str]] = {"panoptic": "pq", "semantic": "miou", "instance": "mask_ap50"}
"""The figure by which results of a task are ranked."""

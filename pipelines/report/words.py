"""Figures and protocols in words, as the page writes them."""

from collections.abc import Mapping
from typing import Final

from pipelines.base.terms import NOT_ZERO_SHOT, WHY_NOT_ZERO_SHOT, Task
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary

FIGURES: Final[Mapping[str, str]] = {
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "miou": "mIoU",
    "iou": "IoU",
    "pacc": "pixel accuracy",
    "mask_ap50": "mask AP50",
    "mask_ap": "mask AP",
    "mask_recall100": "mask recall@100",
    "box_ap50": "box AP50",
    "box_ap": "box AP",
    "box_recall100": "box recall@100",
}
GROUPS: Final = ("harmonic", "seen", "unseen", "all", "things", "stuff")
HARMONIC: Final[Mapping[Task, str]] = {"panoptic": "hPQ", "semantic": "hIoU", "instance": "hAP50"}
SEEN: Final[Mapping[Task, str]] = {"panoptic": "sPQ", "semantic": "sIoU", "instance": "sAP50"}
UNSEEN: Final[Mapping[Task, str]] = {"panoptic": "uPQ", "semantic": "uIoU", "instance": "uAP50"}
_MEASURED: Final[Mapping[Task, str]] = {
    "panoptic": "Panoptic quality (PQ), computed as panopticapi does",
    "semantic": "Mean intersection over union (mIoU)",
    "instance": "Average precision of masks at an IoU of 0.5 (AP50)",
}
_PIXELS: Final = {
    "zps": "a training image that holds a single pixel of an unseen category is dropped (ZPS)",
    "zss": "training images with unseen categories stay, and their unseen pixels are ignored (ZSS)",
}


def protocol_in_words(
    recipe: Recipe, vocabulary: Vocabulary, images: int, increment: float, *, zero_shot: bool = True
) -> list[str]:
    """What the headline's figures mean, one sentence each."""
    seen, unseen = len(vocabulary.seen), len(vocabulary.unseen)
    return [
        *([] if zero_shot else [f"These results are {NOT_ZERO_SHOT}: {WHY_NOT_ZERO_SHOT}."]),
        f"{_MEASURED[recipe.task]}, in percent, on {images:,} validation images.",
        f"{seen} categories of {vocabulary.name} are seen and {unseen} unseen; {_PIXELS[recipe.data.protocol]}.",
        f"At test time all {seen + unseen} names compete. The harmonic mean h = 2su / (s + u) is high only if both "
        "seen and unseen categories are segmented well.",
        f"Inductive: training knows no unseen name; at inference {increment:g} is added to unseen logits.",
        "Transductive: training knows the unseen names, never a picture of them. The last iterate of finetuning is the "
        "result; the best iterate on this test set, which papers report, is shown beside it and named so.",
    ]


def percent(value: float | None) -> str:
    """One decimal, or a dash."""
    return "–" if value is None else f"{value:.1f}"


def seconds_in_words(seconds: float) -> str:
    """58 s, 12 min 5 s or 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_in_words(size: float) -> str:
    """Bytes with a decimal unit: 1.3 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

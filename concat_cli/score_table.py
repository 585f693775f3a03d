"""Scores as tables: one of the groups, and on demand one of the categories."""

from rich.markup import escape

from concat_cli.console import out, table
from pipelines.base.terms import NOT_ZERO_SHOT, WHY_NOT_ZERO_SHOT, Task
from pipelines.scoring.scores import CANDIDATES, Figures, Scores

TITLES: dict[Task, str] = {
    "panoptic": "Panoptic quality",
    "semantic": "Mean IoU and pixel accuracy",
    "instance": "Average precision and recall of instances",
}
_INSTANCE = {
    "mask_ap50": "mask AP50",
    "mask_ap": "mask AP",
    "mask_recall100": "mask R@100",
    "box_ap50": "box AP50",
    "box_ap": "box AP",
    "box_recall100": "box R@100",
}
_QUALITY = {"pq": "PQ", "sq": "SQ", "rq": "RQ"}
OF_GROUPS: dict[Task, dict[str, str]] = {
    "panoptic": {**_QUALITY, "n": "n"},
    "semantic": {"miou": "mIoU", "pacc": "pAcc", "n": "n"},
    "instance": {**_INSTANCE, "n": "n"},
}
OF_CATEGORIES: dict[Task, dict[str, str]] = {
    "panoptic": {**_QUALITY, "tp": "TP", "fp": "FP", "fn": "FN"},
    "semantic": {"iou": "IoU", "acc": "Acc", "truth_px": "truth px"},
    "instance": _INSTANCE,
}


def show_score(scores: Scores, *, per_category: bool = False) -> None:
    """Prints groups with what was counted, and, where asked for, every category before them."""
    start = f", {NOT_ZERO_SHOT}" if scores.zero_shot is False else ""
    title = f"{TITLES[scores.task]}, %: {CANDIDATES[scores.candidates]}{start}"
    if per_category:
        columns = OF_CATEGORIES[scores.task]
        names = [f"{escape(c.name)}{'*' if c.unseen else ''}" for c in scores.categories]
        rows = [[name, *_shown(c.figures, columns)] for name, c in zip(names, scores.categories, strict=True)]
        table(title, [f"category of {escape(scores.vocabulary)}", *columns.values()], rows)
    columns = OF_GROUPS[scores.task]
    rows = [[name, *_shown(figures, columns)] for name, figures in scores.groups.items()]
    table(title, ["group", *columns.values()], rows)
    out.print(f"[dim]{escape(_note(scores, per_category))}[/]", soft_wrap=True)
    if scores.zero_shot is False:
        out.print(f"[yellow]{NOT_ZERO_SHOT.capitalize()}: {WHY_NOT_ZERO_SHOT}.[/]", soft_wrap=True)
    for remark in scores.remarks:
        out.print(f"[yellow]{escape(remark)}.[/]", soft_wrap=True)
    if scores.missing:
        some = ", ".join(scores.missing[:3]) + (", …" if len(scores.missing) > 3 else "")
        out.print(
            f"[yellow]{len(scores.missing)} of them had no prediction and counted as empty: {escape(some)}[/]",
            soft_wrap=True,
        )


def _note(scores: Scores, per_category: bool) -> str:
    """What was counted, and what the signs mean."""
    images = "1 image" if scores.images == 1 else f"{scores.images:,} images"
    note = f"{images}, categories of {scores.vocabulary}. n: categories that could be scored."
    note += " R@100: recall at IoU 0.5 of at most 100 detections an image." if scores.task == "instance" else ""
    return note + (" *: unseen." if per_category and any(c.unseen for c in scores.categories) else "")


def _shown(figures: Figures, columns: dict[str, str]) -> list[str]:
    return [_figure(figures[name]) for name in columns]


def _figure(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}"

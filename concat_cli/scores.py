"""The final table of eval."""

from pathlib import Path
from typing import Any

from concat_cli.console import out, table
from pipelines.base.files import read_json
from pipelines.base.terms import MAIN_FIGURE, NOT_ZERO_SHOT, WHY_NOT_ZERO_SHOT, Task

GROUPS = ("all", "things", "stuff", "seen", "unseen", "harmonic")


TITLES: dict[Task, str] = {"panoptic": "Panoptic quality", "semantic": "Mean IoU", "instance": "Mask AP at IoU 0.5"}


def show_scores(folder: Path) -> None:
    """Prints the headline of every setting of an evaluation, seen, unseen and harmonic together.

    Args:
        folder: what the evaluation left, `RUN/eval`.
    """
    metrics = read_json(folder / "metrics.json")
    chosen = f"{metrics['increment']:g}"
    sweep = dict(
        sorted({**metrics["inductive_sweep"], chosen: metrics["inductive"]}.items(), key=lambda x: float(x[0]))
    )
    rows = [
        _row(f"[bold]inductive +{x}[/]" if x == chosen else f"inductive +{x}", score, metrics["task"])
        for x, score in sweep.items()
    ]
    notes = [_protocol(metrics), "inductive +x: x added to unseen logits."]
    if "transductive" in metrics:
        rows.append(_row("[bold]transductive[/]", metrics["transductive"], metrics["task"]))
        rows.append(_row("transductive best*", metrics["transductive_best"], metrics["task"]))
        last, best = metrics["transductive"]["step"], metrics["transductive_best"]["step"]
        notes.append(f"transductive: the last iterate, step {last}; *best: step {best}, chosen on this test set.")
    for setting, score in metrics["novel_only"].items():
        rows.append(_row(f"{setting}, novel-only", score, metrics["task"]))
    if metrics["novel_only"]:
        notes.append("novel-only: unseen names alone compete, on unseen segments alone.")
    notes.append(f"Counted: {_counted(metrics['inductive'][metrics['task']])}, in {metrics['images']} images.")
    zero_shot = metrics.get("zero_shot", True)
    candidates = metrics["candidates"] if zero_shot else f"{metrics['candidates']}, {NOT_ZERO_SHOT}"
    table(f"{TITLES[metrics['task']]}, %: {candidates}", ["setting", *GROUPS], rows)
    if not zero_shot:
        out.print(f"[yellow]{NOT_ZERO_SHOT.capitalize()}: {WHY_NOT_ZERO_SHOT}.[/]")
    out.print(f"[dim]{' '.join(notes)}[/]")
    out.print(
        f"Pictures      {folder / 'panels.png'}\nPer category  {folder / 'categories.csv'}\n"
        f"Figures       {folder / 'metrics.json'}",
        soft_wrap=True,
    )


def _row(title: str, score: dict[str, Any], task: Task) -> list[str]:
    figures = [score[task].get(group, {}).get(MAIN_FIGURE[task]) for group in GROUPS]
    return [title, *("–" if figure is None else f"{figure:.1f}" for figure in figures)]


def _counted(groups: dict[str, Any]) -> str:
    return ", ".join(f"{groups[group]['n']} {group}" for group in GROUPS[:-1] if group in groups)


def _protocol(metrics: dict[str, Any]) -> str:
    what = {
        "zps": "ZPS: training images with unseen pixels were dropped.",
        "zss": "ZSS: unseen pixels of training images were ignored.",
    }
    return what[metrics["protocol"]]

"""The final table."""

from typing import Any

from concat_cli.console import out, table
from pipelines.files import read_json
from pipelines.runner import Run

GROUPS = ("all", "things", "stuff", "seen", "unseen", "harmonic")


def show_scores(run: Run) -> None:
    """Prints panoptic quality of every setting, seen, unseen and harmonic together."""
    folder = run.folder / "eval"
    metrics = read_json(folder / "metrics.json")
    increment = metrics["increment"]
    rows = [_row(f"inductive, increment {name}", score) for name, score in metrics["inductive_sweep"].items()]
    rows.append(_row(f"[bold]inductive[/] (increment {increment:g})", metrics["inductive"]))
    rows.append(_row("[bold]transductive[/] (last iterate)", metrics["transductive"]))
    best = metrics["transductive_best"]
    rows.append(_row(f"transductive, best on this test set (step {best['step']})", best))
    table("Panoptic quality, %", ["setting", *GROUPS, "unseen SQ", "unseen RQ"], rows)
    out.print(f"[dim]All names compete. Categories counted: {_counted(metrics['inductive'])}.[/]")
    out.print(f"Pictures     {folder / 'panels.png'}\nPer category {folder / 'categories.csv'}\n"
              f"Figures      {folder / 'metrics.json'}", soft_wrap=True)


def _row(title: str, score: dict[str, Any]) -> list[str]:
    panoptic = score["panoptic"]
    figures = [panoptic[group]["pq"] for group in GROUPS] + [panoptic["unseen"]["sq"], panoptic["unseen"]["rq"]]
    return [title, *("–" if figure is None else f"{figure:.1f}" for figure in figures)]


def _counted(score: dict[str, Any]) -> str:
    return ", ".join(f"{group} {score['panoptic'][group]['n']}" for group in GROUPS[:-1])

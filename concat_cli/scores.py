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
    chosen = f"{metrics['increment']:g}"
    sweep = dict(
        sorted({**metrics["inductive_sweep"], chosen: metrics["inductive"]}.items(), key=lambda x: float(x[0]))
    )
    rows = [_row(f"[bold]inductive +{x}[/]" if x == chosen else f"inductive +{x}", score) for x, score in sweep.items()]
    rows.append(_row("[bold]transductive[/]", metrics["transductive"]))
    rows.append(_row("transductive best*", metrics["transductive_best"]))
    table("Panoptic quality, %", ["setting", *GROUPS], rows)
    last, best = metrics["transductive"]["step"], metrics["transductive_best"]["step"]
    out.print(
        f"[dim]All names compete. inductive +x: x added to unseen logits. transductive: the last iterate, step {last}; "
        f"*best: step {best}, chosen on this test set. Counted: {_counted(metrics['inductive'])}.[/]"
    )
    out.print(
        f"Pictures      {folder / 'panels.png'}\nPer category  {folder / 'categories.csv'}\n"
        f"Figures       {folder / 'metrics.json'}",
        soft_wrap=True,
    )


def _row(title: str, score: dict[str, Any]) -> list[str]:
    panoptic = score["panoptic"]
    figures = [panoptic[group]["pq"] for group in GROUPS]
    return [title, *("–" if figure is None else f"{figure:.1f}" for figure in figures)]


def _counted(score: dict[str, Any]) -> str:
    return ", ".join(f"{score['panoptic'][group]['n']} {group}" for group in GROUPS[:-1])

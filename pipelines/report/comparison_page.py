"""The page of several runs beside one another, seeds of one recipe averaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipelines.base.errors import ConcatError
from pipelines.base.terms import NOT_ZERO_SHOT, WHY_NOT_ZERO_SHOT
from pipelines.metrics.groups import Summary
from pipelines.report.charts import Mark, dot_plot
from pipelines.report.finished_run import CATEGORY_FIGURE, FinishedRun, read_finished
from pipelines.report.page import write_page
from pipelines.report.provenance import provenance
from pipelines.report.run_charts import group_chart
from pipelines.report.seeds import Average, Seeds, average, by_recipe, category_means, over_x, settings_of
from pipelines.report.settings_text import differences
from pipelines.report.words import FIGURES, GROUPS, HARMONIC, SEEN, UNSEEN, percent, protocol_in_words
from pipelines.runs.run import Run
from pipelines.vocabularies.vocabulary import clean_name


def write_comparison(runs: Sequence[Run], out: Path) -> Path:
    """Writes the comparison of finished runs to `out`.

    Raises:
        ConcatError: a run is not finished, stands twice, or the runs are of different tasks.
        CorruptFileError: a file of a run is damaged.
    """
    _check_distinct(runs)
    finished = [read_finished(run) for run in runs]
    tasks = list(dict.fromkeys(run.task for run in finished))
    if len(tasks) > 1:
        raise ConcatError(
            f"Runs of different tasks ({', '.join(tasks)}) have no figure in common.",
            mend="Compare runs of one task with one another.",
        )
    recipes = by_recipe(finished)
    first = finished[0]
    figure = first.figure
    values = {
        "runs": [(run, provenance(run)) for run in finished],
        "recipes": recipes,
        "figure": figure,
        "task": tasks[0],
        "symbols": {"harmonic": HARMONIC[tasks[0]], "seen": SEEN[tasks[0]], "unseen": UNSEEN[tasks[0]]},
        "groups": [group for group in GROUPS if first.metrics.inductive.get(group, {}).get(figure) is not None],
        "rows": [
            (seeds, setting, average(summaries, figure))
            for seeds in recipes
            for setting, summaries in settings_of(seeds).items()
        ],
        "warnings": _warnings(finished),
        "protocol": protocol_in_words(
            first.run.recipe, first.vocabulary, first.metrics.images, first.metrics.increment
        ),
        "dots": _dots(recipes, figure),
        "sweeps": [(seeds.name, _sweep(seeds, figure)) for seeds in recipes],
        "paths": [
            (seeds.name, _path(seeds, figure)) for seeds in recipes if all(run.metrics.path for run in seeds.runs)
        ],
        "categories": _categories(recipes),
        "category_figure": CATEGORY_FIGURE[tasks[0]],
        "differences": differences([seeds.runs[0].run.recipe for seeds in recipes]) if len(recipes) > 1 else {},
    }
    write_page(out, "comparison.html.j2", values)
    return out


def _check_distinct(runs: Sequence[Run]) -> None:
    folders = [run.folder.resolve() for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConcatError("This run is named twice.", file=folder, mend="Name every run once.")


def _warnings(runs: Sequence[FinishedRun]) -> list[str]:
    """What makes the figures of these runs incomparable, in words."""
    found = []
    for what, values in (
        ("protocols", [run.run.recipe.data.protocol.upper() for run in runs]),
        ("vocabularies", [run.vocabulary.name for run in runs]),
        ("numbers of validation images", [f"{run.metrics.images:,}" for run in runs]),
        ("choices of unseen categories", [", ".join(sorted(run.vocabulary.unseen.names)) for run in runs]),
    ):
        distinct = list(dict.fromkeys(values))
        if len(distinct) > 1:
            found.append(f"These runs are of different {what}: {' | '.join(distinct)}.")
    started = [run.run.folder.name for run in runs if not run.metrics.zero_shot]
    if started:
        found.append(f"{NOT_ZERO_SHOT.capitalize()}: {', '.join(started)}; {WHY_NOT_ZERO_SHOT}.")
    return found


def _dots(recipes: Sequence[Seeds], figure: str) -> Markup:
    """Every seed of every recipe and setting as a dot; the figure over all where there is no harmonic one."""
    rows, said = [], []
    for seeds in recipes:
        for setting, summaries in settings_of(seeds).items():
            averages = average(summaries, figure)
            found = averages.get("harmonic") or averages.get("all")
            if found is not None:
                rows.append((f"{seeds.name}: {setting}", found.values))
                said.append(f"{seeds.name}, {setting}: {in_words(found)}")
    grouped = "harmonic" in recipes[0].runs[0].metrics.inductive
    label = f"{FIGURES[figure]}, %, {'harmonic mean' if grouped else 'all categories'}"
    return dot_plot(rows, label, f"{label}. {'; '.join(said)}.")


def in_words(value: Average) -> str:
    """47.4 ± 2.6, or 47.4 of a single seed."""
    return percent(value.mean) + ("" if value.deviation is None else f" ± {percent(value.deviation)}")


def _chart(tables: Sequence[Mapping[float, Summary]], figure: str, label: str, marks: Sequence[Mark] = ()) -> Markup:
    """Means over the runs' tables by x, with bands of one standard deviation."""
    averages = over_x(tables, figure)
    means: dict[float, Summary] = {
        x: {group: {figure: found.mean} for group, found in groups.items()} for x, groups in averages.items()
    }
    spreads = {x: {group: found.deviation or 0.0 for group, found in groups.items()} for x, groups in averages.items()}
    return group_chart(means, figure, label, marks, spreads if len(tables) > 1 else None)


def _sweep(seeds: Seeds, figure: str) -> Markup:
    metrics = [run.metrics for run in seeds.runs]
    marks = [Mark(metrics[0].increment, "recipe")]
    return _chart([m.by_increment for m in metrics], figure, "increment on unseen logits", marks)


def _path(seeds: Seeds, figure: str) -> Markup:
    return _chart([run.metrics.by_step for run in seeds.runs], figure, "step")


def _categories(recipes: Sequence[Seeds]) -> dict[str, list[dict[str, Any]]]:
    """Unseen and seen categories of the first recipe, with the means of every recipe in its last setting."""
    means = [category_means(seeds, seeds.runs[0].settings[-1]) for seeds in recipes]
    rows = [
        {
            "name": clean_name(row.name),
            "kind": "thing" if row.isthing else "stuff",
            "unseen": row.unseen,
            "values": [by_name.get(row.name) for by_name in means],
        }
        for row in recipes[0].runs[0].categories
    ]
    return {
        "unseen": [row for row in rows if row["unseen"]],
        "seen": [row for row in rows if not row["unseen"]],
    }

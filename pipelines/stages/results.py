"""What eval leaves behind: metrics, figures of every category, predictions and panels."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.base.files import atomic_path, read_json, write_json
from pipelines.base.terms import MAIN_FIGURE, Task
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.drawing import Drawing
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import StageContext
from pipelines.scoring.scores import CANDIDATES, Scores
from pipelines.stages.judges.judge import Judge, Record
from pipelines.stages.panels import write_panels
from pipelines.stages.score_board import write_board
from pipelines.stages.start import is_zero_shot
from pipelines.stages.variants import NOVEL_ONLY, Variant, inductive
from pipelines.vocabularies.vocabulary import Vocabulary


def write_results(
    context: StageContext,
    task: Task,
    judge: Judge,
    data: LabelledImages,
    vocabulary: Vocabulary,
    variants: Mapping[str, Variant],
    written: Mapping[str, str],
) -> None:
    """Sums up the records of all chunks and writes everything that eval promises besides the val queries."""
    records = [record for path in sorted((context.out / "scores").glob("[0-9]*.json")) for record in read_json(path)]
    scores = judge.scores(records, {name: variant.candidates for name, variant in variants.items()})
    metrics = _metrics(context.recipe, task, scores, written)
    metrics |= {} if is_zero_shot(context) else {"zero_shot": False}
    metrics |= {"vocabulary": vocabulary.name, "images": len(records), "candidates": CANDIDATES["generalised"]}
    write_json(context.out / "metrics.json", metrics)
    _write_categories(context.out / "categories.csv", vocabulary, {s: scores[v] for s, v in written.items()})
    for setting in written:
        judge.write_predictions(records, setting)
    if context.recipe.eval.panels:
        _write_panels(context, judge, data, vocabulary, records, written)
    write_board(context.out, metrics, task, MAIN_FIGURE[task], context.out / "panels.png")
    context.metrics |= {setting: _rank(scores[variant]) for setting, variant in written.items()}


def _metrics(recipe: Recipe, task: Task, scores: Mapping[str, Scores], written: Mapping[str, str]) -> dict[str, Any]:
    """`metrics.json`: every figure of eval, in percent."""
    settings = recipe.eval
    groups: dict[str, dict[str, Any]] = {name: {task: score.groups} for name, score in scores.items()}
    metrics: dict[str, Any] = {
        "task": task,
        "protocol": recipe.data.protocol,
        "increment": settings.increment,
        "inductive": groups[inductive(settings.increment)],
        "inductive_sweep": {f"{increment:g}": groups[inductive(increment)] for increment in settings.sweep},
    }
    path = {int(name.split()[1]): name for name in scores if name.startswith("iterate") and NOVEL_ONLY not in name}
    if path:
        best, last = max(path, key=lambda step: _rank(scores[path[step]]) or 0.0), max(path)
        note = "chosen on this test set, as the papers do"
        metrics |= {
            "transductive": {**groups[path[last]], "step": last},
            "transductive_best": {**groups[path[best]], "step": best, "note": note},
            "finetune_path": {str(step): groups[name] for step, name in path.items()},
        }
    novel = {setting: groups.get(name + NOVEL_ONLY) for setting, name in written.items()}
    return metrics | {"novel_only": {setting: found for setting, found in novel.items() if found}}


def _rank(scores: Scores) -> float | None:
    """The figure that results are ranked by: harmonic, or over all where there is no unseen category."""
    return scores.groups.get("harmonic", scores.groups["all"])[MAIN_FIGURE[scores.task]]


def _write_categories(path: Path, vocabulary: Vocabulary, settings: Mapping[str, Scores]) -> None:
    """The figures of every category, in percent, as CSV."""
    found = {setting: {score.id: score.figures for score in scores.categories} for setting, scores in settings.items()}
    columns = list(dict.fromkeys(name for by_id in found.values() for figures in by_id.values() for name in figures))
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "thing", "unseen", *(f"{s} {c}" for s in settings for c in columns)])
        for category in vocabulary.categories:
            row: list[object] = [category.id, category.name, int(category.isthing), int(category.unseen)]
            for by_id in found.values():
                figures = by_id.get(category.id, {})
                row += [_cell(figures.get(column)) for column in columns]
            writer.writerow(row)


def _cell(figure: float | None) -> float | str:
    return "" if figure is None else round(figure, 3)


def _write_panels(
    context: StageContext,
    judge: Judge,
    data: LabelledImages,
    vocabulary: Vocabulary,
    records: Sequence[Record],
    written: Mapping[str, str],
) -> None:
    def drawing_of(setting: str) -> Callable[[int], Drawing]:
        return lambda index: judge.drawing(records, setting, index)

    settings = {setting: drawing_of(setting) for setting in written}
    write_panels(context.out / "panels.png", data, vocabulary, context.recipe.eval.panels, settings)

"""The page of one run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.metrics.groups import Summary
from pipelines.report.finished_run import CATEGORY_FIGURE, CategoryFigures, FinishedRun, read_finished
from pipelines.report.gallery import make_gallery
from pipelines.report.mistakes import count_mistakes, taken_for
from pipelines.report.page import write_page
from pipelines.report.predicted import open_predictions
from pipelines.report.provenance import provenance
from pipelines.report.run_charts import loss_charts, path_chart, query_spaces, sweep_chart
from pipelines.report.settings_text import changed_from_shipped
from pipelines.report.targets import comparable_results
from pipelines.report.words import GROUPS, HARMONIC, SEEN, UNSEEN, protocol_in_words
from pipelines.runs.run import Run
from pipelines.stages.images import validation_images
from pipelines.stages.judges.instance import DRAWN_FROM
from pipelines.vocabularies.vocabulary import clean_name


@dataclass(frozen=True)
class ResultRow:
    """A row of the table of results: group → figure → percent."""

    title: str
    groups: Summary
    note: str = ""
    ours: bool = True


def write_report(run: Run, out: Path) -> Path:
    """Writes the page of a finished run to `out`.

    Raises:
        ConcatError: a stage has not run, or a file that it left is missing.
        CorruptFileError: a file is damaged.
    """
    finished = read_finished(run)
    data = validation_images(run, run.folder / "split/val.json", finished.vocabulary)
    predictions = {
        setting: open_predictions(run.folder / "eval", setting, finished.task, data) for setting in finished.settings
    }
    mistakes = count_mistakes(data, finished.vocabulary, predictions, run.reporter)
    values = {
        **_headline(finished),
        "categories": {
            kind: [_category(row, finished) for row in finished.categories if row.unseen == (kind == "unseen")]
            for kind in ("unseen", "seen")
        },
        "category_figure": CATEGORY_FIGURE[finished.task],
        "taken_for": taken_for(mistakes, finished.vocabulary),
        "losses": {stage: loss_charts(curves) for stage, curves in finished.losses.items() if curves.steps},
        "sweep": sweep_chart(finished),
        "path": path_chart(finished),
        "spaces": query_spaces(finished),
        "gallery": make_gallery(data, finished.vocabulary, predictions, mistakes),
        "provenance": provenance(finished),
        "changed": changed_from_shipped(run.recipe),
    }
    write_page(out, "run.html.j2", values)
    return out


def _headline(finished: FinishedRun) -> dict[str, Any]:
    recipe, metrics, task = finished.run.recipe, finished.metrics, finished.task
    published = comparable_results(recipe, finished.vocabulary, finished.figure)
    return {
        "recipe": recipe,
        "folder": finished.run.folder.resolve().name,
        "task": task,
        "figure": finished.figure,
        "symbols": {"harmonic": HARMONIC[task], "seen": SEEN[task], "unseen": UNSEEN[task]},
        "metrics": metrics,
        "groups": [group for group in GROUPS if metrics.inductive.get(group, {}).get(finished.figure) is not None],
        "drawn_from": DRAWN_FROM,
        "settings": finished.settings,
        "vocabulary": finished.vocabulary,
        "protocol": protocol_in_words(
            recipe, finished.vocabulary, metrics.images, metrics.increment, zero_shot=metrics.zero_shot
        ),
        "results": _results(finished),
        "published": published,
        "rendered": recipe.data.micrococo.render,
        "ended": max(manifest.ended for manifest in finished.manifests.values())[:10],
    }


def _results(finished: FinishedRun) -> list[ResultRow]:
    metrics = finished.metrics
    rows = [ResultRow(f"Inductive, increment {metrics.increment:g}", metrics.inductive)]
    if metrics.transductive is not None:
        rows.append(ResultRow("Transductive, last iterate", metrics.transductive, f"step {metrics.last_step:,}"))
    if metrics.best is not None:
        note = f"step {metrics.best_step:,}; chosen on this test set, as papers do"
        rows.append(ResultRow("Transductive, best iterate", metrics.best, note))
    return rows


def _category(row: CategoryFigures, finished: FinishedRun) -> dict[str, Any]:
    figure = CATEGORY_FIGURE[finished.task]
    values = {setting: row.figures.get(setting, {}).get(figure) for setting in finished.settings}
    return {"name": clean_name(row.name), "kind": "thing" if row.isthing else "stuff", "values": values}

"""The charts of a run: losses, increment sweep, finetuning's path and the maps of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from pipelines.metrics.groups import Summary
from pipelines.report.charts import Axis, Line, Mark, line_chart
from pipelines.report.finished_run import FinishedRun
from pipelines.report.losses import LossCurves
from pipelines.report.query_map import (
    PSEUDO_UNSEEN,
    REAL_SEEN,
    REAL_UNSEEN,
    Queries,
    QueryMap,
    draw_queries,
    query_map,
    semantic_queries,
)
from pipelines.report.scatter import Shape, scatter
from pipelines.report.words import FIGURES, percent
from pipelines.vocabularies.vocabulary import clean_name

SHAPES: Mapping[str, Shape] = {REAL_SEEN: "dot", PSEUDO_UNSEEN: "cross", REAL_UNSEEN: "ring"}
TERMS = {
    "loss": "sum",
    "class": "classification (focal)",
    "mask": "mask (BCE)",
    "dice": "mask (dice)",
    "cga": "CGA",
    "cia": "CIA",
    "mmd": "MMD",
    "kl": "KL",
    "contrast": "query contrast",
    "supervision": "semantic supervision",
    "real": "real seen queries",
    "pseudo": "pseudo unseen queries",
}


@dataclass(frozen=True)
class Space:
    """A map of queries with its title, picture and figures."""

    title: str
    chart: Markup
    figures: QueryMap


def loss_charts(curves: LossCurves) -> list[tuple[str, Markup]]:
    """A small chart for the sum and each term of a stage's losses."""
    charts = []
    for term, values in curves.terms.items():
        title = TERMS.get(term, term)
        points = list(zip(curves.steps, values, strict=True))
        first, last = curves.steps[0], curves.steps[-1]
        alt = f"Loss, {title}: from {values[0]:.3g} at step {first} to {values[-1]:.3g} at step {last}."
        chart = line_chart(
            [Line(title, points, "ink")],
            x=Axis("step"),
            y=Axis("", low=0.0),
            alt=alt,
            size=(200, 135),
            named=False,
        )
        charts.append((title, chart))
    return charts


def group_chart(
    by_x: Mapping[float, Summary],
    figure: str,
    x_label: str,
    marks: Sequence[Mark],
    spreads: Mapping[float, Mapping[str, float]] | None = None,
) -> Markup:
    """The harmonic, seen and unseen figure over x; over all, where there is no unseen category."""
    styles = {
        "harmonic": Line("harmonic", (), "ink", "solid", True),
        "seen": Line("seen", (), "seen", "dashed", True),
        "unseen": Line("unseen", (), "unseen", "dotted", True),
        "all": Line("all", (), "ink", "solid", True),
    }
    wanted = ("harmonic", "seen", "unseen") if any("harmonic" in groups for groups in by_x.values()) else ("all",)
    lines, said = [], []
    for group in wanted:
        points = [
            (x, value) for x, groups in sorted(by_x.items()) if (value := groups.get(group, {}).get(figure)) is not None
        ]
        if points:
            style = styles[group]
            spread = [spreads[x].get(group, 0.0) for x, _ in points] if spreads else ()
            lines.append(Line(group, points, style.css, style.dash, style.dots, spread))
            said.append(f"{group}: " + ", ".join(f"{percent(y)} at {x:g}" for x, y in points))
    alt = f"{FIGURES[figure]} in percent by {x_label}. {'; '.join(said)}."
    ticks = sorted(by_x) if len(by_x) <= 7 else ()
    return line_chart(
        lines, x=Axis(x_label, ticks=ticks), y=Axis(f"{FIGURES[figure]}, %", low=0.0), alt=alt, marks=marks
    )


def sweep_chart(finished: FinishedRun) -> Markup:
    """Figures by increment, that of the recipe marked."""
    metrics, marks = finished.metrics, [Mark(finished.metrics.increment, "recipe")]
    return group_chart(metrics.by_increment, finished.figure, "increment on unseen logits", marks)


def path_chart(finished: FinishedRun) -> Markup | None:
    """Figures by step of finetuning, last and best iterate marked; None without finetuning."""
    metrics = finished.metrics
    if not metrics.path or metrics.last_step is None or metrics.best_step is None:
        return None
    last, best = metrics.last_step, metrics.best_step
    marks = [Mark(last, "last = best")] if last == best else [Mark(best, "best on test"), Mark(last, "last")]
    return group_chart(metrics.by_step, finished.figure, "step", marks)


def query_spaces(finished: FinishedRun) -> list[Space]:
    """The t-SNE of queries, in the vision and in the semantic space."""
    queries = draw_queries(finished)
    seed = finished.run.recipe.seed
    spaces = []
    for title, features in (
        ("Vision space", queries.vision),
        ("Semantic space", semantic_queries(finished, queries.vision)),
    ):
        found = query_map(queries, features, seed)
        if found is not None:
            spaces.append(Space(title, _scatter(title, queries, found), found))
    return spaces


def _scatter(title: str, queries: Queries, found: QueryMap) -> Markup:
    kinds, names = np.array(queries.kinds), np.array(queries.names)
    real = kinds == REAL_UNSEEN
    named = []
    for name in np.unique(names[real]):
        x, y = np.median(found.points[real & (names == name)], axis=0).tolist()
        named.append((clean_name(str(name)), (x, y)))
    counts = {kind: int((kinds == kind).sum()) for kind in SHAPES}
    alt = (
        f"{title}, t-SNE: {counts[REAL_SEEN]} real seen queries as dots, {counts[PSEUDO_UNSEEN]} pseudo unseen queries "
        f"as crosses and {counts[REAL_UNSEEN]} real unseen queries as rings, the unseen categories named."
    )
    labels = [f"{kind.replace('-', ' ')}: {clean_name(name)}" for kind, name in zip(kinds, names, strict=True)]
    return scatter(found.points, list(kinds), labels, shapes=SHAPES, named=named, alt=alt)

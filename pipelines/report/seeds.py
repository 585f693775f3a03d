"""Runs of one recipe, averaged over their seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from pipelines.metrics.groups import Summary
from pipelines.report.finished_run import CATEGORY_FIGURE, FinishedRun
from pipelines.report.settings_text import settings_that_matter


@dataclass(frozen=True)
class Average:
    """Mean and standard deviation (n − 1; None of one value) of `values`."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Seeds:
    """The runs of one recipe, under a name that no other recipe of the comparison has."""

    name: str
    runs: Sequence[FinishedRun]

    @property
    def zero_shot(self) -> bool:
        """Whether all of them are."""
        return all(run.metrics.zero_shot for run in self.runs)


def by_recipe(runs: Sequence[FinishedRun]) -> list[Seeds]:
    """Runs that differ in nothing but the seed together, in the order of their first."""
    grouped: dict[tuple[tuple[str, str], ...], list[FinishedRun]] = {}
    for finished in runs:
        grouped.setdefault(tuple(settings_that_matter(finished.run.recipe).items()), []).append(finished)
    names = [group[0].run.recipe.name for group in grouped.values()]
    unique = [
        name if names.count(name) == 1 else f"{name} ({chr(ord('a') + names[:place].count(name))})"
        for place, name in enumerate(names)
    ]
    return [Seeds(name, group) for name, group in zip(unique, grouped.values(), strict=True)]


def average(summaries: Iterable[Summary], figure: str) -> dict[str, Average]:
    """Group → average of a figure, for the groups that have it in every summary."""
    summaries = list(summaries)
    found = {}
    for group in summaries[0] if summaries else ():
        values = [summary.get(group, {}).get(figure) for summary in summaries]
        known = tuple(value for value in values if value is not None)
        if len(known) == len(values):
            found[group] = Average(known)
    return found


def settings_of(seeds: Seeds) -> dict[str, list[Summary]]:
    """Title of a setting → the figures of every run."""
    metrics = [finished.metrics for finished in seeds.runs]
    found = {f"inductive, increment {metrics[0].increment:g}": [m.inductive for m in metrics]}
    last = [m.transductive for m in metrics if m.transductive is not None]
    best = [m.best for m in metrics if m.best is not None]
    return found | ({"transductive, last iterate": last, "transductive, best on test": best} if last and best else {})


def over_x(tables: Sequence[Mapping[float, Summary]], figure: str) -> dict[float, dict[str, Average]]:
    """Averages by x and group, for the x that every table has."""
    shared = [x for x in tables[0] if all(x in table for table in tables)]
    return {x: average([table[x] for table in tables], figure) for x in sorted(shared)}


def category_means(seeds: Seeds, setting: str) -> dict[str, float | None]:
    """Category → mean of its figure over the runs in which it counts."""
    figure = CATEGORY_FIGURE[seeds.runs[0].task]
    values: dict[str, list[float]] = {row.name: [] for row in seeds.runs[0].categories}
    for finished in seeds.runs:
        for row in finished.categories:
            value = row.figures.get(setting, {}).get(figure)
            if value is not None:
                values.setdefault(row.name, []).append(value)
    return {name: mean(found) if found else None for name, found in values.items()}

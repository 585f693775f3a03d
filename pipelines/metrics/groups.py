"""The groups of categories over which scores are reported."""

from collections.abc import Iterable, Mapping, Sequence

from pipelines.metrics.harmonic import harmonic_mean
from pipelines.vocabularies.vocabulary import Vocabulary

Summary = dict[str, dict[str, float | int | None]]  # group → score → percent, None where a group is empty


def category_groups(vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The category ids of the groups that are reported, in the vocabulary's order."""
    categories = vocabulary.categories
    return {
        "all": vocabulary.ids,
        "things": [c.id for c in categories if c.isthing],
        "stuff": [c.id for c in categories if not c.isthing],
        "seen": [c.id for c in categories if not c.unseen],
        "unseen": [c.id for c in categories if c.unseen],
    }


def percent_mean(fractions: Iterable[float | None]) -> float | None:
    """The mean of those that are not None, in percent; None where there is none."""
    present = [fraction for fraction in fractions if fraction is not None]
    return 100 * (sum(present) / len(present)) if present else None


def with_harmonic(summary: Summary, groups: Mapping[str, Sequence[int]], scores: Iterable[str]) -> Summary:
    """The summary with its "harmonic" group added where `groups` holds seen and unseen categories.

    It has the harmonic mean of seen and unseen for each of `scores` (None where one of them is), and None for "n".
    """
    if not groups.get("seen") or not groups.get("unseen"):
        return summary
    means = {score: harmonic_mean(summary["seen"][score], summary["unseen"][score]) for score in scores}
    return {**summary, "harmonic": {**means, "n": None}}

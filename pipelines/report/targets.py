"""The published figures that a run may be laid beside: those on the same data, categories and protocol."""

from pipelines.published_tables.published import PublishedResult, published_results
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary


def comparable_results(recipe: Recipe, vocabulary: Vocabulary, figure: str) -> list[PublishedResult]:
    """Published rows of the run's task, vocabulary, split and protocol, all names competing; CONCAT's own first.

    Empty where nothing published can be compared: another data set, or another choice of unseen categories.
    """
    if not _own_split(recipe, vocabulary):
        return []
    split = f"{len(vocabulary.seen)}/{len(vocabulary.unseen)}"
    found = [
        result
        for result in published_results()
        if (result.task, result.vocabulary, result.split) == (recipe.task, recipe.data.vocabulary, split)
        and result.protocol == recipe.data.protocol
        and result.candidates == "generalised"
        and not result.trained_on
        and figure in result.figures.get("harmonic", {})
    ]
    return sorted(found, key=lambda result: (result.method != "CONCAT", result.source))


def _own_split(recipe: Recipe, vocabulary: Vocabulary) -> bool:
    """Whether the unseen categories are those that the shipped vocabulary marks."""
    name = recipe.data.vocabulary
    if name.endswith((".toml", ".json")):
        return False
    return sorted(load_vocabulary(name).unseen.names) == sorted(vocabulary.unseen.names)

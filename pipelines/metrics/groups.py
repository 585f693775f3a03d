"""The groups of categories over which scores are reported."""

from pipelines.vocabulary import Vocabulary

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

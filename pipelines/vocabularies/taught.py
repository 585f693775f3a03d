"""The names that finetuning teaches: the data set's unseen ones, and such as were typed on the spot."""

from collections.abc import Sequence

from pipelines.base.errors import ConcatError
from pipelines.vocabularies.typed_names import parse_names
from pipelines.vocabularies.vocabulary import Category, Vocabulary, clean_name


def taught_vocabulary(typed: Sequence[str], seen: Vocabulary, unseen: Vocabulary, *, unseen_too: bool) -> Vocabulary:
    """The categories to teach, all marked unseen.

    A typed name that the data set knows as unseen is that category; others get ids beyond all of the data set's. The
    order is that of the data set, then that of typing.

    Args:
        typed: names as they were typed.
        seen: the categories of training.
        unseen: the data set's unseen categories.
        unseen_too: all of them are taught, typed or not.

    Raises:
        ConcatError: a typed name was trained on already, or stands twice.
    """
    first_id = max(seen.ids + unseen.ids) + 1
    parsed = parse_names(", ".join(typed), first_id=first_id, known=[unseen]) if typed else []
    trained, known = _spoken(seen), _spoken(unseen)
    wanted: set[int] = set(unseen.ids) if unseen_too else set()
    new: list[Category] = []
    for category in parsed:
        keys = {_key(name) for name in (category.name, *category.spoken)}
        met = next((trained[key] for key in keys if key in trained), None)
        if met is not None:
            raise ConcatError(
                f"{category.name!r} cannot be taught: the run was trained on pictures of {met.name!r}.",
                mend="Leave it out; predict and eval know it already.",
            )
        same = next((known[key] for key in keys if key in known), None)
        if same is not None:
            wanted.add(same.id)
        else:
            new.append(category.model_copy(update={"id": first_id + len(new), "unseen": True}))
    taught = (*(category for category in unseen.categories if category.id in wanted), *new)
    return Vocabulary(name=unseen.name, categories=taught)


def _spoken(vocabulary: Vocabulary) -> dict[str, Category]:
    """Every way to say a category's name → the category."""
    return {_key(name): c for c in vocabulary.categories for name in (c.name, *c.spoken)}


def _key(name: str) -> str:
    return clean_name(name).casefold()

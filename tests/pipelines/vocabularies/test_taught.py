"""Which names finetuning teaches."""

import pytest

from pipelines.base.errors import ConcatError
from pipelines.vocabularies.taught import taught_vocabulary
from pipelines.vocabularies.vocabulary import Category, Vocabulary

SEEN = Vocabulary(
    name="toys",
    categories=(
        Category(id=3, name="wall-brick", isthing=False),
        Category(id=9, name="car", prompt_names=("car", "auto")),
    ),
)
UNSEEN = Vocabulary(
    name="toys",
    categories=(Category(id=4, name="cow", unseen=True), Category(id=12, name="sky-other", isthing=False, unseen=True)),
)


def _taught(*names: str, unseen: bool = True) -> Vocabulary:
    return taught_vocabulary(names, SEEN, UNSEEN, unseen_too=unseen)


def test_the_unseen_names_are_taught_unless_the_recipe_is_inductive() -> None:
    assert _taught() == UNSEEN
    assert _taught(unseen=False).categories == ()


def test_a_typed_name_may_be_the_data_sets_own() -> None:
    assert _taught("Cow", unseen=False).categories == UNSEEN.categories[:1]
    assert _taught("sky", "cow", unseen=False) == UNSEEN  # in the data set's order
    assert _taught("heaven; sky", unseen=False).categories == UNSEEN.categories[1:]
    assert _taught("cow") == UNSEEN


def test_new_names_get_ids_beyond_all_others() -> None:
    taught = _taught("tram", "cow", "lane [stuff]")
    assert [(c.id, c.name, c.isthing, c.unseen) for c in taught.categories[2:]] == [
        (13, "tram", True, True),
        (14, "lane", False, True),
    ]


@pytest.mark.parametrize("name", ["car", "AUTO", "tram; auto", "wall brick"])
def test_a_name_of_training_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConcatError, match="cannot be taught: the run was trained on pictures of"):
        _taught(name)

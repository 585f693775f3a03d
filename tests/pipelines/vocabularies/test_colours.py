from itertools import combinations

from pipelines.vocabularies.colours import with_colours
from pipelines.vocabularies.vocabulary import Category, Vocabulary


def test_categories_without_colour_get_colours_far_apart_and_others_keep_theirs() -> None:
    categories = [Category(id=n, name=str(n), isthing=True) for n in range(1, 81)]
    categories[5] = categories[5].model_copy(update={"color": (1, 2, 3)})
    coloured = with_colours(Vocabulary(name="v", categories=tuple(categories))).categories
    assert coloured[5] == categories[5]
    assert [c.model_copy(update={"color": (0, 0, 0)}) for c in coloured] == [
        c.model_copy(update={"color": (0, 0, 0)}) for c in categories
    ]
    distances = [sum(abs(a - b) for a, b in zip(x.color, y.color, strict=True)) for x, y in combinations(coloured, 2)]
    assert min(distances) > 10

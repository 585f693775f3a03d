from pipelines.metrics.groups import category_groups
from pipelines.vocabularies.vocabulary import Category, Vocabulary


def test_groups_of_a_vocabulary() -> None:
    rows = [(5, True, False), (3, False, False), (9, True, True), (1, False, True)]
    categories = tuple(Category(id=i, name=f"c{i}", isthing=thing, unseen=unseen) for i, thing, unseen in rows)
    groups = category_groups(Vocabulary(name="tiny", categories=categories))
    assert groups == {"all": [5, 3, 9, 1], "things": [5, 9], "stuff": [3, 1], "seen": [5, 3], "unseen": [9, 1]}

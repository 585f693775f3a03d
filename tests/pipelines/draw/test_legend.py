import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.draw.legend import LegendEntry, category_legend, mark_legend
from pipelines.draw.overlay import UNSEEN_COLOUR


def entry(number: int, *, isthing: bool = True, unseen: bool = False) -> LegendEntry:
    return LegendEntry(f"category {number:03d}", (number, 3, 200), isthing, unseen, 10 * number)


def corner(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Top and left of a colour that must be there."""
    ys, xs = np.nonzero((picture == np.array(colour)).all(axis=-1))
    return int(ys.min()), int(xs.min())


def test_groups_stand_below_one_another_unseen_ones_first() -> None:
    entries = [entry(4, isthing=False), entry(3), entry(2, isthing=False, unseen=True), entry(1, unseen=True)]
    picture = np.asarray(category_legend(entries, 800))
    tops = [corner(picture, e.color)[0] for e in sorted(entries, key=lambda e: e.color)]
    assert tops == sorted(tops)
    assert len(set(tops)) == 4
    assert (picture == np.array(UNSEEN_COLOUR)).all(axis=-1).any()
    assert not (np.asarray(category_legend(entries[:2], 800)) == np.array(UNSEEN_COLOUR)).all(axis=-1).any()


def test_a_group_fills_columns_in_alphabetical_order() -> None:
    entries = [entry(number) for number in (5, 3, 1, 2, 4, 6)]
    picture = np.asarray(category_legend(entries, 500))
    corners = [corner(picture, entry(number).color) for number in range(1, 7)]
    assert corners == sorted(corners, key=lambda place: (place[1], place[0]))
    assert len({left for _, left in corners}) > 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.booleans(), st.booleans()), max_size=40, unique_by=lambda e: e[0]),
    st.integers(1, 1500),
)
def test_every_category_has_its_swatch(values: list[tuple[int, bool, bool]], width: int) -> None:
    entries = [entry(number, isthing=thing, unseen=unseen) for number, thing, unseen in values]
    legend = category_legend(entries, width)
    assert legend.width >= width
    picture = np.asarray(legend)
    for each in entries:
        assert (picture == np.array(each.color)).all(axis=-1).sum() > 100


def test_the_line_of_marks_shows_gold() -> None:
    assert (np.asarray(mark_legend()) == np.array(UNSEEN_COLOUR)).all(axis=-1).any()

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.draw.overlay import UNSEEN_COLOUR, LabelledSegment, dimmed, display_size, label_box, overlay, resized

PHOTO = np.full((200, 300, 3), (60, 120, 180), np.uint8)


def segment(identity: int, name: str = "", *, unseen: bool = False, isthing: bool = True) -> LabelledSegment:
    return LabelledSegment(identity, name, (200, 40, 40), unseen, isthing)


def halves() -> np.ndarray:
    """Segment 7 on the left, void in a stripe, segment 9 on the right."""
    ids = np.zeros((200, 300), np.int32)
    ids[:, :140], ids[:, 160:] = 7, 9
    return ids


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=-1)


def test_segments_are_tinted_outlined_and_void_is_grey() -> None:
    picture = overlay(PHOTO, halves(), [segment(7), segment(9, isthing=False)], alpha=0.5, side=300)
    assert picture.shape == (200, 300, 3)
    assert picture.dtype == np.uint8
    assert picture[20, 70].tolist() == [130, 80, 110]  # half photo, half colour
    assert has(picture, (255, 255, 255))[:, 139].all()
    assert not has(picture, (255, 255, 255))[:, 137].any()  # one px wide
    assert picture[100, 150].tolist() == dimmed(PHOTO[:1, :1].astype(np.float32))[0, 0].round().tolist()
    assert len(set(picture[100, 150].tolist())) == 1


def test_alpha_is_the_opacity() -> None:
    clear, full = (overlay(PHOTO, halves(), [segment(7)], alpha=alpha, side=300) for alpha in (0.0, 1.0))
    assert clear[20, 70].tolist() == [60, 120, 180]
    assert full[20, 70].tolist() == [200, 40, 40]


def test_unseen_segments_have_a_golden_outline_and_label() -> None:
    seen = overlay(PHOTO, halves(), [segment(7, "cow"), segment(9, "sheep")], side=300)
    mixed = overlay(PHOTO, halves(), [segment(7, "cow", unseen=True), segment(9, "sheep")], side=300)
    assert not has(seen, UNSEEN_COLOUR).any()
    gold = has(mixed, UNSEEN_COLOUR)
    assert gold[:, 138:140].all()
    assert not gold[:, 140:].any()
    width, height = label_box("★ cow", 9, unseen=True)
    assert gold[:, 10:130].sum() > 0.4 * width * height  # the plate, less its letters


def test_a_name_is_written_inside_its_segment() -> None:
    with_name = overlay(PHOTO, halves(), [segment(7, "cow"), segment(9)], side=300)
    other_name = overlay(PHOTO, halves(), [segment(7, "horse"), segment(9)], side=300)
    ys, xs = np.nonzero((with_name != other_name).any(axis=-1))
    assert len(ys) > 100
    assert xs.max() < 140


def test_the_name_of_a_small_segment_stands_beside_it() -> None:
    ids = np.zeros((200, 300), np.int32)
    ids[100:112, 100:112] = 7
    with_name = overlay(PHOTO, ids, [segment(7, "television")], side=300)
    bare = overlay(PHOTO, np.zeros_like(ids), [], side=300)
    changed = (with_name != bare).any(axis=-1)
    assert changed[:99].any()
    assert with_name[106, 106].tolist() != bare[106, 106].tolist()
    photo_and_colour = 0.45 * np.array([60, 120, 180]) + 0.55 * np.array([200, 40, 40])
    assert with_name[102:110, 102:110].tolist() == np.full((8, 8, 3), photo_and_colour.round()).tolist()


def test_the_name_of_a_scattered_segment_stands_at_its_largest_part() -> None:
    ids = np.zeros((200, 300), np.int32)
    ids[100:112, 20:32] = ids[100:106, 280:286] = 7
    with_name = overlay(PHOTO, ids, [segment(7, "cow")], side=300)
    changed = (with_name != overlay(PHOTO, np.zeros_like(ids), [], side=300)).any(axis=-1)
    assert changed[:99, :60].any()
    assert not changed[:99, 60:].any()


def test_instances_of_a_thing_differ_in_shade_and_parts_of_stuff_do_not() -> None:
    ids = halves()
    things = overlay(PHOTO, ids, [segment(7, "cow"), segment(9, "cow")], side=300)
    stuff = overlay(PHOTO, ids, [segment(7, "sky", isthing=False), segment(9, "sky", isthing=False)], side=300)
    assert things[5, 5].tolist() != things[5, 295].tolist()
    assert stuff[5, 5].tolist() == stuff[5, 295].tolist()


@pytest.mark.parametrize(("height", "width"), [(96, 96), (480, 640), (640, 427), (2, 900), (1, 1)])
def test_the_longer_side_is_as_asked(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    picture = overlay(image, np.ones((height, width), np.int32), [segment(1, "a long name", unseen=True)], side=288)
    assert max(picture.shape) == 288
    assert picture.shape[:2] == display_size(height, width, 288)
    assert resized(image, picture.shape[:2]).shape == picture.shape


def test_enlarging_moves_no_border() -> None:
    ids = np.zeros((20, 20), np.int32)
    ids[:, :8] = 3
    picture = overlay(np.zeros((20, 20, 3), np.uint8), ids, [segment(3)], alpha=1.0, side=200)
    reds = has(picture, (200, 40, 40)) | has(picture, (255, 255, 255))
    assert reds[:, 78].all()
    assert not reds[:, 81:].any()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_any_map_can_be_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    ids = rng.integers(0, 6, (height, width)).astype(np.int32)
    segments = [
        segment(i, f"name {i % 3}", unseen=bool(i % 2), isthing=i < 4) for i in range(1, 9)
    ]  # 6 to 8 are absent
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = overlay(image, ids, segments, side=120)
    assert picture.shape[:2] == display_size(height, width, 120)
    assert np.array_equal(picture, overlay(image, ids, segments, side=120))

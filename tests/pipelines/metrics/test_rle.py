"""The check of run-length strings against pycocotools' own encoder and decoder."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from pipelines.metrics.rle import DamagedMaskError, checked_rle

masks = arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 1))


@given(masks)
@settings(max_examples=200, deadline=None)
def test_what_pycocotools_encodes_passes_unchanged(mask: np.ndarray) -> None:
    rle = coco_mask.encode(np.asfortranarray(mask))
    for counts in (rle["counts"], rle["counts"].decode()):
        checked = checked_rle({"size": list(mask.shape), "counts": counts}, mask.shape)
        assert checked == {"size": list(mask.shape), "counts": rle["counts"]}


@pytest.mark.parametrize("side", [1, 200, 1500])
def test_long_runs_and_noise_pass(side: int) -> None:
    rng = np.random.default_rng(side)
    for mask in (np.zeros((side, side)), np.ones((side, side)), rng.random((side, side)) < 0.5):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert checked_rle(rle, (side, side))["counts"] == rle["counts"]


@given(masks.filter(lambda mask: mask.size > 4), st.binary(min_size=0, max_size=3), st.integers(0, 50), st.booleans())
@example(np.ones((4, 4), np.uint8), b"P", 50, False)  # ends in the middle of a number
@settings(max_examples=300, deadline=None)
def test_a_damaged_string_is_refused_or_still_fills_its_image(
    mask: np.ndarray, junk: bytes, at: int, insert: bool
) -> None:
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    damaged = counts[:at] + junk + counts[at if insert else at + len(junk) :]
    try:
        rle = checked_rle({"size": list(mask.shape), "counts": damaged}, mask.shape)
    except DamagedMaskError:
        return
    again = coco_mask.decode(rle)  # pycocotools raises where runs pass the end of the mask
    assert again.shape == mask.shape
    assert set(np.unique(again)) <= {0, 1}
    assert coco_mask.area(rle) == again.sum()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[0, 0, 4, 0, 4, 4]], "polygon"),
        (None, "no run-length encoding"),
        ({"size": [5, 4], "counts": "0d0"}, r"states the size \[5, 4\] for an image of \[4, 5\]"),
        ({"counts": "0d0"}, "states the size None"),
        ({"size": [4, 5]}, "no string"),
        ({"size": [4, 5], "counts": [0, 20]}, "not compressed"),
        ({"size": [4, 5], "counts": "0c0"}, "do not add up to the 20 px"),
        ({"size": [4, 5], "counts": ""}, "no run-length string"),
        ({"size": [4, 5], "counts": "P"}, "no run-length string"),  # says that more follows, and nothing does
        ({"size": [4, 5], "counts": "0€0"}, "do not add up|no run-length string"),
        ({"size": [4, 5], "counts": b"\xff\x00"}, "no run-length string"),
        ({"size": [4, 5], "counts": "PPPPPPPP0"}, "no run-length string"),
        ({"size": [4, 5], "counts": "4L4"}, "do not add up"),  # a run of −4 px
    ],
)
def test_what_is_no_mask(segmentation: object, message: str) -> None:
    with pytest.raises(DamagedMaskError, match=message):
        checked_rle(segmentation, (4, 5))

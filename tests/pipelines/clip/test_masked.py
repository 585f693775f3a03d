from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_clip import tiny_clip

from pipelines.clip.masked import masked_image

BLACK, MEAN = (0, 0, 0), (123, 117, 104)


@pytest.mark.parametrize("fill", [BLACK, MEAN])
@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_full_paints_over_all_but_the_segment(fill: tuple[int, int, int], seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    image, mask = rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.random((height, width)) < 0.5
    result = np.asarray(masked_image(image, mask, masked="full", fill=fill))
    for row in range(height):
        for column in range(width):
            expected = image[row, column] if mask[row, column] else fill
            assert tuple(result[row, column]) == tuple(expected)


@pytest.mark.parametrize("fill", [BLACK, MEAN])
def test_crop_is_the_box_in_the_middle_of_a_square(fill: tuple[int, int, int]) -> None:
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    mask = np.zeros((5, 6), bool)
    mask[2, 1:5] = mask[3, 1] = True  # a box of 2 × 4 px
    expected = np.full((4, 4, 3), fill, np.uint8)
    expected[1] = image[2, 1:5]
    expected[2, 0] = image[3, 1]
    assert np.array_equal(np.asarray(masked_image(image, mask, masked="crop", fill=fill)), expected)


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_crop_loses_no_pixel_of_the_segment(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    image, mask = rng.integers(1, 256, (height, width, 3), dtype=np.uint8), rng.random((height, width)) < 0.3
    mask[rng.integers(height), rng.integers(width)] = True
    result = np.asarray(masked_image(image, mask, masked="crop", fill=BLACK))
    assert result.shape[0] == result.shape[1]
    assert np.array_equal(result[result.any(axis=2)], image[mask])


def test_clip_sees_a_full_frame_masked_image_as_it_sees_the_image(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (24, 60, 3), dtype=np.uint8)
    everything = masked_image(image, np.ones((24, 60), bool), masked="full", fill=BLACK)
    assert torch.equal(clip.preprocess(everything), clip.preprocess(Image.fromarray(image)))

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.losses.points import StepPoints, read_points, sample_pixels, sample_points, uniform_points


def slow_bilinear(image: torch.Tensor, x: float, y: float) -> float:
    """The value at (x, y) in [0, 1], pixel centres at (i + 0.5) / size, zeros outside."""
    height, width = image.shape
    px, py = x * width - 0.5, y * height - 0.5
    value = 0.0
    for row in range(height):
        for column in range(width):
            value += max(0.0, 1 - abs(px - column)) * max(0.0, 1 - abs(py - row)) * float(image[row, column])
    return value


def test_a_pixels_value_stands_at_its_centre_and_zero_beyond_the_border() -> None:
    image = torch.tensor([[1.0, 3.0]])
    coords = torch.tensor([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5], [0.0, 0.5], [0.0, 0.0]])
    expected = [1.0, 3.0, 2.0, 0.5, 0.25]
    assert sample_points(image[None, None], coords)[0, 0].tolist() == pytest.approx(expected)


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 4), st.integers(0, 7), st.integers(0, 999))
def test_masks_are_read_as_float_maps_are_sampled(height: int, width: int, count: int, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, height, width, generator=generator) > 0.5
    coords = uniform_points(n, generator)
    sampled = read_points(masks, coords)
    torch.testing.assert_close(sampled, sample_points(masks[None].float(), coords)[0], atol=1e-5, rtol=0)
    for mask, values in zip(masks, sampled, strict=True):
        for (x, y), value in zip(coords.tolist(), values.tolist(), strict=True):
            assert value == pytest.approx(slow_bilinear(mask, x, y), abs=1e-5)


def test_coordinates_of_their_own_for_each_map() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, coords = torch.randn(3, 2, 4, 5, generator=generator), torch.rand(3, 6, 2, generator=generator)
    together = sample_points(maps, coords)
    for map_, coords_, sampled in zip(maps, coords, together, strict=True):
        assert torch.equal(sample_points(map_[None], coords_)[0], sampled)


def test_the_pixel_a_point_lies_in() -> None:
    maps = torch.tensor([[[True, False, False], [False, False, True]]])
    coords = torch.tensor([[0.0, 0.0], [0.32, 0.49], [0.34, 0.49], [0.99, 0.51], [1.0, 1.0]])
    assert sample_pixels(maps, coords).tolist() == [[True, True, False, True, True]]


def test_points_derive_from_the_generator_alone() -> None:
    settings_ = {"oversample": 3.0, "importance": 0.75}
    torch.manual_seed(1)
    first = StepPoints.draw(8, generator=torch.Generator().manual_seed(5), **settings_)
    torch.manual_seed(2)
    again = StepPoints.draw(8, generator=torch.Generator().manual_seed(5), **settings_)
    other = StepPoints.draw(8, generator=torch.Generator().manual_seed(6), **settings_)
    assert torch.equal(first.matching, again.matching)
    assert torch.equal(first.pool, again.pool)
    assert not torch.equal(first.pool, other.pool)


@given(st.integers(1, 20), st.floats(1, 4), st.floats(0, 1), st.integers(0, 3))
def test_each_mask_uses_its_most_uncertain_candidates_and_the_common_points(
    n: int, oversample: float, importance: float, count: int
) -> None:
    generator = torch.Generator().manual_seed(n)
    points = StepPoints.draw(n, oversample=oversample, importance=importance, generator=generator)
    logits = torch.randn(count, 6, 6, generator=generator)
    index = points.select(logits)
    uncertain = math.floor(importance * n)
    candidates = math.floor(oversample * n) if uncertain else 0
    assert index.shape == (count, n)
    assert len(points.pool) == candidates + n - uncertain
    values = sample_points(logits[None], points.pool)[0].abs()
    for chosen, value in zip(index, values, strict=True):
        assert chosen[uncertain:].tolist() == list(range(candidates, len(points.pool)))
        assert len(set(chosen.tolist())) == n
        left = set(range(candidates)) - set(chosen[:uncertain].tolist())
        if uncertain and left:
            assert value[chosen[:uncertain]].max() <= min(value[i] for i in left)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_maps_of_any_precision_are_read_alike(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    maps, coords = torch.randn(2, 3, 6, 5, generator=generator).to(dtype), uniform_points(9, generator)
    torch.testing.assert_close(read_points(maps, coords), sample_points(maps, coords), atol=1e-5, rtol=0)

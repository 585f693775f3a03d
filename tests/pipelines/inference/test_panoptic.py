"""The panoptic rule against a per-pixel reference, hand cases and its invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from pipelines.inference.panoptic import PaintedSegment, PanopticPrediction, paint, panoptic, panoptic_variants

THRESHOLDS = {"score_threshold": 0.1, "mask_threshold": 0.5, "overlap_threshold": 0.8}
ISTHING = torch.tensor([True, True, False, False])


def painted(
    scores: list[float], labels: list[int], masks: list[list[float]], **thresholds: float
) -> PanopticPrediction:
    """`paint` of pictures one pixel high."""
    probs = torch.tensor(masks)[:, None]  # K×1×W
    return paint(torch.tensor(scores), torch.tensor(labels), probs, ISTHING, **(THRESHOLDS | thresholds))


def test_the_winner_of_a_pixel_is_the_largest_product() -> None:
    prediction = painted([0.9, 0.5], [0, 1], [[0.9, 0.9, 0.5, 0.1], [0.1, 0.1, 0.9, 0.9]], overlap_threshold=0.0)
    assert prediction.ids.tolist() == [[1, 1, 1, 2]]  # third pixel: 0.9·0.5 = 0.5·0.9 is a tie; the better score has it
    assert prediction.segments == [PaintedSegment(1, 0, pytest.approx(0.9), 3), PaintedSegment(2, 1, 0.5, 1)]


def test_a_pixel_won_outside_the_mask_stays_void() -> None:
    prediction = painted([0.9, 0.2], [0, 1], [[0.9, 0.4], [0.1, 0.9]])
    assert prediction.ids.tolist() == [[1, 0]]  # the second pixel goes to query 0 (0.36 > 0.18), whose mask lacks it
    assert prediction.segments == [PaintedSegment(1, 0, pytest.approx(0.9), 1)]


def test_scores_must_exceed_the_threshold() -> None:
    assert painted([0.25, 0.26], [0, 1], [[0.9, 0.1], [0.1, 0.9]], score_threshold=0.25).ids.tolist() == [[0, 1]]
    nothing = painted([0.25], [0], [[0.9, 0.9]], score_threshold=0.25)
    assert nothing.ids.tolist() == [[0, 0]]
    assert nothing.segments == []


@pytest.mark.parametrize(("overlap", "kept"), [(0.8, True), (0.81, False)])
def test_a_segment_must_win_its_share(overlap: float, kept: bool) -> None:
    prediction = painted([0.5, 0.9], [0, 1], [[0.9] * 5, [0.0] * 4 + [0.9]], overlap_threshold=overlap)
    assert prediction.ids.tolist() == [[2, 2, 2, 2, 1] if kept else [0, 0, 0, 0, 1]]  # query 0 wins 4 px of its 5


def test_stuff_of_one_category_merges_and_things_do_not() -> None:
    masks = torch.eye(5).tolist()
    prediction = painted([0.9, 0.8, 0.7, 0.6, 0.5], [2, 0, 2, 0, 3], masks)
    assert prediction.ids.tolist() == [[1, 2, 1, 3, 4]]
    labels_and_areas = [(s.id, s.label, s.area) for s in prediction.segments]
    assert labels_and_areas == [(1, 2, 2), (2, 0, 1), (3, 0, 1), (4, 3, 1)]
    assert prediction.segments[0].score == pytest.approx(0.9)


def test_empty_masks_make_no_segment() -> None:
    prediction = painted([0.9, 0.8], [0, 1], [[0.3, 0.2], [0.0, 0.9]])
    assert [(s.id, s.label) for s in prediction.segments] == [(1, 1)]


def reference(scores: Tensor, mask_logits: Tensor, size: tuple[int, int], isthing: Tensor) -> tuple[list, set]:
    """Pixel by pixel in plain Python: a label and instance for each pixel, and the segments as a set."""
    height, width = size
    probs = interpolate(mask_logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].sigmoid().numpy()
    queries = [(float(row.max()), int(row.argmax()), k) for k, row in enumerate(scores)]
    queries = [q for q in queries if q[0] > THRESHOLDS["score_threshold"]]
    owner = {}
    for y in range(height):
        for x in range(width):
            if queries:
                owner[y, x] = max(queries, key=lambda q: np.float32(q[0]) * probs[q[2], y, x])
    pixels = [[None] * width for _ in range(height)]
    for query in queries:
        _, label, k = query
        own = [at for at, winner in owner.items() if winner is query]
        mask = [at for at in owner if probs[k][at] >= THRESHOLDS["mask_threshold"]]
        both = set(own) & set(mask)
        if not both or len(own) / len(mask) < THRESHOLDS["overlap_threshold"]:
            continue
        for y, x in both:
            pixels[y][x] = (label, k if isthing[label] else "stuff")
    names = {name for row in pixels for name in row if name}
    return pixels, {(name[0], sum(row.count(name) for row in pixels)) for name in names}


def random_scene(seed: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Blobs, some of them twice, with class probabilities from sure to hopeless."""
    random = torch.Generator().manual_seed(seed)
    queries = int(torch.randint(0, 12, (1,), generator=random))
    centres = torch.rand(queries, 2, generator=random)
    radii = 0.1 + 0.4 * torch.rand(queries, generator=random)
    if queries > 3:
        centres[1], radii[1] = centres[0], radii[0]
    grid = torch.stack(torch.meshgrid(torch.arange(6) / 5, torch.arange(8) / 7, indexing="ij"), dim=-1)
    distances = (grid[None] - centres[:, None, None]).norm(dim=-1)  # K×6×8
    logits = 20 * (radii[:, None, None] - distances) + 0.5 * torch.randn(queries, 6, 8, generator=random)
    scores = torch.rand(queries, 4, generator=random) ** 3
    return scores, logits, (12, 20)


def pixels_of(prediction: PanopticPrediction) -> list:
    labels = {s.id: s.label for s in prediction.segments}
    return [[(labels[i], i) if i else None for i in row] for row in prediction.ids.tolist()]


def same_partition(ours: list, theirs: list) -> bool:
    pairs = {(a, b) for row_a, row_b in zip(ours, theirs, strict=True) for a, b in zip(row_a, row_b, strict=True)}
    one_to_one = len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    return one_to_one and all((a is None) == (b is None) and (a is None or a[0] == b[0]) for a, b in pairs)


def test_equals_the_reference_pixel_by_pixel() -> None:
    segments = voids = 0
    for seed in range(60):
        scores, logits, size = random_scene(seed)
        prediction = panoptic(scores, logits, size, ISTHING, **THRESHOLDS)
        pixels, expected = reference(scores, logits, size, ISTHING)
        assert same_partition(pixels_of(prediction), pixels), seed
        assert {(s.label, s.area) for s in prediction.segments} == expected
        segments, voids = segments + len(prediction.segments), voids + int((prediction.ids == 0).sum())
    assert segments > 60
    assert voids > 60


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_invariants(seed: int) -> None:
    scores, logits, size = random_scene(seed)
    prediction = panoptic(scores, logits, size, ISTHING, **THRESHOLDS)
    ids, areas = np.unique(prediction.ids, return_counts=True)
    assert prediction.ids.dtype == np.int32
    assert prediction.ids.shape == size
    assert {s.id: s.area for s in prediction.segments} == {
        i: a for i, a in zip(ids.tolist(), areas.tolist(), strict=True) if i
    }
    assert [s.id for s in prediction.segments] == list(range(1, len(prediction.segments) + 1))
    stuff = [s.label for s in prediction.segments if not ISTHING[s.label]]
    assert len(stuff) == len(set(stuff))
    assert all(s.score > THRESHOLDS["score_threshold"] for s in prediction.segments)
    found = [s.score for s in prediction.segments]
    assert found == sorted(found, reverse=True)


@given(seed=st.integers(0, 10**6), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_queries_is_forgotten(seed: int, shuffle) -> None:
    scores, logits, size = random_scene(seed)
    order = list(range(len(scores)))
    shuffle.shuffle(order)
    one = panoptic(scores, logits, size, ISTHING, **THRESHOLDS)
    other = panoptic(scores[order], logits[order], size, ISTHING, **THRESHOLDS)
    assert np.array_equal(one.ids, other.ids)
    assert one.segments == other.segments


def test_variants_equal_predictions_made_one_by_one() -> None:
    for seed in range(20):
        scores, logits, size = random_scene(seed)
        variants = [scores, scores.roll(1, dims=1), 0.5 * scores.flip(0), torch.zeros_like(scores)]
        together = panoptic_variants(variants, logits, size, ISTHING, **THRESHOLDS)
        for variant, prediction in zip(variants, together, strict=True):
            alone = panoptic(variant, logits, size, ISTHING, **THRESHOLDS)
            assert np.array_equal(prediction.ids, alone.ids)
            assert prediction.segments == alone.segments

"""Instance inference against an obvious version, hand cases and its invariants."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from pipelines.inference.instance import PredictedInstance, instance_variants, instances
from pipelines.inference.masks import Padding, resize_masks

ISTHING = torch.tensor([True, False, True, True])


def scene(seed: int, queries: int = 9) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    offsets = torch.linspace(-6, 4, queries)[:, None, None]  # the first masks are empty, the last ones large
    return torch.rand(queries, 4, generator=random), offsets + 2 * torch.randn(queries, 6, 8, generator=random)


def reference(scores: Tensor, logits: Tensor, size: tuple[int, int], top: int, padding: Padding | None) -> list[tuple]:
    """Every pair, one after the other."""
    pairs = [(float(scores[k, n]), k, n) for k in range(len(scores)) for n in range(4) if ISTHING[n]]
    found = []
    for score, k, n in sorted(pairs, key=lambda pair: -pair[0])[:top]:
        probs = resize_masks(logits, size, padding)[k].double().numpy()
        if (probs > 0.5).any():
            found.append((score * probs[probs > 0.5].mean(), n, probs > 0.5))
    return sorted(found, key=lambda row: -row[0])


def decoded(instance: PredictedInstance) -> np.ndarray:
    return coco_mask.decode(instance.rle).astype(bool)


@pytest.mark.parametrize("padding", [None, Padding(input=(24, 32), content=(20, 29))])
@pytest.mark.parametrize("top", [100, 5, 1])
def test_equals_the_reference(top: int, padding: Padding | None) -> None:
    empty = 0
    for seed in range(10):
        scores, logits = scene(seed)
        found = instances(scores, logits, (15, 22), ISTHING, top=top, padding=padding)
        expected = reference(scores, logits, (15, 22), top, padding)
        assert [instance.label for instance in found] == [label for _, label, _ in expected]
        assert [instance.score for instance in found] == pytest.approx([score for score, _, _ in expected], rel=1e-6)
        assert all(np.array_equal(decoded(i), mask) for i, (_, _, mask) in zip(found, expected, strict=True))
        empty += min(top, 27) - len(found)
    assert empty > 0 or top == 1


def test_by_hand() -> None:
    logits = torch.full((2, 4, 5), -10.0)
    logits[0, 1:3, 2:5] = 10.0
    scores = torch.tensor([[0.5, 0.9, 0.0, 0.25], [0.9, 0.0, 0.0, 0.0]])  # query 1 has no mask; label 1 is stuff
    found = instances(scores, logits, (4, 5), ISTHING, top=3)
    assert [(i.label, i.score) for i in found] == [
        (0, pytest.approx(0.5, rel=1e-4)),
        (3, pytest.approx(0.25, rel=1e-4)),
    ]
    assert found[0].box == (2.0, 1.0, 3.0, 2.0)
    assert decoded(found[0]).sum() == 6
    assert json.loads(json.dumps(found[0].rle)) == found[0].rle


def test_variants_equal_predictions_made_one_by_one() -> None:
    scores, logits = scene(1)
    variants = [scores, scores.flip(0), 0 * scores]
    together = instance_variants(variants, logits, (30, 40), ISTHING, top=10)
    assert together == [instances(variant, logits, (30, 40), ISTHING, top=10) for variant in variants]


def test_without_things_or_queries_there_are_no_instances() -> None:
    scores, logits = scene(2)
    assert instances(scores, logits, (6, 8), torch.zeros(4, dtype=torch.bool)) == []
    assert instances(scores[:0], logits[:0], (6, 8), ISTHING) == []

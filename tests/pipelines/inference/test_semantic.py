"""Semantic inference against the obvious einsum, and its memory."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.inference import semantic
from pipelines.inference.masks import Padding, resize_masks, resize_rows
from pipelines.inference.semantic import semantic_variants

PADDED = Padding(input=(24, 32), content=(20, 29))


def scene(seed: int, queries: int = 7, categories: int = 5) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(queries, categories, generator=random), 4 * torch.randn(queries, 6, 8, generator=random)


def same_but_for_ties(labels: np.ndarray, scores: Tensor, mask_probs: Tensor) -> bool:
    """Whether every pixel has a best category, give or take float32's last digits."""
    votes = torch.einsum("kn,khw->nhw", scores, mask_probs)
    chosen = votes.gather(0, torch.from_numpy(labels).long()[None])[0]
    return bool(torch.allclose(chosen, votes.max(dim=0).values, rtol=0, atol=1e-5))


@pytest.mark.parametrize("padding", [None, PADDED])
@pytest.mark.parametrize("size", [(12, 17), (40, 58), (5, 6), (1, 1)])
@pytest.mark.parametrize("strip", [1, 3000, 2**22])
def test_equals_the_einsum(
    size: tuple[int, int], padding: Padding | None, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "_STRIP_FLOATS", strip)
    agreed = total = 0
    for seed in range(5):
        scores, logits = scene(seed)
        variants = [scores, scores.flip(1), scores[:, :3]]
        found = semantic_variants(variants, logits, size, padding)
        mask_probs = resize_masks(logits, size, padding)
        for variant, labels in zip(variants, found, strict=True):
            assert labels.dtype == np.int32
            assert labels.shape == size
            assert same_but_for_ties(labels, variant, mask_probs)
            expected = torch.einsum("kn,khw->nhw", variant, mask_probs).argmax(dim=0).numpy()
            agreed, total = agreed + int((labels == expected).sum()), total + labels.size
    assert agreed >= 0.999 * total


def test_by_hand() -> None:
    # One picture row; logits of ±10 are masks of 1 and 0. Pixel 2 lies in both masks: 0.6 + 0.3 > 0.4 + 0.3.
    logits = torch.tensor([[[10.0, -10.0, 10.0]], [[-10.0, 10.0, 10.0]]])
    scores = torch.tensor([[0.6, 0.4, 0.0], [0.3, 0.3, 0.35]])
    assert semantic_variants([scores], logits, (1, 3))[0].tolist() == [[0, 2, 0]]


def test_no_variant_hears_of_another() -> None:
    scores, logits = scene(3)
    together = semantic_variants([scores, scores.roll(1, 1)], logits, (20, 20))
    assert np.array_equal(together[0], semantic_variants([scores], logits, (20, 20))[0])
    assert np.array_equal(together[1], (together[0] + 1) % 5)


@pytest.mark.parametrize("padding", [None, PADDED])
def test_strips_are_those_of_the_resized_masks(padding: Padding | None) -> None:
    logits = scene(0)[1]
    for size in ((33, 50), (7, 9), (6, 8), (20, 29)):
        whole = resize_masks(logits, size, padding)
        cuts = [0, 1, size[0] // 2, size[0] - 1, size[0]]
        strips = [resize_rows(logits, size, padding, top=a, bottom=b) for a, b in pairwise(cuts)]
        assert torch.allclose(torch.cat(strips, dim=1), whole, rtol=0, atol=1e-5)


def test_a_large_picture_with_many_names_stays_below_a_gigabyte() -> None:
    script = """
import torch
from pathlib import Path
from pipelines.inference.masks import Padding
from pipelines.inference.semantic import semantic_variants
torch.set_num_threads(1)
logits = torch.randn(100, 200, 256)
semantic_variants([torch.rand(100, 150)], logits, (2000, 1500), Padding((800, 1024), (800, 600)))
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000

"""train-con's losses: whose CLIP tokens a sample is compared with."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipelines.clip.store import ImageTokens
from pipelines.data.formats.sample import Sample
from pipelines.losses.build import build_alignments
from pipelines.losses.matching import Assignment
from pipelines.recipes.con import ConSettings
from pipelines.stages.train_con import ConLosses

DIM = 4


def _unit(*shape: int) -> Tensor:
    return normalize(torch.randn(*shape, DIM), dim=-1)


def _sample(*, mirrored: bool) -> Sample:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, 4:] = True, True
    image, ignore = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.bool)
    sample = Sample(7, image, masks, torch.tensor([0, 1]), torch.tensor([11, 12]), ignore)
    return sample.flipped() if mirrored else sample


def _alignments(images: list[Tensor], segments: list[Tensor], *, mirrored: bool) -> tuple[float, float]:
    """CGA and CIA of one image whose two segments were matched by the first two of three queries."""
    store = ImageTokens({7: 0}, tuple(images), torch.tensor([11, 12]), tuple(segments), [0, 2], Path("store"))
    torch.manual_seed(1)
    settings = ConSettings()
    alignments = build_alignments(settings.alignment, text_dim=DIM)
    alignments["cga"].bank.push(_unit(3))
    losses = ConLosses(settings, _unit(5), store, alignments, seed=0)
    zero = torch.zeros(2, dtype=torch.int64)
    matched, samples = Assignment(zero, torch.tensor([0, 1]), torch.tensor([0, 1]), 1, 3), [_sample(mirrored=mirrored)]
    semantic = torch.randn(1, 3, DIM)
    given = losses.compared(semantic, matched, samples)
    return float(alignments["cga"](given)), float(alignments["cia"](given))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_sample_is_compared_with_mirrored_tokens(mirrored: bool) -> None:
    torch.manual_seed(0)
    images, segments = [_unit(1), _unit(1)], [_unit(2), _unit(2)]
    own = images[mirrored : mirrored + 1], segments[mirrored : mirrored + 1]
    both = _alignments(images, segments, mirrored=mirrored)
    assert both == _alignments(*own, mirrored=False)
    assert both == _alignments(*own, mirrored=True)  # a store of one view serves both
    assert both != _alignments(images, segments, mirrored=not mirrored)

"""train-con's objective: whose CLIP tokens a sample is compared with, and a step computed in parts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipelines.base.errors import ConcatError
from pipelines.base.progress import SilentReporter
from pipelines.clip.store import ImageTokens
from pipelines.data.formats.sample import Sample
from pipelines.losses.build import build_alignments
from pipelines.models.extractor import Extractor
from pipelines.recipes.con import ConSettings
from pipelines.recipes.load import load_recipe
from pipelines.stages.con_objective import ConObjective, parts_of_step
from pipelines.stages.train_con import part_size_of
from pipelines.training.processes import Processes

DIM, NAMES, SIZE = 4, 5, 64
CPU = torch.device("cpu")


def _unit(*shape: int) -> Tensor:
    return normalize(torch.randn(*shape, DIM), dim=-1)


def _sample(image_id: int, segments: int, *, mirrored: bool = False) -> Sample:
    """An image of horizontal stripes."""
    random = torch.Generator().manual_seed(image_id)
    owner = (torch.arange(SIZE) * (segments + 1) // SIZE)[:, None].expand(SIZE, SIZE)
    return Sample(
        image_id,
        torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=random),
        torch.stack([owner == number for number in range(segments)]) if segments else torch.zeros(0, SIZE, SIZE) > 0,
        torch.randint(0, NAMES, (segments,), generator=random),
        10 * image_id + torch.arange(segments),
        owner == segments,
        mirrored=mirrored,
    )


def _store(samples: list[Sample], *, views: int = 1) -> ImageTokens:
    torch.manual_seed(3)
    offsets = torch.tensor([0, *(len(s.labels) for s in samples)]).cumsum(0).tolist()
    ids = torch.cat([s.segment_ids for s in samples])
    rows = {s.image_id: row for row, s in enumerate(samples)}
    images, segments = ([_unit(n) for _ in range(views)] for n in (len(samples), len(ids)))
    return ImageTokens(rows, tuple(images), ids, tuple(segments), offsets, Path("store"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_sample_is_compared_with_mirrored_tokens(mirrored: bool) -> None:
    sample = _sample(7, 2, mirrored=mirrored)
    how = {"size": 1, "queries": 3, "processes": Processes(), "device": CPU}
    both = _store([sample], views=2)
    (part,) = parts_of_step(0, [sample], both, **how)
    torch.testing.assert_close(part.tokens.images, both.images[mirrored])
    assert torch.equal(part.tokens.segments, both.segments[mirrored])
    one = _store([sample])
    (part,) = parts_of_step(0, [sample], one, **how)
    assert torch.equal(part.tokens.segments, one.segments[0])  # a store of one view serves both


SETTINGS = (
    "con.segmentor.hidden_dim=32",
    "con.segmentor.batch_norm=frozen",
    "con.segmentor.queries=4",
    "con.segmentor.decoder_layers=2",
    "con.matching.points=200",
    "con.matching.oversample=2.0",
    "con.matching.importance=0.5",
    "con.alignment.cga.bank_size=3",
)


def _objective(changes: tuple[str, ...]) -> tuple[ConObjective, ConSettings]:
    torch.manual_seed(0)
    settings = load_recipe("smoke", (*SETTINGS, *changes)).con
    extractor = Extractor(settings, DIM, load_backbone=False)
    alignments = build_alignments(settings.alignment, text_dim=DIM)
    alignments["cga"].bank.push(_unit(2))
    return ConObjective(extractor, alignments, settings, _unit(NAMES), seed=0).train(), settings


def _step(
    changes: tuple[str, ...], counts: list[int], size: int
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Losses, gradients and the bank after a step in parts of `size` images."""
    objective, settings = _objective(changes)
    objective.extractor.segmentor.double()  # some gradients are zero but for rounding
    samples = [_sample(number, count) for number, count in enumerate(counts, start=1)]
    parts = parts_of_step(
        2, samples, _store(samples), size=size, queries=settings.segmentor.queries, processes=Processes(), device=CPU
    )
    sums: dict[str, Tensor] = {}
    for part in parts:
        losses = objective(part)
        torch.stack(list(losses.values())).sum().backward()
        sums = {name: sums.get(name, torch.zeros(())) + value.detach() for name, value in losses.items()}
    objective.end_step(parts[-1].tokens)
    gradients = {name: own.grad for name, own in objective.named_parameters() if own.grad is not None}
    return sums, gradients, objective.alignments["cga"].bank.tokens


@pytest.mark.parametrize("classification", ["focal", "softmax"])
@pytest.mark.parametrize("negatives", ["image", "batch"])
@pytest.mark.parametrize(("counts", "size"), [([2, 0, 3, 1], 1), ([2, 0, 3, 1], 3), ([6, 2, 0], 2), ([0, 0], 1)])
def test_a_step_in_parts_is_the_whole_step(classification: str, negatives: str, counts: list[int], size: int) -> None:
    """Empty images, and one with more segments than queries, among them."""
    changes = (f"con.matching.classification={classification}", f"con.alignment.cia.negatives={negatives}")
    whole, of_whole, bank = _step(changes, counts, len(counts))
    parts, of_parts, same = _step(changes, counts, size)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-6, atol=1e-6)
    assert of_whole.keys() == of_parts.keys()
    scale = torch.stack([own.norm() for own in of_whole.values()]).norm()
    for name, own in of_whole.items():
        assert (of_parts[name] - own).norm() <= 1e-5 * own.norm() + 1e-8 * scale, name
    assert torch.equal(bank, same)


def test_layers_computed_again_give_the_same_gradients() -> None:
    objective, settings = _objective(())
    samples = [_sample(1, 2), _sample(2, 3)]
    gradients = []
    for again in (False, True):
        if again:
            objective.extractor.segmentor.checkpoint_layers()
        objective.zero_grad()
        (part,) = parts_of_step(
            0, samples, _store(samples), size=2, queries=settings.segmentor.queries, processes=Processes(), device=CPU
        )
        torch.stack(list(objective(part).values())).sum().backward()
        gradients.append([own.grad for own in objective.parameters() if own.grad is not None])
    assert all(torch.equal(own, other) for own, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("classification", ["focal", "softmax"])
def test_no_loss_is_computed_in_half_precision(classification: str) -> None:
    objective, settings = _objective((f"con.matching.classification={classification}",))
    samples = [_sample(1, 2), _sample(2, 3)]
    (part,) = parts_of_step(
        0, samples, _store(samples), size=2, queries=settings.segmentor.queries, processes=Processes(), device=CPU
    )
    with torch.no_grad():
        output = objective.extractor(torch.stack([sample.image for sample in samples]))
    objective.extractor.forward = lambda images: output
    plain = objective(part)
    with torch.autocast("cpu", torch.bfloat16):
        halved = objective(part)
    for name, value in plain.items():
        assert halved[name].dtype == torch.float32
        assert torch.equal(halved[name], value), name


def test_parts_of_a_step_need_frozen_batch_norms() -> None:
    with pytest.raises(ConcatError, match="batch norms learn from the images that are together"):
        part_size_of(load_recipe("smoke", ("con.images_per_forward=2",)).con, Processes(), SilentReporter())
    frozen = load_recipe("smoke", ("con.segmentor.batch_norm=frozen", "con.images_per_forward=2")).con
    assert part_size_of(frozen, Processes(), SilentReporter()).size == 2
    assert part_size_of(frozen, Processes(1, 8), SilentReporter()).size == 1

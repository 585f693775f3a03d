"""L_1 of train-con (CONCAT eq. 9), a step in one part or in several."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipelines.base.seeding import derive_seed
from pipelines.clip.store import ImageTokens
from pipelines.data.formats.sample import Sample
from pipelines.losses.alignment import AlignmentInput, StepTokens
from pipelines.losses.matching import MatchingLoss
from pipelines.losses.step_totals import StepTotals
from pipelines.models.extractor import Extractor
from pipelines.recipes.con import ConSettings
from pipelines.training.processes import Processes

NAME = "train-con"


class Part:
    """Some images of a step, as many as a device holds at once, and what they have to know of the rest.

    No dataclass, since lightning-fabric would look inside for floats to convert.

    Args:
        samples: the images, on the CPU until the objective is computed.
        step: number of the step, from 0.
        first_image, first_segment: where the part's images and their segments begin among those of the step.
        tokens: what CLIP saw in the images of the whole step.
        totals: counts of the whole step.
    """

    def __init__(
        self,
        samples: list[Sample],
        *,
        step: int,
        first_image: int,
        first_segment: int,
        tokens: StepTokens,
        totals: StepTotals,
    ) -> None:
        self.samples, self.step, self.tokens, self.totals = samples, step, tokens, totals
        self.first_image, self.first_segment = first_image, first_segment


class ConObjective(nn.Module):
    """L_1 = λ_g L_CGA + λ_c L_CIA + L_match (eq. 9), and whatever alignments a recipe adds.

    The extractor runs in the precision that is set around it, all losses in fp32.

    Args:
        text: embeddings of the seen names, N×C.
        seed: of the points at which masks are compared.
    """

    text: Tensor

    def __init__(
        self, extractor: Extractor, alignments: nn.ModuleDict, settings: ConSettings, text: Tensor, *, seed: int
    ) -> None:
        super().__init__()
        self.extractor, self.alignments, self.settings, self.seed = extractor, alignments, settings, seed
        self.register_buffer("text", text, persistent=False)
        self.matching = MatchingLoss(**settings.matching.model_dump())

    def forward(self, part: Part) -> dict[str, Tensor]:
        """The weighted losses of a part of a step, by name; those of all parts sum to the losses of the step."""
        device, samples = self.text.device, part.samples
        images = torch.stack([sample.image for sample in samples])
        output = self.extractor(images.to(device, non_blocking=True))
        with torch.autocast(device.type, enabled=False):
            head = self.extractor.head
            semantic = [head.projector(queries.float()) for queries in output.queries]  # L × (B×K×C)
            logits = [head.classifier(own, self.text) for own in semantic]  # L × (B×K×N)
            if self.settings.matching.classification == "softmax":
                logits = [head.classifier.with_no_object(own) for own in logits]
            losses, assignment = self.matching(
                logits,
                output.mask_logits,
                masks=[s.masks.to(device, non_blocking=True) for s in samples],
                labels=[s.labels.to(device, non_blocking=True) for s in samples],
                ignore=[s.ignore.to(device, non_blocking=True) for s in samples],
                generator=torch.Generator().manual_seed(derive_seed(self.seed, NAME, "points", part.step)),
                totals=part.totals,
            )
            given = AlignmentInput(
                semantic[-1],
                assignment.image[-1],
                assignment.query[-1],
                segment=part.first_segment + assignment.rows([len(s.labels) for s in samples])[-1],
                tokens=part.tokens,
                first_image=part.first_image,
                totals=part.totals,
            )
            for name, alignment in self.alignments.items():
                losses[name] = self.settings.alignment[name].weight * alignment(given)
        return losses

    def end_step(self, tokens: StepTokens) -> None:
        """Tells the alignments that wait for it that a step's last part is done."""
        for alignment in self.alignments.values():
            end: Callable[[StepTokens], None] | None = getattr(alignment, "end_step", None)
            if end is not None:
                end(tokens)


class _Seen(NamedTuple):
    """Which tokens an image of a step has: as it was cropped and mirrored."""

    image_id: int
    view: int
    segment_ids: list[int]


def parts_of_step(
    step: int,
    samples: list[Sample],
    tokens: ImageTokens,
    *,
    size: int,
    queries: int,
    processes: Processes,
    device: torch.device,
) -> list[Part]:
    """The parts of a step that this process computes.

    Args:
        samples: this process's images of the step.
        tokens: what CLIP saw, of all images.
        size: images of a part, at most.
        queries: K.
        processes: those that share the step; each must ask.
        device: where the tokens go; images follow part by part, when the objective is computed.
    """
    said = processes.gather([_Seen(s.image_id, _view(s, tokens), s.segment_ids.tolist()) for s in samples])
    seen = [image for of_rank in said for image in of_rank]
    counts = [len(image.segment_ids) for image in seen]
    images = torch.stack([tokens.image_token(image.image_id, image.view) for image in seen]).float()
    segments = torch.cat([tokens.tokens_for(i.image_id, i.segment_ids, i.view) for i in seen]).float()
    owner = torch.arange(len(seen)).repeat_interleave(torch.tensor(counts))
    known = StepTokens(normalize(images, dim=-1).to(device), segments.to(device), owner.to(device))
    totals = StepTotals.of_counts(counts, queries=queries)
    before = sum(len(of_rank) for of_rank in said[: processes.rank])
    return [
        Part(
            samples[first : first + size],
            step=step,
            first_image=before + first,
            first_segment=sum(counts[: before + first]),
            tokens=known,
            totals=totals,
        )
        for first in range(0, len(samples), size)
    ]


def _view(sample: Sample, tokens: ImageTokens) -> int:
    """The mirrored tokens for a mirrored sample, if the store has them."""
    return int(sample.mirrored and tokens.views > 1)

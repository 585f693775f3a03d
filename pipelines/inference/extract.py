"""Images through the trained extractor, neighbours of one size together; and which query shows which segment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pipelines.base.seeding import derive_seed
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.settings import InputSettings
from pipelines.data.loading.transforms import test_transform
from pipelines.inference.masks import Padding
from pipelines.losses.matching import MatchingLoss
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.projector import ProjectionHead


@dataclass(frozen=True)
class Extracted:
    """What the extractor says of one image.

    Attributes:
        sample: the image as read (mirrored, if asked for), with its segments at full size.
        queries: V, K×D, fp32.
        mask_logits: M, K×h×w, fp32, of the padded input.
        padding: the part of that input which is image.
    """

    sample: Sample
    queries: Tensor
    mask_logits: Tensor
    padding: Padding

    def content_logits(self) -> Tensor:
        """Mask logits of the image alone, K×h'×w'."""
        if self.padding.content == self.padding.input:
            return self.mask_logits
        height, width = self.padding.content
        logits = interpolate(self.mask_logits[None], size=self.padding.input, mode="bilinear", align_corners=False)
        return logits[0, :, :height, :width]


@torch.no_grad()
def extract(
    model: nn.Module,
    data: LabelledImages,
    indices: Sequence[int],
    *,
    input: InputSettings,
    batch_size: int,
    device: torch.device,
    mirrored: bool = False,
) -> Iterator[Extracted]:
    """Yields one `Extracted` an image.

    Args:
        model: the extractor, in evaluation mode.
        mirrored: mirror images and segments first, the second view of a dump.
    """
    waiting: list[tuple[Sample, Tensor, tuple[int, int]]] = []
    for index in indices:
        sample = data.sample(index)
        sample = sample.flipped() if mirrored else sample
        image, content = test_transform(sample.image, short=input.test_short, long=input.test_long)
        if waiting and (len(waiting) == batch_size or waiting[0][1].shape != image.shape):
            yield from _forward(model, waiting, device)
            waiting = []
        waiting.append((sample, image, content))
    if waiting:
        yield from _forward(model, waiting, device)


class Assigner:
    """σ̂ of a trained extractor: the Hungarian assignment of its last layer, at points that derive from seed and image.

    Args:
        head: projector and classifier.
        text: embeddings of the names that labels are indices of, N×C.
    """

    def __init__(self, head: ProjectionHead, text: Tensor, settings: MatchingSettings, seed: int) -> None:
        self.head, self.text, self.seed = head, text, seed
        self.softmax = settings.classification == "softmax"
        self.loss = MatchingLoss(**settings.model_dump())

    @torch.no_grad()
    def __call__(self, extracted: Extracted) -> tuple[Tensor, Tensor]:
        """The label (−1: ∅) and the segment id (−1: none) of every query, each int64, K."""
        sample, device = extracted.sample, self.text.device
        _, logits = self.head(extracted.queries[None], self.text)  # 1×K×N
        logits = self.head.classifier.with_no_object(logits) if self.softmax else logits
        points = torch.Generator().manual_seed(derive_seed(self.seed, "assign", sample.image_id))
        assignment = self.loss.assign(
            logits,
            extracted.content_logits()[None],
            masks=[sample.masks.to(device)],
            labels=[sample.labels.to(device)],
            ignore=[sample.ignore.to(device)],
            generator=points,
        )
        labels = assignment.of_queries([sample.labels.to(device)])[0, 0]
        return labels.cpu(), assignment.of_queries([sample.segment_ids.to(device)])[0, 0].cpu()


def _forward(
    model: nn.Module, waiting: list[tuple[Sample, Tensor, tuple[int, int]]], device: torch.device
) -> Iterator[Extracted]:
    output = model(torch.stack([image for _, image, _ in waiting]).to(device))
    for row, (sample, image, content) in enumerate(waiting):
        yield Extracted(
            sample=sample,
            queries=output.queries[-1][row].float(),
            mask_logits=output.mask_logits[-1][row].float(),
            padding=Padding(input=(image.shape[1], image.shape[2]), content=content),
        )

"""Images through the trained extractor, in order, neighbours of one size together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.data.dataset import PanopticFolder
from pipelines.data.sample import Sample
from pipelines.data.transforms import test_transform
from pipelines.extractor import Extractor
from pipelines.inference import Padding
from pipelines.recipe import InputSettings


@dataclass(frozen=True)
class Extracted:
    """What the extractor says of one image.

    Attributes:
        sample: the image as read, with its segments at full size.
        queries: K×D. mask_logits: K×h×w, of the padded input.
        padding: the part of that input which is image.
    """

    sample: Sample
    queries: Tensor
    mask_logits: Tensor
    padding: Padding


@torch.inference_mode()
def extract(extractor: Extractor, data: PanopticFolder, indices: Sequence[int], *, input: InputSettings,
            batch_size: int, device: torch.device, flipped: bool = False) -> Iterator[Extracted]:
    """Yields one `Extracted` an image.

    Args:
        flipped: mirror images and segments first (the second view of the dump).
    """
    waiting: list[tuple[Sample, Tensor, tuple[int, int]]] = []
    for index in indices:
        sample = data.sample(index)
        if flipped:
            sample = sample.flipped()
        image, content = test_transform(sample.image, short=input.test_short, long=input.test_long)
        if waiting and (len(waiting) == batch_size or waiting[0][1].shape != image.shape):
            yield from _forward(extractor, waiting, device)
            waiting = []
        waiting.append((sample, image, content))
    if waiting:
        yield from _forward(extractor, waiting, device)


def _forward(extractor: Extractor, waiting: list[tuple[Sample, Tensor, tuple[int, int]]], device: torch.device
             ) -> Iterator[Extracted]:
    images = torch.stack([image for _, image, _ in waiting]).to(device)
    output = extractor(images)
    for row, (sample, image, content) in enumerate(waiting):
        yield Extracted(sample, output.queries[-1][row].float(), output.mask_logits[-1][row].float(),
                        Padding((image.shape[1], image.shape[2]), content))

"""Made-up images, tokens and queries of the sizes that a recipe asks for: to time a stage without its inputs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipelines.clip.store import ImageTokens
from pipelines.data.formats.sample import Sample
from pipelines.generators.dump import QueryBatch

_BLOCKS = 8  # a side


@dataclass(frozen=True)
class MadeUpImages:
    """As many images as are asked for, each of noise with segments of blocks.

    Args:
        height, width: px.
        segments: of each image, at most 64.
        names: labels are indices of so many.
    """

    height: int
    width: int
    segments: int
    names: int

    def sample(self, index: int) -> Sample:
        """The image of a number, the same whenever it is asked for."""
        random = torch.Generator().manual_seed(index)
        segments = min(max(self.segments, 1), _BLOCKS**2)
        blocks = (torch.arange(_BLOCKS**2) % segments).view(_BLOCKS, _BLOCKS)
        rows, columns = (torch.arange(side) * _BLOCKS // side for side in (self.height, self.width))
        owner = blocks[rows][:, columns]  # H×W
        return Sample(
            image_id=index,
            image=torch.randint(0, 256, (3, self.height, self.width), dtype=torch.uint8, generator=random),
            masks=owner == torch.arange(segments)[:, None, None],
            labels=torch.randint(0, self.names, (segments,), generator=random),
            segment_ids=torch.arange(1, segments + 1),
            ignore=torch.zeros(self.height, self.width, dtype=torch.bool),
        )


def made_up_tokens(samples: list[Sample], dim: int) -> ImageTokens:
    """CLS tokens (C = `dim`) of the samples and of their segments, at random."""
    ids = torch.cat([sample.segment_ids for sample in samples])
    offsets = torch.tensor([0, *(len(sample.labels) for sample in samples)]).cumsum(0).tolist()
    images, segments = torch.randn(len(samples), dim).half(), torch.randn(len(ids), dim).half()
    rows = {sample.image_id: row for row, sample in enumerate(samples)}
    return ImageTokens(rows, (images,), ids, (segments,), offsets, Path("made up"))


def made_up_queries(images: int, *, queries: int, dim: int, matched: int, names: int) -> QueryBatch:
    """Queries (B×K×D) at random, of which the first `matched` of each image show a segment."""
    labels = torch.randint(0, names, (images, queries))
    labels[:, min(max(matched, 1), queries) :] = -1
    index = torch.arange(images)[:, None].expand_as(labels)
    return QueryBatch(torch.randn(images, queries, dim), labels, labels >= 0, index)


def made_up_text(names: int, dim: int) -> Tensor:
    """Text embeddings, N×C, unit length."""
    return torch.nn.functional.normalize(torch.randn(names, dim), dim=-1)

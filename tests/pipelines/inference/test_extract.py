"""The extractor over a folder of images: order, padding, and assignments."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pipelines.data.formats.sample import Sample
from pipelines.data.loading.settings import InputSettings
from pipelines.inference.extract import Assigner, Extracted, extract
from pipelines.inference.masks import Padding
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.build import build_head
from pipelines.models.projector_settings import ProjectorSettings
from pipelines.segmentors.output import SegmentorOutput

INPUT = InputSettings(crop=64, test_short=48, test_long=96)


def _sample(image_id: int, height: int, width: int) -> Sample:
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, : height // 2], masks[1, height // 2 :] = True, True
    image = torch.full((3, height, width), image_id, dtype=torch.uint8)
    return Sample(
        image_id,
        image,
        masks,
        torch.tensor([1, 0]),
        torch.tensor([70, 80]),
        torch.zeros(height, width, dtype=torch.bool),
    )


@dataclass
class Folder:
    samples: list[Sample]

    def sample(self, index: int) -> Sample:
        return self.samples[index]


class Echo(nn.Module):
    """Answers with the mean of each image, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> SegmentorOutput:
        self.batches.append(tuple(images.shape))
        value = images[:, 0, 0, 0].float()
        masks = torch.zeros(len(images), 3, images.shape[2] // 4, images.shape[3] // 4)
        return SegmentorOutput([value[:, None, None].expand(-1, 3, 4)], [masks])


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_images_come_in_order_and_batches_hold_one_size(batch_size: int) -> None:
    folder = Folder([_sample(i, *(48, 64) if i % 3 else (48, 96)) for i in range(1, 8)])
    model = Echo()
    found = list(extract(model, folder, range(7), input=INPUT, batch_size=batch_size, device=torch.device("cpu")))
    assert [extracted.sample.image_id for extracted in found] == list(range(1, 8))
    assert [int(extracted.queries[0, 0]) for extracted in found] == list(range(1, 8))
    assert all(shape[0] <= batch_size and shape[2] % 32 == shape[3] % 32 == 0 for shape in model.batches)
    assert found[0].padding == Padding(input=(64, 64), content=(48, 64))


def test_mirrored_images_have_mirrored_segments() -> None:
    sample = _sample(1, 48, 48)
    sample.masks[0, :, :5] = False
    found = next(
        extract(Echo(), Folder([sample]), [0], input=INPUT, batch_size=1, device=torch.device("cpu"), mirrored=True)
    )
    assert not found.sample.masks[0, :, -5:].any()
    assert found.sample.masks[0, 0, 0]


def _extracted(padding: Padding) -> Extracted:
    """Query 2 shows the upper half of the content, query 0 the lower one, query 1 nothing."""
    sample, (height, width) = _sample(9, 48, 64), padding.input
    masks = torch.full((3, height, width), -8.0)
    masks[2, :24, :64], masks[0, 24:48, :64] = 8.0, 8.0
    return Extracted(sample, torch.randn(3, 4), masks, padding)


@pytest.mark.parametrize("padding", [Padding((48, 64), (48, 64)), Padding((64, 96), (48, 64))])
def test_queries_get_the_labels_of_the_segments_they_show(padding: Padding) -> None:
    torch.manual_seed(0)
    head = build_head(ProjectorSettings(hidden_dim=8), query_dim=4, text_dim=6)
    text = nn.functional.normalize(torch.randn(2, 6), dim=-1)
    labels, segment_ids = Assigner(head, text, MatchingSettings(points=500, class_weight=0.0), seed=3)(
        _extracted(padding)
    )
    assert labels.tolist() == [0, -1, 1]
    assert segment_ids.tolist() == [80, -1, 70]

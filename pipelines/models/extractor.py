"""The extractor with its projector and text classifier: what train-con trains, and what later stages read of it."""

from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from pipelines.base.parts import PartSettings
from pipelines.base.safe_weights import load_weights
from pipelines.models.build import build_head
from pipelines.models.projector import ProjectionHead
from pipelines.segmentors.build import build_and_start
from pipelines.segmentors.output import SegmentorOutput
from pipelines.segmentors.settings import SegmentorSettings


class ExtractorSettings(Protocol):
    """The parts that an extractor consists of, as the section `con` of a recipe states them."""

    @property
    def segmentor(self) -> SegmentorSettings:
        """Images → queries and masks."""

    @property
    def classifier(self) -> PartSettings:
        """Queries → words."""


class Extractor(nn.Module):
    """A segmentor without a classifier, and the head that reads its queries as words (eq. 1).

    Attributes:
        start: what became of the names in a whole segmentor's weights, if it starts from such.
    """

    def __init__(self, settings: ExtractorSettings, text_dim: int, *, load_backbone: bool) -> None:
        super().__init__()
        self.segmentor, self.start = build_and_start(settings.segmentor, load_weights=load_backbone)
        self.head = build_head(settings.classifier, query_dim=settings.segmentor.hidden_dim, text_dim=text_dim)

    def forward(self, images: Tensor) -> SegmentorOutput:
        """Queries and masks of uint8 images B×3×H×W."""
        output: SegmentorOutput = self.segmentor(images)
        return output


def load_extractor(path: Path, settings: ExtractorSettings, text_dim: int) -> Extractor:
    """A trained extractor, for inference."""
    extractor = Extractor(settings, text_dim, load_backbone=False)
    load_weights(path, extractor)
    return extractor.eval()


def load_head(
    path: Path, settings: ExtractorSettings, query_dim: int, text_dim: int, *, prefix: str = "head."
) -> ProjectionHead:
    """The trained projector and classifier of an extractor's file, or, with an empty prefix, of a finetuned one's."""
    head = build_head(settings.classifier, query_dim=query_dim, text_dim=text_dim)
    load_weights(path, head, prefix=prefix)
    return head

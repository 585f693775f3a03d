"""What every judge does, and what it is asked to judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from torch import Tensor

from pipelines.base.terms import Candidates
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.drawing import Drawing
from pipelines.inference.extract import Extracted
from pipelines.recipes.eval import EvalSettings
from pipelines.scoring.scores import Scores
from pipelines.vocabularies.vocabulary import Vocabulary

Record = dict[str, Any]

SCORES: Final = "scores"
ANNOTATIONS: Final = "annotations"


@dataclass(frozen=True)
class Answer:
    """One way to name the queries of an image.

    Attributes:
        probabilities: P, K×N over the whole vocabulary; 0 for names that do not compete.
        candidates: which names compete, and so which segments of the truth count.
    """

    probabilities: Tensor
    candidates: Candidates


@dataclass(frozen=True)
class Judged:
    """What a judge works on.

    Attributes:
        data: the images with their truth.
        vocabulary: the names that compete.
        out: the folder that predictions go to.
        listing: the json that `data` was opened from.
    """

    data: LabelledImages
    vocabulary: Vocabulary
    settings: EvalSettings
    out: Path
    listing: Path


class Judge(Protocol):
    """Predicts and scores one task. A record is a value of JSON, so that an interrupted evaluation can go on."""

    def record(
        self, extracted: Extracted, index: int, answers: Mapping[str, Answer], written: Mapping[str, str]
    ) -> Record:
        """Scores every answer on one image; the predictions of those that `written` maps a setting to are kept."""

    def scores(self, records: Sequence[Record], candidates: Mapping[str, Candidates]) -> dict[str, Scores]:
        """Sums up all images, for every answer."""

    def write_predictions(self, records: Sequence[Record], setting: str) -> None:
        """Writes what the official tools read besides the PNGs that `record` wrote."""

    def drawing(self, records: Sequence[Record], setting: str, index: int) -> Drawing:
        """The prediction of one image, read back."""


def png_name(file_name: str) -> str:
    """The name of an image's predicted PNG; sub-folders are kept, since stems may repeat across them."""
    return Path(file_name).with_suffix(".png").as_posix()

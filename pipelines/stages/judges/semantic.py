"""Judges semantic segmentation: mIoU and pixel accuracy, predictions as label maps."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.base.terms import Candidates
from pipelines.data.files.archives import read_bytes
from pipelines.data.formats.label_map import decode_label_map, write_label_map
from pipelines.draw.drawing import Drawing
from pipelines.inference.extract import Extracted
from pipelines.inference.semantic import semantic_variants
from pipelines.metrics.semantic_iou import IGNORED, confusion
from pipelines.scoring.scores import Scores
from pipelines.scoring.semantic import semantic_scores
from pipelines.stages.judges.judge import SCORES, Answer, Judged, Record, png_name


class SemanticJudge:
    """The `Judge` of the semantic task."""

    def __init__(self, given: Judged) -> None:
        self.data, self.vocabulary, self.out = given.data, given.vocabulary, given.out
        self.ids, self.index_of = np.array(self.vocabulary.ids), self.vocabulary.index_of()
        self.unseen = np.array([category.unseen for category in self.vocabulary.categories])

    def record(
        self, extracted: Extracted, index: int, answers: Mapping[str, Answer], written: Mapping[str, str]
    ) -> Record:
        """Counts every answer's pixels on one image and writes the label maps of `written`."""
        height, width = extracted.sample.ignore.shape
        maps = semantic_variants(
            [answer.probabilities for answer in answers.values()],
            extracted.mask_logits,
            (height, width),
            padding=extracted.padding,
        )
        predictions = dict(zip(answers, maps, strict=True))
        truths = self._truths(index)
        scores = {
            answer: _sparse(confusion(truths[answers[answer].candidates], labels, len(self.vocabulary)))
            for answer, labels in predictions.items()
        }
        for setting, answer in written.items():
            path = self.out / setting / png_name(self.data.file_name(index))
            write_label_map(path, self.ids[predictions[answer]])
        return {SCORES: scores}

    def scores(self, records: Sequence[Record], candidates: Mapping[str, Candidates]) -> dict[str, Scores]:
        """MIoU and pixel accuracy of every answer."""
        n = len(self.vocabulary)
        return {
            answer: semantic_scores(
                _dense((record[SCORES][answer] for record in records), n),
                self.vocabulary,
                images=len(records),
                candidates=which,
            )
            for answer, which in candidates.items()
        }

    def write_predictions(self, records: Sequence[Record], setting: str) -> None:
        """Nothing is left to write: label maps need no json."""

    def drawing(self, records: Sequence[Record], setting: str, index: int) -> Drawing:
        """The prediction of one image, read back; every category is one segment."""
        path = self.out / setting / png_name(self.data.file_name(index))
        values = decode_label_map(read_bytes(path), path)
        return Drawing(values + 1, {value + 1: value for value in np.unique(values).tolist()})

    def _truths(self, index: int) -> dict[Candidates, NDArray[np.int64]]:
        """The truth as indices (H×W) for each candidate set: seen pixels are ignored where unseen names compete."""
        ids, segments = self.data.truth(index)
        truth = np.full(ids.shape, IGNORED, np.int64)
        for segment in segments:
            truth[ids == segment.id] = self.index_of[segment.category_id]
        novel = np.where((truth != IGNORED) & self.unseen[truth], truth, IGNORED)
        return {"generalised": truth, "novel-only": novel}


def _sparse(counts: NDArray[np.int64]) -> list[list[int]]:
    """Rows [truth, prediction, pixels] of the entries that are not 0."""
    rows, columns = np.nonzero(counts)
    return np.stack([rows, columns, counts[rows, columns]], axis=1).tolist()


def _dense(images: Iterable[list[list[int]]], n: int) -> NDArray[np.int64]:
    """The sum of many sparse confusion matrices, n×(n + 1)."""
    counts = np.zeros((n, n + 1), np.int64)
    for entries in images:
        for row, column, pixels in entries:
            counts[row, column] += pixels
    return counts

"""What every pixel was taken for, over all validation images: which names are confused, which images go well."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.base.progress import Reporter
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.metrics.semantic_iou import Confusion, confusion
from pipelines.report.predicted import Reader, category_map, truth_of
from pipelines.vocabularies.vocabulary import Vocabulary


@dataclass(frozen=True)
class Mistakes:
    """Pixels by true and predicted category, and the images by how many of their pixels are right.

    Attributes:
        confusion: setting → n×(n+1), as `metrics.semantic_iou.confusion`.
        right: setting → share of the labelled pixels of each image whose category is right; NaN without any.
        has_unseen: for each image.
    """

    confusion: dict[str, Confusion]
    right: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]
    has_unseen: list[bool]


@dataclass(frozen=True)
class TakenFor:
    """What a category was taken for: names (None: nothing was predicted) with percent of its pixels by setting."""

    name: str
    pixels: int
    rows: list[tuple[str | None, dict[str, float]]]


def count_mistakes(
    data: LabelledImages, vocabulary: Vocabulary, predictions: Mapping[str, Reader], reporter: Reporter
) -> Mistakes:
    """Compares the predictions of every setting with the truth, pixel by pixel.

    Raises:
        ConcatError: a file is missing or damaged, or truth and prediction differ in size.
    """
    n, index_of = len(vocabulary), vocabulary.index_of()
    unseen = np.array([category.unseen for category in vocabulary.categories])
    totals = {setting: np.zeros((n, n + 1), np.int64) for setting in predictions}
    right = {setting: np.full(len(data), np.nan) for setting in predictions}
    has_unseen = []
    with reporter.task("compare predictions", len(data)) as task:
        for index in range(len(data)):
            truth = category_map(truth_of(data, index), index_of)
            has_unseen.append(bool(unseen[np.unique(truth[truth >= 0])].any()))
            for setting, read in predictions.items():
                counts = confusion(truth, category_map(read(index), index_of), n, image=data.file_name(index))
                totals[setting] += counts
                if counts.any():
                    right[setting][index] = np.trace(counts) / counts.sum()
            task.advance()
    return Mistakes(totals, right, has_unseen)


def taken_for(mistakes: Mistakes, vocabulary: Vocabulary, count: int = 5) -> list[TakenFor]:
    """For every unseen category with pixels: its own share, and the `count` largest others of any setting."""
    names: list[str | None] = [*vocabulary.names, None]
    found = []
    for index, category in enumerate(vocabulary.categories):
        pixels = int(next(iter(mistakes.confusion.values()))[index].sum())
        if not category.unseen or not pixels:
            continue
        shares = {setting: 100 * counts[index] / pixels for setting, counts in mistakes.confusion.items()}
        largest = np.max(list(shares.values()), axis=0)
        largest[index] = np.inf  # its own name first
        order = [place for place in np.argsort(-largest, kind="stable").tolist() if largest[place] >= 0.5][: count + 1]
        rows = [(names[place], {setting: float(share[place]) for setting, share in shares.items()}) for place in order]
        found.append(TakenFor(category.name, pixels, rows))
    return found


def best_median_worst(mistakes: Mistakes, setting: str, each: int) -> dict[str, list[int]]:
    """Images with unseen categories by their share of right pixels, `each` of a title; none stands twice."""
    right = mistakes.right[setting]
    pool = [index for index in np.argsort(-right, kind="stable").tolist() if not np.isnan(right[index])]
    pool = [index for index in pool if mistakes.has_unseen[index]] or pool
    each = min(each, max(1, len(pool) // 3))
    best, rest = pool[:each], pool[each:]
    between, worst = rest[: max(0, len(rest) - each)], rest[max(0, len(rest) - each) :]
    start = max(0, (len(between) - each) // 2)
    parts = {"Best": best, "Median": between[start : start + each], "Worst": worst[::-1]}
    return {title: images for title, images in parts.items() if images}

"""Semantic segmentation scored by the confusion of all pixels: mIoU and pixel accuracy.

    IoU = TP / (TP + FP + FN);   pAcc = Σ TP / Σ (TP + FN)

Pixels whose truth is ignored count nowhere, whatever was predicted there. As in mmsegmentation, on which the zero-shot
literature rests, mIoU is the mean over the categories that stand in truth or prediction: one that is predicted but
never true counts as 0, one that stands in neither does not count (method.md, "Metrics"). pAcc of a group is the share
of the pixels of its true categories that were labelled rightly.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError
from pipelines.metrics.groups import Summary, category_groups, percent_mean, with_harmonic
from pipelines.vocabularies.vocabulary import Vocabulary

IGNORED: Final = -1  # a pixel of the truth that does not count
NOTHING: Final = -1  # a pixel for which nothing is predicted; wrong wherever the truth counts

IndexMap = NDArray[np.integer]
Confusion = NDArray[np.int64]


def confusion(truth: IndexMap, predicted: IndexMap, n: int, *, image: str | None = None) -> Confusion:
    """Counts the pixels of every true and predicted category; the counts of several images are added up.

    Args:
        truth: integer, H×W, category indices 0 to n−1 or `IGNORED`.
        predicted: integer, H×W, category indices 0 to n−1 or `NOTHING`.
        n: the number of categories.
        image: name of the image, for messages.

    Returns:
        int64, n×(n+1): pixels by true (row) and predicted category (column); nothing predicted is the last column.

    Raises:
        ConcatError: truth and prediction differ in size.
        ValueError: a map is no H×W of integers or holds an index out of range.
    """
    of_image = f" of image {image}" if image else ""
    for name, values in (("truth", truth), ("prediction", predicted)):
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"The {name}{of_image} is no H×W map of integers but {values.dtype}, {values.shape}.")
    if truth.shape != predicted.shape:
        sizes = " and ".join(f"{values.shape[1]}×{values.shape[0]}" for values in (truth, predicted))
        raise ConcatError(f"Truth and prediction{of_image} differ in size: {sizes} px.")
    if truth.size == 0:
        return np.zeros((n, n + 1), np.int64)
    for name, values in (("truth", truth), ("prediction", predicted)):
        for value in (int(values.min()), int(values.max())):
            if not -1 <= value < n:
                raise ValueError(f"The {name}{of_image} holds {value}, which is no index of {n} categories.")
    pairs = (truth.astype(np.int64) + 1) * (n + 1) + predicted.astype(np.int64) + 1  # −1 comes first in both
    counts = np.bincount(pairs.ravel(), minlength=(n + 1) ** 2).reshape(n + 1, n + 1)
    return np.roll(counts[1:], -1, axis=1).astype(np.int64)


def category_ious(counts: Confusion) -> list[float | None]:
    """IoU of each category as a fraction; None where it stands in neither truth nor prediction."""
    right = np.diagonal(counts)
    return _fractions(right, counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - right)


def category_accuracies(counts: Confusion) -> list[float | None]:
    """The share of each category's true pixels that were labelled rightly; None where the truth has none."""
    return _fractions(np.diagonal(counts), counts.sum(axis=1))


def summarise_semantic(counts: Confusion, vocabulary: Vocabulary) -> Summary:
    """MIoU and pAcc of the groups of a vocabulary, in percent, and the harmonic mean of seen and unseen.

    Args:
        counts: as `confusion` returns it, with the vocabulary's indices.
        vocabulary: the categories there are.

    Returns:
        group → {"miou", "pacc", "n"}, n the number of categories that count in mIoU; None for scores that no
        category has.

    Raises:
        ValueError: the counts are of another number of categories.
    """
    if counts.shape != (len(vocabulary), len(vocabulary) + 1):
        raise ValueError(f"Counts of shape {counts.shape} are not those of {len(vocabulary)} categories.")
    ious, index_of, groups = category_ious(counts), vocabulary.index_of(), category_groups(vocabulary)
    summary: Summary = {}
    for group, members in groups.items():
        indices = [index_of[member] for member in members]
        found = [ious[index] for index in indices]
        right, true = int(counts[indices, indices].sum()), int(counts[indices].sum())
        summary[group] = {
            "miou": percent_mean(found),
            "pacc": 100 * (right / true) if true else None,
            "n": len(found) - found.count(None),
        }
    return with_harmonic(summary, groups, ("miou", "pacc"))


def _fractions(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> list[float | None]:
    return [part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist(), strict=True)]

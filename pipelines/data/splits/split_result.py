"""Which images a protocol keeps, which segments it lists, and what there is to tell of it; the same for every task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Protocol
from pipelines.vocabularies.vocabulary import Vocabulary

"""zps: an image with one unseen pixel is dropped. zss: images stay, but their unseen segments are not listed."""


class DroppedImage(NamedTuple):
    """An image left out, and the ids of the unseen categories it holds."""

    image_id: int
    file_name: str
    category_ids: tuple[int, ...]


@dataclass(frozen=True)
class CategoryTotals:
    """How often a category occurs; `segments` counts crowd segments too, `pixels` sums their areas."""

    images: int = 0
    segments: int = 0
    crowd_segments: int = 0
    pixels: int = 0


@dataclass(frozen=True)
class SplitResult:
    """What a split did.

    Attributes:
        kept: number of training images.
        dropped: images with unseen pixels (zps), in the order of the annotations.
        unannotated: number of images without annotation, which are left out as well.
        before: category id → totals over the given data, for every category of the vocabulary.
        after: the same over what the training list lists.
        ignored: number of kept images with unseen pixels, which are ignored (zss).
        empty: number of images left out because nothing seen is left in them.
        orphaned: number of label maps without image.
        outside: number of instances left out because their categories are none of the vocabulary.
        remarks: what was read in a way that may surprise, a sentence each.
    """

    kept: int
    dropped: list[DroppedImage]
    unannotated: int
    before: dict[int, CategoryTotals]
    after: dict[int, CategoryTotals]
    ignored: int = 0
    empty: int = 0
    orphaned: int = 0
    outside: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segments:
    """All segments of a data set, column by column.

    Attributes:
        images: number of annotated images.
        row: the place of a segment's image among them.
        category: the index of its category in the vocabulary.
        area: px.
        iscrowd: not 0 for a crowd.
    """

    images: int
    row: NDArray[np.int64]
    category: NDArray[np.int64]
    area: NDArray[np.int64]
    iscrowd: NDArray[np.int64]

    def held(self, categories: int) -> NDArray[np.bool_]:
        """Which image holds which category: images × categories."""
        held = np.zeros((self.images, categories), dtype=bool)
        held[self.row, self.category] = True
        return held


@dataclass(frozen=True)
class Choice:
    """What a protocol makes of a data set.

    Attributes:
        keep: which images the training list holds.
        drop: which it leaves out for their unseen pixels; those in neither are empty.
        listed: which segments it lists.
    """

    keep: NDArray[np.bool_]
    drop: NDArray[np.bool_]
    listed: NDArray[np.bool_]


def choose(
    segments: Segments, vocabulary: Vocabulary, protocol: Protocol, *, file: Path, keep_empty: bool = False
) -> Choice:
    """Applies a protocol to a data set.

    Args:
        segments: what its images hold.
        vocabulary: all categories, the unseen ones marked.
        protocol: what becomes of images with unseen pixels.
        file: where they come from, for messages.
        keep_empty: keep images, too, in which no seen segment but crowds is left.

    Raises:
        ConcatError: no category is unseen, or no image is left.
    """
    if not vocabulary.unseen.ids:
        raise ConcatError(
            f"The vocabulary {vocabulary.name} marks no category as unseen.",
            mend="Name unseen categories, for example --set 'data.unseen=[\"cow\"]'.",
        )
    unseen = _unseen(vocabulary)[segments.category]
    drop, full = np.zeros(segments.images, dtype=bool), np.full(segments.images, keep_empty)
    if protocol == "zps":
        drop[segments.row[unseen]] = True
    full[segments.row[~unseen & (segments.iscrowd == 0)]] = True
    keep = ~drop & full
    if not keep.any():
        empty = int(np.count_nonzero(~drop))
        raise ConcatError(
            f"No training image is left: {np.count_nonzero(drop)} of {segments.images} annotated images hold unseen "
            f"pixels" + (f", and {empty} hold nothing seen." if empty else "."),
            file=file,
            mend="Give a larger training set, or fewer unseen categories.",
        )
    return Choice(keep, drop, listed=keep[segments.row] & ~unseen)


def summarise(
    choice: Choice, segments: Segments, vocabulary: Vocabulary, image_ids: Sequence[int], file_names: Sequence[str]
) -> SplitResult:
    """What a split did; `image_ids` and `file_names` (of the images) go by row."""
    unseen, ids = _unseen(vocabulary), np.asarray(vocabulary.ids)
    held = segments.held(len(vocabulary)) & unseen
    dropped = [
        DroppedImage(image_ids[row], file_names[row], tuple(sorted(ids[held[row]].tolist())))
        for row in np.flatnonzero(choice.drop).tolist()
    ]
    return SplitResult(
        kept=int(np.count_nonzero(choice.keep)),
        dropped=dropped,
        unannotated=0,
        before=totals(segments, vocabulary),
        after=totals(segments, vocabulary, choice.listed),
        ignored=int(np.count_nonzero(held.any(axis=1) & choice.keep)),
        empty=int(np.count_nonzero(~choice.keep & ~choice.drop)),
    )


def totals(
    segments: Segments, vocabulary: Vocabulary, listed: NDArray[np.bool_] | None = None
) -> dict[int, CategoryTotals]:
    """The totals over all segments, or over those that are `listed`, by category id."""
    if listed is not None:
        columns = (segments.row, segments.category, segments.area, segments.iscrowd)
        segments = Segments(segments.images, *(column[listed] for column in columns))
    category, crowd, size = segments.category, segments.iscrowd != 0, len(vocabulary)
    counts = (
        segments.held(size).sum(axis=0),
        np.bincount(category, minlength=size),
        np.bincount(category[crowd], minlength=size),
        np.bincount(category, weights=segments.area, minlength=size).astype(np.int64),  # exact below 2⁵³ px
    )
    rows = np.stack(counts, axis=1).tolist()
    return {category_id: CategoryTotals(*row) for category_id, row in zip(vocabulary.ids, rows, strict=True)}


def _unseen(vocabulary: Vocabulary) -> NDArray[np.bool_]:
    return np.asarray([category.unseen for category in vocabulary.categories], dtype=bool)

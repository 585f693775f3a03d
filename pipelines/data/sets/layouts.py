"""Where the published archives put images, label maps and lists, and which of their pixel values are no category."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pipelines.base.errors import ConcatError
from pipelines.data.files.archives import exists
from pipelines.data.formats.label_map_pairs import IMAGES, matlab_maps
from pipelines.data.sets.locations import Location


@dataclass(frozen=True)
class Layout:
    """A data set of label maps as it was found.

    Attributes:
        vocabulary: name of its shipped vocabulary.
        ignored: pixel values that are no category: background, other, void.
        train: the training images; None if only those of validation are there.
        val: the validation images; equal to `train` if nothing else is there.
    """

    vocabulary: str
    ignored: tuple[int, ...]
    train: Location | None
    val: Location


@dataclass(frozen=True)
class Place:
    """Where one set lies, below a root: its images and label maps in the first of several places that is there."""

    images: tuple[str, ...]
    labels: tuple[str, ...]
    listing: str | None = None

    @classmethod
    def of_voc(cls, labels: str, listing: str) -> "Place":
        """A set in the layout of VOCdevkit."""
        return cls(("JPEGImages",), (labels,), f"ImageSets/{listing}.txt")

    def find(self, root: Path) -> Location | None:
        """The set below `root`, if all of it is there."""
        images, labels = (_first(root, names) for names in (self.images, self.labels))
        listing = None if self.listing is None else _first(root, (self.listing,))
        if images is None or labels is None or (self.listing is not None and listing is None):
            return None
        return Location(images, labels=labels, listing=listing)

    def __str__(self) -> str:
        parts = [" or ".join(self.images), " or ".join(self.labels), *([self.listing] if self.listing else [])]
        return " + ".join(parts)


@dataclass(frozen=True)
class Published:
    """What is known of a published data set.

    Attributes:
        roots: its root, seen from the folder that a user may give.
        train: places of the training set, the best one first.
        val: places of the validation set.
    """

    vocabulary: str
    ignored: tuple[int, ...]
    roots: tuple[str, ...]
    train: tuple[Place, ...]
    val: tuple[Place, ...]


# A few images, without list or sub-folders, which are both sets.
_FLAT: Final = Place(("JPEGImages", "images"), ("SegmentationClass", "SegmentationClassContext", "annotations"))


def find_layout(name: str, known: Published, root: Path) -> Layout:
    """Where a published data set lies in a folder, or in the folder that it was unpacked into.

    Raises:
        ConcatError: it is not there as it is published; the message tells where it was looked for.
    """
    for place in known.roots:
        train, val = (_find(root / place, places) for places in (known.train, known.val))
        if not train and not val:
            train = _find_flat(root / place)
        if found := val or train:
            return Layout(known.vocabulary, known.ignored, train, found)
    raise _not_found(name, root, known)


def _find(root: Path, places: Sequence[Place]) -> Location | None:
    return next((found for place in places if (found := place.find(root))), None)


def _find_flat(root: Path) -> Location | None:
    found = _FLAT.find(root)
    return found if found and _holds(found.images, IMAGES) else None


def _first(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if exists(root / name)), None)


def _holds(folder: Path, suffixes: frozenset[str]) -> bool:
    """Whether a folder itself, not one below it, holds a file with one of the suffixes."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(PurePosixPath(entry.name).suffix.lower() in suffixes for entry in entries)


def _not_found(name: str, root: Path, known: Published) -> ConcatError:
    for folder in ("", "cls", "dataset/cls", "benchmark_RELEASE/dataset/cls", "trainval"):  # of SBD and of Context
        if _holds(root / folder, frozenset({".mat"})):
            return matlab_maps(root / folder)
    places = "; ".join(str(place) for place in (*known.train, *known.val, _FLAT))
    below = " or ".join(place for place in known.roots if place)
    return ConcatError(
        f"No {name} data set is there as it is published.",
        file=root,
        mend=f"It was looked for, here or below {below}, as: {places}. Otherwise name images and label maps "
        "themselves.",
    )

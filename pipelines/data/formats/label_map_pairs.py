"""Which image belongs to which label map: by their names, or by a list."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.files.archives import Files, read_bytes

IMAGES = frozenset({".jpg", ".jpeg", ".png"})
LABELS = frozenset({".png"})
PREDICTED = frozenset({".png", ".npy"})


@dataclass(frozen=True)
class Pairs:
    """Images with their label maps.

    Attributes:
        names: (image, label map), below their folders, in the order of the list or of the names.
        file: the list, or the folder of label maps.
        unannotated: number of images without label map, where no list was given.
        orphaned: number of label maps without image, where no list was given.
    """

    names: list[tuple[str, str]]
    file: Path
    unannotated: int = 0
    orphaned: int = 0


def pair_label_maps(images: Files, labels: Files, listed: Path | None = None) -> Pairs:
    """Pairs images (.jpg, .jpeg, .png) with label maps (.png) of the same name.

    Args:
        images: their folder.
        labels: folder of the label maps.
        listed: a list such as VOC's `ImageSets/Segmentation/val.txt`, a name (without suffix or with) or an image and
            its label map a line, which may lead through their folders; None: all that are there.

    Raises:
        ConcatError: a listed image or label map is missing, two files have one name, or there is no pair.
    """
    image_of, label_of = _by_stem(images, IMAGES), label_maps_by_stem(labels)
    if listed is not None:
        return Pairs(_listed_pairs(listed, (images, image_of), (labels, label_of)), listed)
    names = [(name, label_of[stem]) for stem, name in sorted(image_of.items()) if stem in label_of]
    if not names:
        raise ConcatError(
            f"None of the {len(label_of)} label maps has the name of one of the {len(image_of)} images in "
            f"{images.path}.",
            file=labels.path,
            mend="Give images and label maps of the same names, or a list of image and label map, a pair a line.",
        )
    return Pairs(names, labels.path, len(image_of) - len(names), len(label_of) - len(names))


def label_maps_by_stem(labels: Files, suffixes: frozenset[str] = LABELS) -> dict[str, str]:
    """The names of label maps by their names without suffix.

    Raises:
        ConcatError: there is none, or two have one name.
    """
    found = _by_stem(labels, suffixes)
    if not found:
        raise _no_label_maps(labels)
    return found


def _by_stem(files: Files, suffixes: frozenset[str]) -> dict[str, str]:
    """The names of files by their names without suffix; hidden files do not count."""
    found: dict[str, str] = {}
    for name in files.names():
        path = PurePosixPath(name)
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        stem = path.with_suffix("").as_posix()
        if stem in found:
            raise ConcatError(
                f"Both {found[stem]} and {name} are there, so it is not clear which one is meant.",
                file=files.path,
                mend="Keep one of them; images and label maps belong into folders of their own.",
            )
        found[stem] = name
    return found


def matlab_maps(folder: Path) -> ConcatError:
    """The error for a folder of MATLAB's files."""
    return ConcatError(
        "The label maps are MATLAB files (.mat), which are not read.",
        file=folder,
        mend="Give them as PNGs: SBD's come as SegmentationClassAug, Context's as SegmentationClassContext.",
    )


def _no_label_maps(labels: Files) -> ConcatError:
    if any(name.endswith(".mat") for name in labels.names()):
        return matlab_maps(labels.path)
    return ConcatError("There is no label map (.png).", file=labels.path, mend="Check the path of the label maps.")


_Named = tuple[Files, Mapping[str, str]]


def _listed_pairs(listed: Path, images: _Named, labels: _Named) -> list[tuple[str, str]]:
    try:
        lines = [line.strip() for line in read_bytes(listed, what="List").decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"The list is no text: {error}.", file=listed, mend="Write names in UTF-8.") from None
    names: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        words = [line] if line in images[1] else line.split()
        if len(words) > 2:
            raise ConcatError(
                f"Line {number} of the list holds {len(words)} words.",
                file=listed,
                mend="Write a name a line, or an image and its label map.",
            )
        if words:
            where = f"line {number} of {listed.name}"
            names.append((_find(words[0], images, "image", where), _find(words[-1], labels, "label map", where)))
    if not names:
        raise ConcatError("The list names no image.", file=listed, mend="Write a name a line.")
    if len({image for image, _ in names}) < len(names):
        twice = next(image for place, (image, _) in enumerate(names) if image in dict(names[:place]))
        raise ConcatError(f"The list names {twice} more than once.", file=listed, mend="Name every image once.")
    return names


def _find(word: str, named: _Named, what: str, where: str) -> str:
    """The file that a word of the list means: `2007_000032` or `/JPEGImages/2007_000032.jpg`."""
    files, name_of = named
    path = PurePosixPath(word)
    parts = (path.with_suffix("") if path.suffix.lower() in IMAGES else path).parts
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    stem = next((tail for tail in tails if tail in name_of), None)
    if stem is None:
        raise ConcatError(
            f"There is no {what} {word!r}, which stands in {where}.",
            file=files.path,
            mend="Complete the folder, or take the line out of the list.",
        )
    return name_of[stem]

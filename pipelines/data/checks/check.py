"""What stands in a data set and what is wrong with it, found before a run and not in its middle."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.base.errors import ConcatError
from pipelines.base.parallel import in_processes, paying_workers
from pipelines.base.progress import Reporter, SilentReporter
from pipelines.data.checks.findings import Finding, FindingList
from pipelines.data.checks.survey import Survey, evenly_spread
from pipelines.data.files.archives import Files
from pipelines.data.formats.picture import open_picture
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.vocabularies.vocabulary import Vocabulary

DECODED: Final = 2000
"""Up to so many images all files are decoded; of more, so many, unless all are asked for."""
_WORTH_A_PROCESS: Final = 200
"""Images that take as long to decode as a process takes to start."""
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_ORIENTATION: Final = 0x0112  # EXIF
_MODES: Final = {"1": "grey", "L": "grey", "I;16": "grey16", "I": "grey16", "CMYK": "cmyk", "YCCK": "cmyk"}
_TRANSPARENT: Final = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
_Found = tuple[str, str]  # kind of finding, example


class LabelledData(Protocol):
    """The part of `LabelledImages` that is looked at."""

    def __len__(self) -> int: ...

    def file_name(self, index: int) -> str:
        """Name of an image's file."""

    def image_entries(self) -> list[dict[str, Any]]:
        """`height` and `width` (px) of every image, among others."""

    def truth_segments(self, index: int) -> list[TruthSegment]:
        """The segments that the list has of an image."""

    def truth(self, index: int) -> tuple[NDArray[np.int32], list[TruthSegment]]:
        """The map of an image's segment ids, and its segments."""


class NoImages:
    """What is left of a list of which no image can be looked at."""

    def __len__(self) -> int:
        return 0

    def file_name(self, index: int) -> str:
        """There is none."""
        raise IndexError(index)

    def image_entries(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def truth_segments(self, index: int) -> list[TruthSegment]:
        """There are none."""
        raise IndexError(index)

    def truth(self, index: int) -> tuple[NDArray[np.int32], list[TruthSegment]]:
        """There is none."""
        raise IndexError(index)


class CategoryCount(BaseModel):
    """How often a category occurs; `segments` counts crowd segments too, `pixels` sums the areas of the list."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    isthing: bool
    unseen: bool
    images: int
    segments: int
    crowd_segments: int
    pixels: int


class DataReport(BaseModel):
    """What `concat check-data` says; JSON-able.

    Attributes:
        images: images in the list.
        counted: images whose segments are counted.
        decoded: images whose file and labels were decoded.
        categories: every category of the vocabulary, in its order.
        findings: what is wrong, or worth knowing.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    counted: int
    decoded: int
    categories: tuple[CategoryCount, ...]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """True when nothing was found that would break or falsify a run."""
        return not any(finding.serious for finding in self.findings)


def check_images(
    data: LabelledData,
    *,
    images: Files,
    vocabulary: Vocabulary,
    survey: Survey | None = None,
    compare_areas: bool = True,
    full: bool = False,
    workers: int = 1,
    reporter: Reporter | None = None,
) -> DataReport:
    """Counts what a list holds, looks for every file, and decodes images and labels.

    Nothing that is wrong with one image ends the check. Existence is looked up for every image; of more than 2,000
    images the files of 2,000, evenly spread, are decoded, unless `full`.

    Args:
        data: a list and its files, which can be pickled; `NoImages` if none can be looked at.
        images: where the files of `data`'s images lie.
        vocabulary: the categories to count, unseen ones marked.
        survey: what was found on the way to `data`, which may be a part of a larger list.
        compare_areas: compare the areas that the list states with the painted ones.
        full: decode all files.
        workers: number of processes that decode; fewer where there is little to do.
        reporter: hears of every decoded image.
    """
    names = [data.file_name(index) for index in range(len(data))]
    listed = frozenset(map(_plain, survey.names if survey else names))
    present = set(images.names())
    found = FindingList(survey.findings if survey else None)
    _compare_names(listed, present, found)
    there = [index for index, name in enumerate(names) if _plain(name) in present]
    chosen = [there[place] for place in evenly_spread(len(there), len(there) if full else DECODED)]
    look = partial(_look, data, images, data.image_entries(), compare_areas)
    with (reporter or SilentReporter()).task("decode", len(chosen)) as task:
        for result in in_processes(
            look, chosen, workers=min(workers, paying_workers(len(chosen), worth=_WORTH_A_PROCESS))
        ):
            for kind, example in result:
                found.add(kind, example)
            task.advance()
    categories = _count(data, vocabulary, found)
    return DataReport(
        images=len(listed),
        counted=len(names),
        decoded=len(chosen),
        categories=tuple(categories),
        findings=found.sorted(),
    )


def _plain(name: str) -> str:
    """A name as a listing of files has it: `./a.jpg` is `a.jpg`."""
    return PurePosixPath(name).as_posix()


def _compare_names(listed: Collection[str], present: Collection[str], found: FindingList) -> None:
    for name in sorted(listed):
        if name not in present:
            found.add("missing image", name)
    for name in sorted(present):
        if name not in listed and PurePosixPath(name).suffix.lower() in PICTURES:
            found.add("unused image", name)


def _count(data: LabelledData, vocabulary: Vocabulary, found: FindingList) -> list[CategoryCount]:
    """The counts of each category; segments without area and categories without a segment become findings."""
    index_of = vocabulary.index_of()
    images, segments, crowd, pixels = ([0] * len(vocabulary) for _ in range(4))
    for number in range(len(data)):
        held = set()
        for segment in data.truth_segments(number):
            index = index_of[segment.category_id]
            segments[index] += 1
            crowd[index] += segment.iscrowd
            pixels[index] += segment.area or 0
            held.add(index)
            if not segment.area:
                found.add("empty segment", f"{data.file_name(number)}: segment {segment.id}")
        for index in held:
            images[index] += 1
    counted = []
    for index, category in enumerate(vocabulary.categories):
        if not segments[index]:
            kind = "unseen category without segment" if category.unseen else "category without segment"
            found.add(kind, category.name)
        counted.append(
            CategoryCount(
                id=category.id,
                name=category.name,
                isthing=category.isthing,
                unseen=category.unseen,
                images=images[index],
                segments=segments[index],
                crowd_segments=crowd[index],
                pixels=pixels[index],
            )
        )
    return counted


def _look(
    data: LabelledData, images: Files, entries: Sequence[dict[str, Any]], compare_areas: bool, index: int
) -> list[_Found]:
    """Decodes one image and its labels; runs in a worker process."""
    return [*_look_at_image(images, entries[index]), *_look_at_labels(data, index, compare_areas)]


def _look_at_image(images: Files, entry: dict[str, Any]) -> Iterator[_Found]:
    name = entry["file_name"]
    try:
        picture = open_picture(images.read(name), images.path / name)
    except ConcatError as error:
        yield "unreadable image", f"{name}: {error.message}"
        return
    kind = _MODES.get(picture.mode) or ("transparent" if _is_transparent(picture.mode, picture.info) else "")
    if kind:
        yield kind, name
    if picture.getexif().get(_ORIENTATION, 1) != 1:
        yield "rotated", name
    if picture.size != (entry["width"], entry["height"]):
        stated = f"{entry['width']}×{entry['height']}"
        yield "other size", f"{name}: {picture.width}×{picture.height} px, its labels {stated}"


def _is_transparent(mode: str, info: dict[Any, Any]) -> bool:
    return mode in _TRANSPARENT or "transparency" in info


def _look_at_labels(data: LabelledData, index: int, compare_areas: bool) -> Iterator[_Found]:
    name = data.file_name(index)
    try:
        ids, segments = data.truth(index)
    except ConcatError as error:
        file = f" ({error.file.name})" if error.file and error.file.name != name else ""
        yield "unusable labels", f"{name}: {error.message}{file}"
        return
    if compare_areas:
        values, counts = np.unique(ids, return_counts=True)
        painted = dict(zip(values.tolist(), counts.tolist(), strict=True))
        for segment in segments:
            if segment.area not in (0, painted.get(segment.id, 0)):
                area = painted.get(segment.id, 0)
                yield "other area", f"{name}: segment {segment.id} states {segment.area} px, painted are {area}"

"""Images with label maps looked at as a whole: which belong together, and what the maps hold."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from pipelines.base.errors import ConcatError
from pipelines.base.parallel import in_processes
from pipelines.base.progress import Reporter
from pipelines.data.checks.findings import FindingList
from pipelines.data.checks.survey import Survey, evenly_spread
from pipelines.data.files.archives import Files
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, SegmentInfo, write_panoptic
from pipelines.data.formats.label_map import decode_label_map
from pipelines.data.formats.label_map_pairs import IMAGES, LABELS, pair_label_maps
from pipelines.data.splits.split_label_maps import image_ids
from pipelines.vocabularies.vocabulary import Vocabulary


@dataclass(frozen=True)
class _Map:
    """A label map: size, and value → px; or why it cannot be used."""

    height: int = 0
    width: int = 0
    pixels: tuple[tuple[int, int], ...] = ()
    error: str = ""


def survey_label_maps(
    images: Files,
    labels: Files,
    scratch: Path,
    *,
    vocabulary: Vocabulary,
    ignored: Collection[int],
    listed: Path | None,
    most: int | None,
    workers: int,
    reporter: Reporter,
) -> Survey:
    """Pairs images with label maps and reads the maps, of which a list is written for the reader of label maps.

    Args:
        scratch: where the list is written, in the form of a split's list.
        vocabulary: its ids are pixel values.
        ignored: pixel values without a category (void, background).
        listed: a text file that names the images; None: all.
        most: at most so many maps are read, evenly spread; None: all.
        workers: number of processes.

    Raises:
        ConcatError: there is no pair, or one that `listed` names is missing.
    """
    found = FindingList()
    pairs = pair_label_maps(images, labels, listed)
    named = frozenset(image for image, _ in pairs.names)
    if listed is None:
        named = _all_pictures(images, labels, dict(pairs.names), found)
    names = [pairs.names[index] for index in evenly_spread(len(pairs.names), most or len(pairs.names))]
    known, unknown = set(vocabulary.ids), Counter[int]()
    entries: list[tuple[ImageInfo, Annotation]] = []
    ids = image_ids([image for image, _ in names])
    with reporter.task("read label maps", len(names)) as task:
        maps = in_processes(
            partial(_read, labels), [label for _, label in names], workers=min(workers, 1 + len(names) // 200)
        )
        for image_id, (image, label), read in zip(ids, names, maps, strict=True):
            task.advance()
            if read.error:
                found.add("unusable labels", f"{label}: {read.error}")
                continue
            unknown.update(value for value, _ in read.pixels if value not in known and value not in ignored)
            segments = [SegmentInfo(value + 1, value, area) for value, area in read.pixels if value in known]
            entries.append((ImageInfo(image_id, image, read.height, read.width), Annotation(image_id, label, segments)))
    for value, count in unknown.most_common():
        found.add("unknown category", f"pixel value {value} in {count:,} label map{'' if count == 1 else 's'}")
    if not entries:
        return Survey(found, None, named)
    write_panoptic(
        scratch,
        images=[image for image, _ in entries],
        annotations=[annotation for _, annotation in entries],
        vocabulary=vocabulary,
    )
    return Survey(found, scratch, named)


def _all_pictures(images: Files, labels: Files, pairs: Mapping[str, str], found: FindingList) -> frozenset[str]:
    """The names of all images; those without label map and label maps without image become findings."""
    pictures, used = _pictures(images, IMAGES), set(pairs.values())
    for name in pictures:
        if name not in pairs:
            found.add("unlabelled image", name)
    for name in _pictures(labels, LABELS):
        if name not in used:
            found.add("label map without image", name)
    return frozenset(pictures)


def _pictures(files: Files, suffixes: Collection[str]) -> list[str]:
    paths = [PurePosixPath(name) for name in files.names()]
    return [str(path) for path in paths if path.suffix.lower() in suffixes and not path.name.startswith(".")]


def _read(labels: Files, name: str) -> _Map:
    try:
        values = decode_label_map(labels.read(name, "Label map"), labels.path / name)
    except ConcatError as error:
        return _Map(error=error.message)
    height, width = values.shape
    found, counts = np.unique(values, return_counts=True)
    return _Map(height, width, tuple(zip(found.tolist(), counts.tolist(), strict=True)))

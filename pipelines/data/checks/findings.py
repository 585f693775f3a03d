"""What a check of a data set can find, in plain sentences, with the files concerned."""

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

EXAMPLES: Final = 20
"""So many files a finding names; how many there are it says always."""


@dataclass(frozen=True)
class _Kind:
    """A kind of finding: whether it would break or falsify a run, and what one or `{n}` of it are called."""

    serious: bool
    one: str
    many: str


_KINDS: Final = {
    "unknown category": _Kind(
        True,
        "1 category of the labels is none of the vocabulary",
        "{n} categories of the labels are none of the vocabulary",
    ),
    "category outside": _Kind(
        False,
        "Instances of 1 category that is none of the vocabulary are left out",
        "Instances of {n} categories that are none of the vocabulary are left out",
    ),
    "missing image": _Kind(True, "1 image file is missing", "{n} image files are missing"),
    "missing label map": _Kind(True, "1 label map is missing", "{n} label maps are missing"),
    "unreadable image": _Kind(True, "1 image file cannot be read", "{n} image files cannot be read"),
    "unusable labels": _Kind(True, "The labels of 1 image cannot be used", "The labels of {n} images cannot be used"),
    "other size": _Kind(
        True, "1 image has another size than its labels", "{n} images have another size than their labels"
    ),
    "other area": _Kind(
        True,
        "1 segment has another area than the list states, which falsifies scores",
        "{n} segments have another area than the list states, which falsifies scores",
    ),
    "repeated image": _Kind(
        True, "1 image stands more than once in the list", "{n} images stand more than once in the list"
    ),
    "repeated annotation": _Kind(True, "1 image is annotated twice", "{n} images are annotated twice"),
    "unsafe name": _Kind(
        True, "1 file name in the list leads out of its folder", "{n} file names in the list lead out of their folder"
    ),
    "annotation without image": _Kind(
        True, "1 annotation belongs to no listed image", "{n} annotations belong to no listed image"
    ),
    "image without annotation": _Kind(True, "1 listed image has no annotation", "{n} listed images have no annotation"),
    "empty segment": _Kind(False, "1 segment has area 0", "{n} segments have area 0"),
    "instance without pixel": _Kind(
        False, "1 instance has no pixel and is no object", "{n} instances have no pixel and are no objects"
    ),
    "image without instance": _Kind(False, "1 image has no instance", "{n} images have no instance"),
    "unlabelled image": _Kind(False, "1 image has no label map", "{n} images have no label map"),
    "label map without image": _Kind(False, "1 label map has no image", "{n} label maps have no image"),
    "unused image": _Kind(
        False, "1 image in the folder stands in no list", "{n} images in the folder are not in the list"
    ),
    "category without segment": _Kind(False, "1 category has no segment", "{n} categories have no segment"),
    "unseen category without segment": _Kind(
        False, "1 unseen category has no segment", "{n} unseen categories have no segment"
    ),
    "grey": _Kind(False, "1 image is grey and is read as RGB", "{n} images are grey and are read as RGB"),
    "grey16": _Kind(
        False,
        "1 image is grey with more than 8 bits and loses them",
        "{n} images are grey with more than 8 bits and lose them",
    ),
    "transparent": _Kind(
        False, "1 image has transparency, which is dropped", "{n} images have transparency, which is dropped"
    ),
    "cmyk": _Kind(False, "1 image is CMYK and is read as RGB", "{n} images are CMYK and are read as RGB"),
    "rotated": _Kind(
        False,
        "1 image has an EXIF orientation, which is not followed",
        "{n} images have an EXIF orientation, which is not followed",
    ),
}


class Finding(BaseModel):
    """Something found in a data set.

    Attributes:
        kind: what it is, in words that stay the same.
        serious: whether it would break or falsify a run.
        count: how often it was found.
        says: a sentence without its full stop.
        examples: at most 20 of them: files with reasons, or names.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    serious: bool
    count: int
    says: str
    examples: tuple[str, ...]


class FindingList:
    """Gathers what is found in memory that does not grow with it; begins with what `earlier` holds."""

    def __init__(self, earlier: "FindingList | None" = None) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}
        if earlier is not None:
            self._counts = dict(earlier._counts)
            self._examples = {kind: list(examples) for kind, examples in earlier._examples.items()}

    def add(self, kind: str, example: str) -> None:
        """Counts one finding of a kind.

        Raises:
            KeyError: there is no such kind.
        """
        if kind not in _KINDS:
            raise KeyError(kind)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def sorted(self) -> tuple[Finding, ...]:
        """One finding for each kind that was met, serious ones first."""
        met = sorted(
            ((name, kind) for name, kind in _KINDS.items() if name in self._counts),
            key=lambda item: not item[1].serious,
        )
        return tuple(
            Finding(
                kind=name,
                serious=kind.serious,
                count=self._counts[name],
                says=kind.one if self._counts[name] == 1 else kind.many.format(n=f"{self._counts[name]:,}"),
                examples=tuple(self._examples[name]),
            )
            for name, kind in met
        )

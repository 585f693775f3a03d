"""Images with labels of any form as samples: a list, the image files, and what makes a label's id map."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.data.files.archives import Files
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo
from pipelines.data.formats.picture import open_picture
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.vocabularies.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipelines.data.formats.sample import Sample

VOID: Final = 0
_RECENT: Final = 64  # labels kept, so that sample and truth of an image decode one PNG once: 100 MB at 640×480


@dataclass(frozen=True)
class Labels:
    """The label of one image.

    Attributes:
        ids: int32, H×W, segment ids, 0 where there is none.
        void: bool, H×W, the pixels without a label; crowd has one.
    """

    ids: NDArray[np.int32]
    void: NDArray[np.bool_]


LabelReader = Callable[[ImageInfo, Annotation], Labels]
"""Makes the label of an image, of the image's size and with no id but those that its annotation lists.

Raises a ConcatError if a file is missing, damaged or of another image.
"""


class _Packed(Sequence[tuple[ImageInfo, Annotation]]):
    """A list as another process is given it, unpacked entry by entry: a quarter of its size, in every worker."""

    def __init__(self, packed: bytes) -> None:
        self._packed = msgspec.msgpack.decode(packed, type=list[msgspec.Raw])  # views of `packed`

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: Any) -> Any:
        return msgspec.msgpack.decode(self._packed[index], type=tuple[ImageInfo, Annotation])


class LabelledImages:
    """Images of a list, in its order. Another process can be given them: nothing is held open.

    Args:
        listing: the json, for messages.
        entries: what it says of each image.
        images: the image files.
        read_labels: the form of the labels.
        vocabulary: the categories that may occur. Labels of samples are indices in it.

    Raises:
        ConcatError: a segment's category is not in the vocabulary.
        ProtocolError: a segment's category is not in a vocabulary of seen categories alone.
    """

    def __init__(
        self,
        *,
        listing: Path,
        entries: Sequence[tuple[ImageInfo, Annotation]],
        images: Files,
        read_labels: LabelReader,
        vocabulary: Vocabulary,
    ) -> None:
        self._entries, self._images, self._read_labels = entries, images, read_labels
        self._index_of = vocabulary.index_of()
        self._recent: dict[int, Labels] = {}
        for image, annotation in entries:
            for segment in annotation.segments_info:
                if segment.category_id not in self._index_of:
                    refuse_category(image, segment.category_id, vocabulary, listing)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without the labels at hand, and a list of any length in a fraction of a second."""
        return {**self.__dict__, "_entries": msgspec.msgpack.encode(list(self._entries)), "_recent": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _entries=_Packed(state["_entries"]))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images, in order."""
        return [image.id for image, _ in self._entries]

    def file_name(self, index: int) -> str:
        """The image's file name as the list has it."""
        return self._entries[index][0].file_name

    def image_entries(self) -> list[dict[str, Any]]:
        """The `images` of a json that describes these, with the four fields every tool needs."""
        return [msgspec.structs.asdict(image) for image, _ in self._entries]

    def truth_segments(self, index: int) -> list[TruthSegment]:
        """All segments of an image as the list has them, crowd included; areas that it does not state are counted.

        Raises:
            ConcatError: an area is to be counted, and the label cannot be read.
        """
        segments = self._entries[index][1].segments_info
        counted = self._counted(index) if any(segment.area is UNSET for segment in segments) else {}
        return [
            TruthSegment(s.id, s.category_id, counted.get(s.id, 0) if s.area is UNSET else s.area, s.iscrowd != 0)
            for s in segments
        ]

    def _counted(self, index: int) -> dict[int, int]:
        """Segment id → its pixels in the label."""
        ids, pixels = np.unique(self._labels(index).ids, return_counts=True)
        return dict(zip(ids.tolist(), pixels.tolist(), strict=True))

    def truth(self, index: int) -> tuple[NDArray[np.int32], list[TruthSegment]]:
        """The id map of an image (int32, H×W, read-only; 0: no segment) and the segments painted in it.

        Of instances, one that smaller ones hide is not painted.

        Raises:
            ConcatError: the label is missing.
            CorruptFileError: it is damaged, or it and the list disagree.
        """
        ids = self._labels(index).ids
        painted = set(unique_ids(ids).tolist())
        return ids, [segment for segment in self.truth_segments(index) if segment.id in painted]

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """An image of any mode as RGB (uint8, H×W×3); orientation flags are not followed, as COCO's labels do not.

        Raises:
            ConcatError: the file is missing.
            CorruptFileError: it is damaged or has another size than the list says.
        """
        info, _ = self._entries[index]
        path = self._images.path / info.file_name
        pixels = np.array(open_picture(self._images.read(info.file_name, "Image"), path).convert("RGB"))
        check_size(pixels.shape[:2], info, path)
        return pixels

    def sample(self, index: int) -> "Sample":
        """An image with its segments in the order of the list; crowd and void are ignored, and crowd is no segment.

        Raises:
            ConcatError: a file is missing.
            CorruptFileError: a file is damaged, has another size than the list says, or label and list disagree.
        """
        import torch  # here alone, so that data are listed, checked and drawn without it

        from pipelines.data.formats.sample import Sample

        image = torch.from_numpy(self.pixels(index)).permute(2, 0, 1).contiguous()
        labels, (_, segments) = self._labels(index), self.truth(index)
        targets = [segment for segment in segments if not segment.iscrowd]
        segment_ids = np.array([segment.id for segment in targets], dtype=np.int32)
        crowd = np.isin(labels.ids, [segment.id for segment in segments if segment.iscrowd])
        return Sample(
            image_id=self._entries[index][0].id,
            image=image,
            masks=torch.from_numpy(labels.ids == segment_ids[:, None, None]),  # O×H×W
            labels=torch.tensor([self._index_of[segment.category_id] for segment in targets], dtype=torch.int64),
            segment_ids=torch.from_numpy(segment_ids).long(),
            ignore=torch.from_numpy(labels.void | crowd),
        )

    def _labels(self, index: int) -> Labels:
        labels = self._recent.pop(index, None) or self._read_labels(*self._entries[index])
        labels.ids.flags.writeable = False  # many may hold it
        self._recent[index] = labels
        if len(self._recent) > _RECENT:
            self._recent.pop(next(iter(self._recent)), None)
        return labels


def refuse_category(image: ImageInfo, category_id: int, vocabulary: Vocabulary, listing: Path) -> NoReturn:
    """Raises the error for a category that is none of the vocabulary: a leak, if that holds seen categories alone."""
    what = f"Image {image.id} ({image.file_name}) holds category {category_id}, which is no"
    if len(vocabulary.unseen):
        raise ConcatError(
            f"{what} category of {vocabulary.name}.", file=listing, mend="Give the vocabulary of this data set."
        )
    raise ProtocolError(
        f"{what} seen category: a training image must not hold unseen pixels.",
        file=listing,
        mend="Run split-coco again.",
    )


def unique_ids(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """`np.unique` of an id map (H×W) but void; sorts runs, as neighbours are mostly equal."""
    flat = ids.ravel()
    found: NDArray[np.int32] = np.unique(flat[np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))])
    return found[found != VOID]


def check_size(size: Sequence[int], info: ImageInfo, path: Path) -> None:
    """Refuses a file whose size (height, width) is not the image's.

    Raises:
        CorruptFileError: with the id of the image.
    """
    if tuple(size) != (info.height, info.width):
        raise CorruptFileError(
            f"Image {info.id}: the json says {info.width}×{info.height} px, but this file has {size[1]}×{size[0]}.",
            file=path,
            mend="Unpack images, labels and json from one release.",
        )


def check_listed_once(listed: Collection[int], image_id: int, listing: Path) -> None:
    """Refuses an image that lists one segment twice.

    Raises:
        CorruptFileError: with the ids of image and segment.
    """
    met: set[int] = set()
    for identity in listed:
        if identity in met:
            raise CorruptFileError(f"Image {image_id} lists segment {identity} twice.", file=listing)
        met.add(identity)

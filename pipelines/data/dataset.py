"""A folder of images with COCO-panoptic labels as samples, and the batches of a training run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.data.coco_panoptic import Annotation, ImageInfo, read_panoptic
from pipelines.data.panoptic_png import read_panoptic_png
from pipelines.data.sample import Sample
from pipelines.data.transforms import SampleTransform
from pipelines.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.seeding import derive_seed, permutation_batches
from pipelines.vocabulary import Vocabulary

VOID = 0


class PanopticFolder:
    """Images of a COCO-panoptic json, their files in two folders.

    Args:
        annotations: the json.
        images: folder of the images it lists.
        png: folder of the panoptic PNGs.
        vocabulary: the categories that may occur. Labels are indices in it.

    Raises:
        ConcatError: the json is missing, or a segment's category is not in the vocabulary.
        CorruptFileError: the json is damaged or inconsistent.
        ProtocolError: a segment's category is not in a vocabulary of seen categories alone.
    """

    def __init__(self, annotations: Path, images: Path, png: Path, vocabulary: Vocabulary) -> None:
        self._annotations, self._images, self._png = annotations, images, png
        self._entries = read_panoptic(annotations).pairs()
        self._index_of = vocabulary.index_of()
        for image, annotation in self._entries:
            for segment in annotation.segments_info:
                if segment.category_id not in self._index_of:
                    _refuse_category(image, segment.category_id, vocabulary, annotations)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images, in order."""
        return [image.id for image, _ in self._entries]

    def file_name(self, index: int) -> str:
        """The image's file name as the json has it."""
        return self._entries[index][0].file_name

    def image_entries(self) -> list[dict[str, Any]]:
        """The `images` of a json that describes this folder, with the four fields every tool needs."""
        return [msgspec.structs.asdict(image) for image, _ in self._entries]

    def truth_segments(self, index: int) -> list[TruthSegment]:
        """All segments of an image as the json lists them, crowd included."""
        segments = self._entries[index][1].segments_info
        return [TruthSegment(s.id, s.category_id, s.area, s.iscrowd != 0) for s in segments]

    def truth(self, index: int) -> tuple[NDArray[np.int32], list[TruthSegment]]:
        """The id map (int32, H×W, 0 is void) of an image and all its segments.

        Raises:
            ConcatError: the PNG is missing.
            CorruptFileError: it is damaged, or it and the json disagree.
        """
        image, annotation = self._entries[index]
        ids = self._read_ids(image, annotation)
        painted, _ = _unique(ids)
        self._check_painted(painted, annotation)
        return ids, self.truth_segments(index)

    def sample(self, index: int) -> Sample:
        """An image with its segments in the order of the json; crowd and void are ignored, and crowd is no segment.

        Raises:
            ConcatError: a file is missing.
            CorruptFileError: a file is damaged, has another size than the json says, or PNG and json disagree.
        """
        info, annotation = self._entries[index]
        path = self._images / info.file_name
        image = _read_image(path)
        _check_size(image.shape[1:], info, path)
        painted, place = _unique(self._read_ids(info, annotation))
        self._check_painted(painted, annotation)
        targets = [segment for segment in annotation.segments_info if not segment.iscrowd]
        segment_ids = torch.tensor([segment.id for segment in targets], dtype=torch.int64)
        where = torch.from_numpy(np.searchsorted(painted, segment_ids.numpy()))  # O
        masks = torch.from_numpy(place)[None] == where[:, None, None]
        return Sample(
            image_id=info.id,
            image=image,
            masks=masks,
            labels=torch.tensor([self._index_of[segment.category_id] for segment in targets], dtype=torch.int64),
            segment_ids=segment_ids,
            ignore=~masks.any(dim=0),
        )

    def _read_ids(self, info: ImageInfo, annotation: Annotation) -> NDArray[np.int32]:
        path = self._png / annotation.file_name
        ids = read_panoptic_png(path)
        _check_size(ids.shape, info, path)
        return ids

    def _check_painted(self, painted: NDArray[np.int32], annotation: Annotation) -> None:
        """Refuses a PNG whose ids are not those of the json."""
        listed = [segment.id for segment in annotation.segments_info]
        if len(set(listed)) != len(listed):
            twice = next(i for i in listed if listed.count(i) > 1)
            raise CorruptFileError(f"Image {annotation.image_id} lists segment {twice} twice.", file=self._annotations)
        ids = set(painted.tolist()) - {VOID}
        unlisted, unpainted = ids.difference(listed), set(listed) - ids
        if unlisted or unpainted:
            where = "in its PNG but not in its json" if unlisted else "in its json but not in its PNG"
            raise CorruptFileError(
                f"Image {annotation.image_id} has segment {min(unlisted or unpainted)} {where}.",
                file=self._png / annotation.file_name,
                mend=f"The PNG does not belong to {self._annotations}: unpack both from one release.",
            )


class StepBatches(Dataset[list[Sample] | ConcatError]):
    """The batches of the steps `first_step` to `iterations` - 1, item k that of step `first_step` + k.

    What a batch holds derives from seed, step and image id alone, so any worker makes the same one, and a resumed run
    goes on as if it had not stopped. Use it with `DataLoader(batch_size=None)`.

    Args:
        data: the images.
        batch_size: images a step.
        first_step: the step to begin or go on with.
        iterations: number of steps of the whole run.
        seed: of order and augmentation.
        transform: the augmentation.

    Raises:
        ConcatError: there are no images.
    """

    def __init__(
        self,
        data: PanopticFolder,
        *,
        batch_size: int,
        first_step: int,
        iterations: int,
        seed: int,
        transform: SampleTransform,
    ) -> None:
        self._data, self._seed, self._transform = data, seed, transform
        self._steps = range(first_step, iterations)
        self._order = permutation_batches(len(data), batch_size, seed)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, item: int) -> list[Sample] | ConcatError:
        """The samples of a step, or what is wrong with them: raised in a loader process, it would lose its parts."""
        step = self._steps[item]
        try:
            return [self._augmented(index, step) for index in self._order(step).tolist()]
        except ConcatError as error:
            return error

    def _augmented(self, index: int, step: int) -> Sample:
        sample = self._data.sample(index)
        return self._transform(sample, derive_seed(self._seed, "augment", step, sample.image_id))


def _refuse_category(image: ImageInfo, category_id: int, vocabulary: Vocabulary, annotations: Path) -> NoReturn:
    what = f"Image {image.id} ({image.file_name}) holds category {category_id}, which is no"
    if len(vocabulary.unseen):
        raise ConcatError(
            f"{what} category of {vocabulary.name}.", file=annotations, mend="Give the vocabulary of this data set."
        )
    raise ProtocolError(
        f"{what} seen category: a training image must not hold unseen pixels.",
        file=annotations,
        mend="Run split-coco again.",
    )


def _unique(ids: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """`np.unique` of an id map (H×W) with the place of each pixel's id; sorts runs, as neighbours are mostly equal."""
    flat = ids.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))
    values, place = np.unique(flat[starts], return_inverse=True)
    return values, np.repeat(place, np.diff(starts, append=flat.size)).reshape(ids.shape)


def _read_image(path: Path) -> Tensor:
    """An image file of any mode as RGB (uint8, 3×H×W); orientation flags are not followed, as COCO's labels do not."""
    try:
        with Image.open(path) as file:
            pixels = np.array(file.convert("RGB"))  # H×W×3
    except FileNotFoundError:
        raise ConcatError(
            "Image not found.", file=path, mend="Check the folder of images and that it is complete."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(
            f"Image not readable: {error}.", file=path, mend="Copy or unpack the file again."
        ) from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _check_size(size: Sequence[int], info: ImageInfo, path: Path) -> None:
    if tuple(size) != (info.height, info.width):
        raise CorruptFileError(
            f"Image {info.id}: the json says {info.width}×{info.height} px, but this file has {size[1]}×{size[0]}.",
            file=path,
            mend="Unpack images, PNG and json from one release.",
        )

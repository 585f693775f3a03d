"""Truth and predictions in COCO's panoptic format laid side by side, image by image, and checked for fit."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.terms import Candidates
from pipelines.data.files.decode_json import decode_json
from pipelines.data.files.file_names import check_name
from pipelines.data.formats.coco_panoptic import PanopticJson, not_panoptic
from pipelines.data.formats.panoptic_png import MAX_ID
from pipelines.metrics.panoptic_quality import VOID, PredictedSegment, TruthSegment
from pipelines.scoring.scores import candidates_of
from pipelines.vocabularies.vocabulary import Vocabulary


class PredictedInfo(msgspec.Struct, gc=False):
    """One predicted segment; its area is counted in the PNG, so that none need be stated."""

    id: int
    category_id: int


class PredictedAnnotation(msgspec.Struct, gc=False):
    """The predicted segments of one image and the PNG that shows them."""

    image_id: int
    file_name: str
    segments_info: list[PredictedInfo]


class PredictedJson(msgspec.Struct):
    """What panopticapi reads of a predictions json; its images and categories are those of the truth."""

    annotations: list[PredictedAnnotation]


class Pair(NamedTuple):
    """One image to score.

    Attributes:
        image: its name.
        truth_png: name of the truth's PNG.
        truth: the segments that are scored.
        void: ids of those that count as void.
        predicted_png: name of the prediction's PNG; None: nothing is predicted.
        predicted: the predicted segments.
    """

    image: str
    truth_png: str
    truth: tuple[TruthSegment, ...]
    void: tuple[int, ...]
    predicted_png: str | None
    predicted: tuple[PredictedSegment, ...]


def read_predictions(path: Path, truth: PanopticJson) -> dict[int, PredictedAnnotation]:
    """The predictions by image id.

    Raises:
        ConcatError: an image is predicted that the truth does not list.
        CorruptFileError: the json is damaged or lacks a field, an image is predicted twice, an id does not fit into 24
            bits, or a file name leads out of its folder.
    """
    names = {image.id: image.file_name for image in truth.images}
    found: dict[int, PredictedAnnotation] = {}
    for annotation in decode_json(path, PredictedJson, not_panoptic).annotations:
        check_name(annotation.file_name, path)
        if annotation.image_id not in names:
            raise ConcatError(
                f"Image {annotation.image_id} ({annotation.file_name}) is predicted but not in the ground truth.",
                file=path,
                mend="Give the ground truth of the same images.",
            )
        name = names[annotation.image_id]
        if annotation.image_id in found:
            raise CorruptFileError(f"Image {name} is predicted twice.", file=path)
        for segment in annotation.segments_info:
            if not VOID <= segment.id <= MAX_ID:
                raise CorruptFileError(
                    f"The prediction of image {name} has segment {segment.id}, but ids lie within 1 and {MAX_ID}.",
                    file=path,
                )
        found[annotation.image_id] = annotation
    return found


def pair_images(
    truth: PanopticJson,
    predictions: Mapping[int, PredictedAnnotation],
    vocabulary: Vocabulary,
    candidates: Candidates,
    truth_path: Path,
    predictions_path: Path,
) -> list[Pair]:
    """Every image of the truth with its prediction, in the truth's order.

    Raises:
        ConcatError: a segment of either has an unknown category, or, where unseen names compete alone, a prediction a
            seen one.
    """
    known = set(vocabulary.ids)
    scored = set(candidates_of(vocabulary, candidates).ids)
    pairs = []
    for image, annotation in truth.pairs():
        segments = [
            TruthSegment(s.id, s.category_id, None if s.area is UNSET else s.area, bool(s.iscrowd))
            for s in annotation.segments_info
        ]
        prediction = predictions.get(image.id)
        predicted = [PredictedSegment(s.id, s.category_id) for s in prediction.segments_info] if prediction else []
        _check_categories("ground truth", image.file_name, segments, known, truth_path)
        _check_categories("prediction", image.file_name, predicted, known, predictions_path)
        _refuse_seen(image.file_name, predicted, scored, vocabulary, predictions_path)
        pairs.append(
            Pair(
                image=image.file_name,
                truth_png=annotation.file_name,
                truth=tuple(s for s in segments if s.category_id in scored),
                void=tuple(s.id for s in segments if s.category_id not in scored),
                predicted_png=prediction.file_name if prediction else None,
                predicted=tuple(predicted),
            )
        )
    return pairs


def _check_categories(
    owner: str, image: str, segments: Sequence[TruthSegment | PredictedSegment], known: Collection[int], file: Path
) -> None:
    for segment in segments:
        if segment.category_id not in known:
            raise ConcatError(
                f"The {owner} of image {image} has a segment of the unknown category {segment.category_id}.",
                file=file,
                mend="Give the vocabulary whose category ids these are, with --vocabulary.",
            )


def _refuse_seen(
    image: str, segments: Sequence[PredictedSegment], scored: Collection[int], vocabulary: Vocabulary, file: Path
) -> None:
    for segment in segments:
        if segment.category_id not in scored:
            name = vocabulary.names[vocabulary.ids.index(segment.category_id)]
            raise ConcatError(
                f"The prediction of image {image} has the seen category {name}, but unseen names compete alone.",
                file=file,
                mend="Predict with the unseen names alone, or give --candidates generalised.",
            )

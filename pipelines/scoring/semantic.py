"""mIoU and pixel accuracy of anyone's label maps: PNGs whose pixel values are category ids, truth and prediction."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError
from pipelines.base.progress import Reporter
from pipelines.base.terms import Candidates
from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.label_map import LARGEST, decode_label_map
from pipelines.data.formats.label_map_pairs import PREDICTED, label_maps_by_stem, pair_label_maps
from pipelines.metrics.semantic_iou import (
    IGNORED,
    NOTHING,
    Confusion,
    category_accuracies,
    category_ious,
    confusion,
    summarise_semantic,
)
from pipelines.scoring.images import over_images, refuse_missing
from pipelines.scoring.scores import Figures, Scores, candidates_of, state_scores
from pipelines.vocabularies.vocabulary import Vocabulary

VALUES: Final = LARGEST + 1
_UNKNOWN: Final = -2
_SEEN: Final = -3


class MapPair(NamedTuple):
    """The label maps of one image, by name; None: nothing is predicted."""

    truth: str
    predicted: str | None


class Tables(NamedTuple):
    """Pixel value → category index, or what is to be made of the value; int32, 2¹⁶ entries."""

    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]


def default_ignored(vocabulary: Vocabulary) -> frozenset[int]:
    """0 and 255, which mean background, border or void, unless they are category ids (0 is COCO-Stuff's person)."""
    return frozenset({0, 255}) - set(vocabulary.ids)


def semantic_scores(
    counts: Confusion,
    vocabulary: Vocabulary,
    *,
    images: int,
    candidates: Candidates = "generalised",
    missing: Sequence[str] = (),
) -> Scores:
    """States a confusion (n×(n+1), px): "miou", "pacc" and "n"; "iou", "acc" and "truth_px" of categories."""
    summary = summarise_semantic(counts, vocabulary)
    ious, accuracies, pixels = category_ious(counts), category_accuracies(counts), counts.sum(axis=1).tolist()
    figures: dict[int, Figures] = {
        category: {"iou": _percent(ious[index]), "acc": _percent(accuracies[index]), "truth_px": pixels[index]}
        for category, index in vocabulary.index_of().items()
    }
    return state_scores("semantic", vocabulary, summary, figures, images=images, candidates=candidates, missing=missing)


def score_label_maps(
    truth: Path,
    predictions: Path,
    *,
    vocabulary: Vocabulary,
    ignored: Collection[int] | None = None,
    listed: Path | None = None,
    candidates: Candidates = "generalised",
    allow_missing: bool = False,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Scores:
    """Scores label maps against those of the truth that have the same names.

    Args:
        truth: folder or zip of PNGs.
        predictions: folder or zip of PNGs or of arrays (.npy).
        vocabulary: its ids are the pixel values.
        ignored: values that are no category: pixels that do not count in the truth, no prediction in a prediction;
            None: `default_ignored`.
        listed: a list of the images to score, such as VOC's `ImageSets/Segmentation/val.txt`; None: all of the truth.
        candidates: "novel-only": seen pixels of the truth do not count and a predicted seen value is an error.
        allow_missing: an image without prediction counts as empty.
        workers: processes; None: one a core.

    Raises:
        ConcatError: truth and predictions do not fit together, naming the image; a file is missing or damaged.
    """
    tables = _tables(vocabulary, default_ignored(vocabulary) if ignored is None else ignored, candidates)
    truth_files, predicted_files = open_files(truth), open_files(predictions)
    pairs = _pairs(truth_files, predicted_files, listed)
    missing = [_stem(pair.truth) for pair in pairs if pair.predicted is None]
    refuse_missing(missing, len(pairs), allow_missing, predictions)
    score = partial(
        _score_pair,
        truth_files=truth_files,
        predicted_files=predicted_files,
        tables=tables,
        vocabulary=vocabulary.name,
        n=len(vocabulary),
    )
    counts: Confusion = np.zeros((len(vocabulary), len(vocabulary) + 1), np.int64)
    for of_image in over_images(score, pairs, workers=workers, reporter=reporter):
        counts += of_image
    return semantic_scores(counts, vocabulary, images=len(pairs), candidates=candidates, missing=missing)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _tables(vocabulary: Vocabulary, ignored: Collection[int], candidates: Candidates) -> Tables:
    for category in vocabulary.categories:
        if category.id in ignored:
            raise ConcatError(
                f"The value {category.id} is to be ignored but is the category {category.name} of {vocabulary.name}.",
                mend="Leave it out of --ignore.",
            )
    truth, predicted = np.full(VALUES, _UNKNOWN, np.int32), np.full(VALUES, _UNKNOWN, np.int32)
    truth[[value for value in ignored if value < VALUES]] = IGNORED
    predicted[[value for value in ignored if value < VALUES]] = NOTHING
    scored = set(candidates_of(vocabulary, candidates).ids)
    for index, category in enumerate(vocabulary.categories):
        if category.id < VALUES:
            truth[category.id] = index if category.id in scored else IGNORED
            predicted[category.id] = index if category.id in scored else _SEEN
    return Tables(truth, predicted)


def _pairs(truth: Files, predictions: Files, listed: Path | None) -> list[MapPair]:
    """Every label map of the truth, or every listed one, with the prediction of the same name."""
    predicted, everything = label_maps_by_stem(predictions, PREDICTED), label_maps_by_stem(truth)
    for stem, name in predicted.items():
        if stem not in everything:
            raise ConcatError(
                f"Image {name} is predicted but not in the ground truth.",
                file=predictions.path,
                mend="Give the ground truth of the same images.",
            )
    names = [name for name, _ in pair_label_maps(truth, truth, listed).names]
    return [MapPair(name, predicted.get(_stem(name))) for name in names]


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _score_pair(
    pair: MapPair, *, truth_files: Files, predicted_files: Files, tables: Tables, vocabulary: str, n: int
) -> Confusion:
    truth = _read_indices(truth_files, pair.truth, tables.truth, vocabulary)
    if pair.predicted is None:
        return confusion(truth, np.full_like(truth, NOTHING), n)
    predicted = _read_indices(predicted_files, pair.predicted, tables.predicted, vocabulary)
    try:
        return confusion(truth, predicted, n, image=_stem(pair.truth))
    except ConcatError as error:
        raise ConcatError(error.message, file=predicted_files.path / pair.predicted) from None


def _read_indices(files: Files, name: str, table: NDArray[np.int32], vocabulary: str) -> NDArray[np.int32]:
    """A label map as category indices (int32, H×W).

    Raises:
        ConcatError: it holds a value that `table` refuses.
    """
    values = decode_label_map(files.read(name, "Label map"), files.path / name)
    indices = table[values]
    if indices.min() < IGNORED:
        value = int(values[indices < IGNORED][0])
        seen = table[value] == _SEEN
        what = "a seen category, but unseen names compete alone" if seen else f"no category of {vocabulary}"
        raise ConcatError(
            f"The label map of image {_stem(name)} holds the value {value}, which is {what}.",
            file=files.path / name,
            mend="Predict with the unseen names alone, or give --candidates generalised."
            if seen
            else f"Give the vocabulary of these label maps, or --ignore {value} if it marks pixels without a category.",
        )
    return indices

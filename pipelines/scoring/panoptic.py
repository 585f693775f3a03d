"""Panoptic quality of anyone's predictions in COCO's panoptic format: two jsons, each with its folder of PNGs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import ValidationError

from pipelines.base.errors import ConcatError
from pipelines.base.progress import Reporter, SilentReporter
from pipelines.base.remarks import Remarks
from pipelines.base.terms import Candidates
from pipelines.data.files.archives import Files, open_files
from pipelines.data.files.decode_json import decode_json
from pipelines.data.formats.coco_panoptic import not_panoptic, read_panoptic
from pipelines.data.formats.panoptic_png import build_run_decoder, decode_panoptic_runs
from pipelines.data.sets.locations import png_folder
from pipelines.metrics.groups import category_groups
from pipelines.metrics.panoptic_quality import (
    VOID,
    CategoryCounts,
    ImageScore,
    WrongTruthError,
    score_image,
    summarise,
    total,
)
from pipelines.metrics.segment_runs import SegmentRuns
from pipelines.scoring.images import over_images, refuse_missing
from pipelines.scoring.panoptic_pairs import Pair, pair_images, read_predictions
from pipelines.scoring.scores import Figures, Scores, candidates_of, state_scores
from pipelines.vocabularies.vocabulary import Category, Vocabulary


def panoptic_scores(
    counts: Mapping[int, CategoryCounts],
    vocabulary: Vocabulary,
    *,
    images: int,
    candidates: Candidates = "generalised",
    missing: Sequence[str] = (),
) -> Scores:
    """States counts that `panoptic_quality.total` made: "pq", "sq", "rq" and "n"; "tp", "fp", "fn" of categories."""
    summary = summarise(counts, category_groups(vocabulary))
    figures = {category.id: _figures(counts.get(category.id, CategoryCounts())) for category in vocabulary.categories}
    return state_scores("panoptic", vocabulary, summary, figures, images=images, candidates=candidates, missing=missing)


def score_panoptic(
    truth: Path,
    predictions: Path,
    *,
    vocabulary: Vocabulary | None = None,
    truth_png: Path | None = None,
    predictions_png: Path | None = None,
    candidates: Candidates = "generalised",
    allow_missing: bool = False,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Scores:
    """Scores a predictions json against a truth json, image by image in the truth's order, as panopticapi does.

    Args:
        truth: COCO-panoptic json, which may lie in a zip.
        predictions: json with the `annotations` of every image of the truth.
        vocabulary: the categories; None: those of the truth's json, of which none is unseen.
        truth_png: folder or zip of the truth's PNGs; None: beside its json and named like it.
        predictions_png: the same for the predictions.
        candidates: "novel-only": seen segments of the truth count as void and a predicted one is an error.
        allow_missing: an image without prediction counts as empty, every truth segment of it as missed.
        workers: processes; None: one a core.

    Raises:
        ConcatError: truth and predictions do not fit together, naming the image; a file is missing or damaged.
    """
    content, remarks = read_panoptic(truth), Remarks()
    kinds_known = vocabulary is not None
    if vocabulary is None:
        vocabulary, kinds_known = _vocabulary_of(truth)
    candidates_of(vocabulary, candidates)
    annotations = read_predictions(predictions, content)
    pairs = pair_images(content, annotations, vocabulary, candidates, truth, predictions)
    for pair in pairs:
        _remark(pair, vocabulary, remarks)
    missing = [pair.image for pair in pairs if pair.predicted_png is None]
    refuse_missing(missing, len(pairs), allow_missing, predictions)
    score = partial(
        _score_pair,
        truth_files=open_files(truth_png or png_folder(truth)),
        predicted_files=open_files(predictions_png or png_folder(predictions)),
        categories=frozenset(vocabulary.ids),
    )
    build_run_decoder(reporter or SilentReporter())
    counts = total(over_images(score, pairs, workers=workers, reporter=reporter))
    scores = panoptic_scores(counts, vocabulary, images=len(pairs), candidates=candidates, missing=missing)
    scores = scores.model_copy(update={"remarks": remarks.sentences()})
    return scores if kinds_known else _without_kinds(scores)


def _remark(pair: Pair, vocabulary: Vocabulary, remarks: Remarks) -> None:
    """Remarks what panopticapi reads in a way of its own, and what is read here though it is odd."""
    crowds = Counter(segment.category_id for segment in pair.truth if segment.iscrowd)
    for category_id, count in crowds.items():
        if count > 1:
            name = vocabulary.names[vocabulary.ids.index(category_id)]
            remarks.add(
                "Of several crowds of one category in an image, only the last excuses predictions, as in panopticapi",
                "Of several crowds of one category in {n} images, only the last excuses predictions, as in panopticapi",
                f"{pair.image} ({count} of {name})",
            )
    if VOID in {*(segment.id for segment in pair.truth), *(segment.id for segment in pair.predicted)}:
        remarks.add(
            "A segment has the id 0, which is void, and counts as panopticapi counts it",
            "Segments of {n} images have the id 0, which is void, and count as panopticapi counts them",
            pair.image,
        )


def _without_kinds(scores: Scores) -> Scores:
    """The scores of categories of which nobody said whether they are things or stuff."""
    groups = dict(scores.groups)
    for group in ("things", "stuff"):
        if group in groups:
            groups[group] = dict.fromkeys(groups[group], None)
    said = "The json does not say which categories are things, so these are scored over all alone; --vocabulary can say"
    return scores.model_copy(update={"groups": groups, "remarks": (*scores.remarks, said)})


def _figures(counts: CategoryCounts) -> Figures:
    qualities = {name: 100 * getattr(counts, name) if counts.present else None for name in ("pq", "sq", "rq")}
    return {**qualities, "tp": counts.tp, "fp": counts.fp, "fn": counts.fn}


def _score_pair(pair: Pair, *, truth_files: Files, predicted_files: Files, categories: frozenset[int]) -> ImageScore:
    truth = _read_png(truth_files, pair.truth_png).replaced(pair.void, VOID)
    if pair.predicted_png is None:
        predicted, file = truth.replaced(truth.ids.tolist(), VOID), truth_files.path / pair.truth_png
    else:
        predicted, file = _read_png(predicted_files, pair.predicted_png), predicted_files.path / pair.predicted_png
    try:
        return score_image(truth, pair.truth, predicted, pair.predicted, categories=categories, image=pair.image)
    except WrongTruthError as error:
        raise ConcatError(error.message, file=truth_files.path / pair.truth_png, mend=error.mend) from None
    except ConcatError as error:
        raise ConcatError(error.message, file=file, mend=error.mend) from None


def _read_png(files: Files, name: str) -> SegmentRuns:
    return decode_panoptic_runs(files.read(name, "Panoptic PNG"), files.path / name)


def _vocabulary_of(truth: Path) -> tuple[Vocabulary, bool]:
    """The categories of a truth json, and whether it says of each if it is a thing."""

    class Entry(msgspec.Struct):
        id: int
        name: str
        isthing: int | UnsetType = UNSET

    class Categories(msgspec.Struct):
        categories: list[Entry]

    entries = decode_json(truth, Categories, not_panoptic).categories
    try:
        categories = tuple(Category(id=e.id, name=e.name, isthing=bool(e.isthing)) for e in entries)
        return Vocabulary(name=truth.stem, categories=categories), all(e.isthing is not UNSET for e in entries)
    except ValidationError as error:
        raise not_panoptic(truth, f"its categories: {error.errors()[0]['msg']}") from None

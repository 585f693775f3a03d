"""Average precision and recall of anyone's instances: a COCO instances json against a COCO results json."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.remarks import Remarks
from pipelines.base.terms import Candidates
from pipelines.data.files.archives import read_bytes
from pipelines.data.files.plain_json import plain_entry
from pipelines.metrics.instance_ap import InstanceFigures, evaluate_instances, summarise_instances
from pipelines.metrics.instance_input import Kind, checked_images, checked_truth, without_empty
from pipelines.scoring.scores import Figures, Scores, candidates_of, state_scores
from pipelines.vocabularies.vocabulary import Category, Vocabulary

Json = dict[str, Any]
_SCORES: Final = ("ap50", "ap", "recall100")


def instance_scores(
    mask: Mapping[int, InstanceFigures],
    box: Mapping[int, InstanceFigures],
    vocabulary: Vocabulary,
    *,
    images: int,
    candidates: Candidates = "generalised",
    missing: Sequence[str] = (),
) -> Scores:
    """States figures that `evaluate_instances` made, of masks and boxes: "mask_ap50", …, "box_recall100" and "n"."""
    figures: dict[int, Figures] = {
        category: {
            f"{kind}_{score}": 100 * getattr(found[category], score) if category in found else None
            for kind, found in (("mask", mask), ("box", box))
            for score in _SCORES
        }
        for category in vocabulary.ids
    }
    summary = summarise_instances(mask, box, vocabulary)
    return state_scores("instance", vocabulary, summary, figures, images=images, candidates=candidates, missing=missing)


def score_instances(
    truth: Path,
    predictions: Path,
    *,
    vocabulary: Vocabulary | None = None,
    candidates: Candidates = "generalised",
) -> Scores:
    """Scores results against a truth json, as pycocotools does; every image of the truth counts.

    An image without result is one where nothing was found, as COCO's results have it.

    Args:
        truth: COCO instances json, which may lie in a zip; its instances of other categories are left out.
        predictions: COCO results json; results without masks are scored by their boxes alone.
        vocabulary: the categories; None: those of the truth's json, of which none is unseen.
        candidates: "novel-only": seen instances of the truth are left out and a seen result is an error.

    Raises:
        ConcatError: truth and predictions do not fit together, naming the image; a file is missing or damaged.
    """
    content, results = read_truth(truth), _read_results(predictions)
    vocabulary = vocabulary or _vocabulary_of(content, truth)
    scored = candidates_of(vocabulary, candidates)
    with _in_file(truth):
        content, empty = without_empty(_restricted(content, scored.ids, truth), scored.ids)
    _refuse_seen(results, set(vocabulary.ids) - set(scored.ids), vocabulary, predictions)
    kinds: list[Kind] = ["segm", "bbox"] if not results or any("segmentation" in r for r in results) else ["bbox"]
    figures: dict[Kind, dict[int, InstanceFigures]] = {"segm": {}, "bbox": {}}
    for kind in kinds:
        with _in_file(truth):  # checked ahead, so that errors name the right file
            checked_truth(content, checked_images(content, scored.ids), kind)
        with _in_file(predictions):
            figures[kind] = evaluate_instances(content, results, scored.ids, kind)
    scores = instance_scores(
        figures["segm"], figures["bbox"], vocabulary, images=len(content["images"]), candidates=candidates
    )
    return scores.model_copy(update={"remarks": _remarks(empty)})


def _remarks(empty: Sequence[Json]) -> tuple[str, ...]:
    remarks = Remarks()
    for annotation in empty:
        remarks.add_empty_instance(f"id {annotation.get('id')} of image {annotation.get('image_id')}")
    return remarks.sentences()


def read_truth(path: Path) -> Json:
    """A COCO instances json, its numbers spelt plainly.

    Raises:
        ConcatError: the file is missing or damaged, or lacks a list of the format.
    """
    content = _read_json(path)
    for name in ("images", "annotations", "categories"):
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise CorruptFileError(
                f"Not a COCO instances json: it has no list of {name}.",
                file=path,
                mend="Give COCO's json of instances (instances_val2017.json).",
            )
        content[name] = [plain_entry(entry) for entry in entries]
    if any("segments_info" in annotation for annotation in content["annotations"][:1]):
        raise CorruptFileError(
            "Not a COCO instances json: its annotations are panoptic ones.",
            file=path,
            mend="Give COCO's json of instances (instances_val2017.json), or --task panoptic.",
        )
    return dict(content)


def _read_results(path: Path) -> list[Json]:
    results = _read_json(path)
    if isinstance(results, dict) and isinstance(results.get("annotations"), list):
        results = results["annotations"]  # as some tools wrap them
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise CorruptFileError(
            "Not a COCO results json: it is no list of results.",
            file=path,
            mend="Give a list of results, each with image_id, category_id, score and segmentation or bbox.",
        )
    return [plain_entry(result) for result in results]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path, what="Json"))
    except (ValueError, RecursionError) as error:
        mend = "The file is damaged or truncated: copy or write it again."
        raise CorruptFileError(f"Not valid JSON: {error}.", file=path, mend=mend) from None


def _vocabulary_of(truth: Json, path: Path) -> Vocabulary:
    """The categories of a truth json."""
    try:
        entries = [Category(id=c.get("id"), name=c.get("name"), isthing=True) for c in truth["categories"]]
        return Vocabulary(name=path.stem, categories=tuple(entries))
    except ValidationError as error:
        raise CorruptFileError(
            f"Not a COCO instances json: its categories: {error.errors()[0]['msg']}.", file=path
        ) from None


def _restricted(truth: Json, scored: Collection[int], path: Path) -> Json:
    """The truth without its other categories and their instances."""
    others = [category for category in truth["categories"] if category.get("id") not in scored]
    if len(others) == len(truth["categories"]):
        raise ConcatError(
            "None of the ground truth's categories is one of the vocabulary.",
            file=path,
            mend="Give the vocabulary whose category ids these are, with --vocabulary.",
        )
    dropped = [category["id"] for category in others if isinstance(category.get("id"), int)]
    return {
        **truth,
        "categories": [category for category in truth["categories"] if category.get("id") in scored],
        "annotations": [a for a in truth["annotations"] if a.get("category_id") not in dropped],
    }


def _refuse_seen(results: Sequence[Json], seen: Collection[int], vocabulary: Vocabulary, path: Path) -> None:
    for result in results:
        category = result.get("category_id")
        if isinstance(category, int) and category in seen:
            name = vocabulary.names[vocabulary.ids.index(category)]
            raise ConcatError(
                f"A result of image {result.get('image_id')} has the seen category {name}, but unseen names compete "
                "alone.",
                file=path,
                mend="Predict with the unseen names alone, or give --candidates generalised.",
            )


@contextmanager
def _in_file(path: Path) -> Iterator[None]:
    """Names the file that an error concerns."""
    try:
        yield
    except ConcatError as error:
        raise ConcatError(error.message, file=path, mend=error.mend) from None

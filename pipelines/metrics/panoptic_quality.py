"""Panoptic quality with exactly the rules of the official panopticapi (Kirillov et al., "Panoptic Segmentation").

    PQ = Σ_TP IoU / (|TP| + ½|FP| + ½|FN|) = SQ · RQ

A truth and a predicted segment of one category match when their IoU exceeds ½. The rules that decide the last digits:
the area of a truth segment is the one its json states, that of a predicted segment is counted in its id map; void of
the truth leaves the union; an unmatched prediction that lies mostly on void, or on the last crowd segment of its
category, is no error; a truth id the json does not list is neither segment nor void; IoUs are added one by one in
image order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from pipelines.base.errors import ConcatError
from pipelines.metrics.groups import Summary, percent_mean, with_harmonic
from pipelines.metrics.segment_runs import IdMap, Overlaps, SegmentRuns, count_overlaps, runs_of

VOID: Final = 0
_QUALITIES: Final = ("pq", "sq", "rq")


class TruthSegment(NamedTuple):
    """A segment of the ground truth; `area` in px as its json states it, None: as counted in the id map."""

    id: int
    category_id: int
    area: int | None
    iscrowd: bool = False


class WrongTruthError(ConcatError):
    """The ground truth contradicts itself, whatever is predicted."""


class PredictedSegment(NamedTuple):
    """A predicted segment; its area is counted in the id map."""

    id: int
    category_id: int


@dataclass(frozen=True)
class ImageScore:
    """What one image adds, by category id; categories without an entry add nothing.

    Attributes:
        ious: IoU of each matched pair, in matching order; their number is the count of true positives.
        false_positives: predicted segments without a match.
        false_negatives: truth segments without a match.
    """

    ious: dict[int, list[float]] = field(default_factory=dict)
    false_positives: dict[int, int] = field(default_factory=dict)
    false_negatives: dict[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a value of JSON, whose keys are strings."""
        return {name: {str(key): value for key, value in counts.items()} for name, counts in vars(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, Any]]) -> "ImageScore":
        """The inverse of `to_json`, bit for bit."""
        return cls(**{name: {int(key): count for key, count in counts.items()} for name, counts in value.items()})


@dataclass
class CategoryCounts:
    """Sums of one category over images; pq, sq and rq are fractions, 0 where nothing matched."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def present(self) -> bool:
        """Whether the category stands in truth or prediction at all; otherwise no mean counts it."""
        return self.tp + self.fp + self.fn > 0

    @property
    def pq(self) -> float:
        """Panoptic quality."""
        return self.iou / (self.tp + 0.5 * self.fp + 0.5 * self.fn) if self.present else 0.0

    @property
    def sq(self) -> float:
        """Segmentation quality: the mean IoU of matched pairs."""
        return self.iou / self.tp if self.tp else 0.0

    @property
    def rq(self) -> float:
        """Recognition quality: the F1 of matching."""
        return self.tp / (self.tp + 0.5 * self.fp + 0.5 * self.fn) if self.present else 0.0


def score_image(
    truth_ids: IdMap | SegmentRuns,
    truth_segments: Sequence[TruthSegment],
    predicted_ids: IdMap | SegmentRuns,
    predicted_segments: Sequence[PredictedSegment],
    *,
    categories: Collection[int],
    image: str,
) -> ImageScore:
    """Matches the segments of one image.

    Args:
        truth_ids: integer, H×W, 0 to 2²⁴−1; 0 is void. Its runs (`runs_of`) spare work where one truth judges several
            predictions.
        truth_segments: the segments the truth's json lists. One with the id of void is missed by every prediction; a
            predicted one is a segment like others, as in panopticapi, unless it has no pixel: then it is none.
        predicted_ids: the same, or its runs.
        predicted_segments: one for each id in `predicted_ids` other than 0.
        categories: the category ids there are.
        image: name of the image, for messages.

    Raises:
        ConcatError: id map and list of the prediction disagree, a category is unknown, an id stands twice, or the
            sizes differ.
        WrongTruthError: the same is wrong with the truth's list, or a stated area cannot be that of its segment.
    """
    truths = _by_id(truth_segments, categories, f"The ground truth of image {image}", WrongTruthError)
    predictions = _by_id(predicted_segments, categories, f"The prediction of image {image}", ConcatError)
    if truth_ids.shape != predicted_ids.shape:
        sizes = " and ".join(f"{ids.shape[1]}×{ids.shape[0]}" for ids in (truth_ids, predicted_ids))
        raise ConcatError(f"Truth and prediction of image {image} differ in size: {sizes} px.")
    overlaps = count_overlaps(_as_runs(truth_ids), _as_runs(predicted_ids))
    areas, truth_areas = _predicted_areas(overlaps, predictions.keys(), image), _truth_areas(overlaps, truths)
    predictions = {identity: predictions[identity] for identity in predictions if identity in areas}  # void may lack

    score = ImageScore()
    matched_truths, matched_predictions = set(), set()
    for (truth_id, predicted_id), overlap in overlaps.items():
        truth = truths.get(truth_id) if truth_id != VOID else None  # void's pixels are nobody's
        prediction = predictions.get(predicted_id)
        if truth is None or prediction is None or truth.iscrowd or truth.category_id != prediction.category_id:
            continue
        truth_area = truth_areas[truth_id]
        union = areas[predicted_id] + truth_area - overlap - overlaps.get((VOID, predicted_id), 0)
        if truth_area == 0 or union < overlap:
            raise WrongTruthError(
                f"The area of segment {truth_id} of image {image} is too small: {truth_area} px.",
                mend="State the area of every segment of the ground truth, as counted in its PNG.",
            )
        if overlap / union > 0.5:
            score.ious.setdefault(truth.category_id, []).append(overlap / union)
            matched_truths.add(truth_id)
            matched_predictions.add(predicted_id)

    crowds = {truth.category_id: truth.id for truth in truths.values() if truth.iscrowd}  # the last of a category wins
    for truth in truths.values():
        if truth.id not in matched_truths and not truth.iscrowd:
            _add_one(score.false_negatives, truth.category_id)
    for prediction in predictions.values():
        if prediction.id in matched_predictions:
            continue
        excused = overlaps.get((VOID, prediction.id), 0)
        if prediction.category_id in crowds:
            excused += overlaps.get((crowds[prediction.category_id], prediction.id), 0)
        if excused / areas[prediction.id] <= 0.5:
            _add_one(score.false_positives, prediction.category_id)
    return score


def total(scores: Iterable[ImageScore]) -> dict[int, CategoryCounts]:
    """Adds up images, in their order; categories that occur nowhere have no entry."""
    counts: dict[int, CategoryCounts] = {}
    for score in scores:
        for category, ious in score.ious.items():
            sums = counts.setdefault(category, CategoryCounts())
            sums.tp += len(ious)
            for iou in ious:
                sums.iou += iou
        for category, number in score.false_positives.items():
            counts.setdefault(category, CategoryCounts()).fp += number
        for category, number in score.false_negatives.items():
            counts.setdefault(category, CategoryCounts()).fn += number
    return counts


def summarise(counts: Mapping[int, CategoryCounts], groups: Mapping[str, Sequence[int]]) -> Summary:
    """Means over the present categories of each group, in percent, and the harmonic mean of seen and unseen.

    Returns:
        group → {"pq", "sq", "rq", "n"}, n the number of present categories; a group without one has n 0 and None for
        its scores. "harmonic" is added where `groups` holds seen and unseen categories: of each score, with n None;
        None where no category of one of the two is present.
    """
    summary: Summary = {}
    for group, members in groups.items():
        present = [counts[category] for category in members if category in counts and counts[category].present]
        means = {key: percent_mean(getattr(c, key) for c in present) for key in _QUALITIES}
        summary[group] = {**means, "n": len(present)}
    return with_harmonic(summary, groups, _QUALITIES)


_Segment = TypeVar("_Segment", TruthSegment, PredictedSegment)


def _by_id(
    segments: Sequence[_Segment], categories: Collection[int], owner: str, error: type[ConcatError]
) -> dict[int, _Segment]:
    by_id: dict[int, _Segment] = {}
    for segment in segments:
        if segment.category_id not in categories:
            raise error(f"{owner} has a segment of the unknown category {segment.category_id}.")
        if segment.id in by_id:
            raise error(f"{owner} lists {segment.id} twice.")
        by_id[segment.id] = segment
    return by_id


def _as_runs(ids: IdMap | SegmentRuns) -> SegmentRuns:
    return ids if isinstance(ids, SegmentRuns) else runs_of(ids)


def _truth_areas(overlaps: Overlaps, truths: Mapping[int, TruthSegment]) -> dict[int, int]:
    """The stated areas, and the pixels of segments without one."""
    areas = {identity: truth.area or 0 for identity, truth in truths.items()}
    for (truth_id, _), overlap in overlaps.items():
        if truth_id in truths and truths[truth_id].area is None:
            areas[truth_id] += overlap
    return areas


def _predicted_areas(overlaps: Overlaps, listed: Collection[int], image: str) -> dict[int, int]:
    areas: dict[int, int] = {}
    for (_, predicted_id), overlap in overlaps.items():
        if predicted_id != VOID or VOID in listed:
            areas[predicted_id] = areas.get(predicted_id, 0) + overlap
    unlisted, unpainted = areas.keys() - set(listed), set(listed) - areas.keys() - {VOID}
    if unlisted or unpainted:
        where = "in its PNG but not in its json" if unlisted else "in its json but not in its PNG"
        raise ConcatError(f"The prediction of image {image} has segment {min(unlisted or unpainted)} {where}.")
    return areas


def _add_one(counts: dict[int, int], category: int) -> None:
    counts[category] = counts.get(category, 0) + 1

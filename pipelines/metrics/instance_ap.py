"""Average precision and recall of instances, as pycocotools computes them (Lin et al., "Microsoft COCO").

Readings: AP is the mean over IoU 0.5, 0.55, …, 0.95, AP50 that at 0.5. Recall@100, which the zero-shot literature
reports (PADing, table 5; Zheng et al., "Zero-Shot Instance Segmentation", whose scripts read it from COCOeval), is the
recall at IoU 0.5 of each category with at most 100 detections an image, averaged over categories. All areas; crowds of
the truth neither count as missed nor make a detection on them wrong. Categories without a truth that counts have no
figures and are in no mean, as in pycocotools.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, Final, NamedTuple

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.metrics.groups import Summary, category_groups, percent_mean, with_harmonic
from pipelines.metrics.instance_input import Entry, Images, Kind, checked_images, checked_results, checked_truth
from pipelines.vocabularies.vocabulary import Vocabulary

DETECTIONS: Final = 100  # an image
_SCORES: Final = ("ap50", "ap", "recall100")


class InstanceFigures(NamedTuple):
    """The figures of one category, as fractions."""

    ap: float
    ap50: float
    recall100: float


def evaluate_instances(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], category_ids: Collection[int], kind: Kind
) -> dict[int, InstanceFigures]:
    """Scores results of COCO's format against a COCO instances json; neither is changed.

    Args:
        truth: "images" (id, height, width), "annotations" (segmentation as polygons or RLE; bbox) and "categories".
        results: image_id, category_id, score, and segmentation (compressed RLE, counts str or bytes) or bbox (x, y,
            width, height in px).
        category_ids: the categories scored; those of seen and unseen names, or the unseen alone.
        kind: score masks ("segm"), or boxes ("bbox"), which are those of the masks where none is stated.

    Returns:
        category id → its figures, for the categories that the truth holds other than as crowd.

    Raises:
        ConcatError: an image, an instance or a result is damaged or unknown; names it.
    """
    images = checked_images(truth, category_ids)
    wanted = sorted(set(category_ids))
    truths, detections = checked_truth(truth, images, kind), checked_results(results, images, kind)
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(images, truths), _coco(images, detections), kind)
        evaluation.params.catIds = wanted
        evaluation.params.maxDets = [DETECTIONS]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, 0], evaluation.eval["recall"][..., 0, 0]  # T×R×K, T×K
    return {
        category: InstanceFigures(
            float(precision[:, :, k].mean()), float(precision[0, :, k].mean()), float(recall[0, k])
        )
        for k, category in enumerate(wanted)
        if recall[0, k] > -1
    }


def summarise_instances(
    mask: Mapping[int, InstanceFigures], box: Mapping[int, InstanceFigures], vocabulary: Vocabulary
) -> Summary:
    """Means over the categories of each group that have figures, in percent, and the harmonic mean of seen and unseen.

    Args:
        mask: as `evaluate_instances` returns it for masks; empty if they were not scored.
        box: the same for boxes.
        vocabulary: the categories there are.

    Returns:
        group → {"mask_ap50", "mask_ap", "mask_recall100", "box_ap50", "box_ap", "box_recall100", "n"}, n the number of
        categories with figures; None for scores that no category has.
    """
    groups, kinds = category_groups(vocabulary), {"mask": mask, "box": box}
    summary: Summary = {}
    for group, members in groups.items():
        means = {
            f"{kind}_{score}": percent_mean(getattr(figures[c], score) for c in members if c in figures)
            for kind, figures in kinds.items()
            for score in _SCORES
        }
        summary[group] = {**means, "n": sum(c in mask or c in box for c in members)}
    return with_harmonic(summary, groups, [f"{kind}_{score}" for kind in kinds for score in _SCORES])


def _coco(images: Images, annotations: list[Entry]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image, "height": height, "width": width} for image, (height, width) in images.sizes.items()],
        "annotations": annotations,
        "categories": [{"id": category} for category in images.categories],
    }
    coco.createIndex()
    return coco

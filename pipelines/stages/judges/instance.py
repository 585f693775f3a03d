"""Judges instance segmentation: AP and recall of masks and boxes, predictions as a COCO results json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from pipelines.base.files import write_json
from pipelines.base.terms import Candidates
from pipelines.draw.drawing import Drawing
from pipelines.inference.extract import Extracted
from pipelines.inference.instance import DRAWN_FROM, PredictedInstance, instance_variants
from pipelines.metrics.instance_ap import evaluate_instances
from pipelines.metrics.instance_input import without_empty
from pipelines.scoring.instance import instance_scores, read_truth
from pipelines.scoring.scores import Scores
from pipelines.stages.judges.judge import Answer, Judged, Record

_MASKS, _FOUND, _IMAGE = "masks", "found", "image_id"


class InstanceJudge:
    """The `Judge` of the instance task.

    A record holds each mask once, and for every answer rows (mask, label, score).
    """

    def __init__(self, given: Judged) -> None:
        self.data, self.vocabulary, self.settings, self.out = given.data, given.vocabulary, given.settings, given.out
        self.truth = given.listing
        self.isthing = torch.tensor([category.isthing for category in self.vocabulary.categories])

    def record(
        self, extracted: Extracted, index: int, answers: Mapping[str, Answer], written: Mapping[str, str]
    ) -> Record:
        """Predicts every answer's instances of one image."""
        height, width = extracted.sample.ignore.shape
        found = instance_variants(
            [answer.probabilities for answer in answers.values()],
            extracted.mask_logits,
            (height, width),
            self.isthing,
            top=self.settings.instances,
            padding=extracted.padding,
        )
        masks: dict[str, int] = {}
        rows = {
            answer: [[_number(masks, instance), instance.label, instance.score] for instance in instances]
            for answer, instances in zip(answers, found, strict=True)
        }
        return {
            _IMAGE: extracted.sample.image_id,
            "size": [height, width],
            _MASKS: list(masks),
            _FOUND: rows,
            "written": dict(written),
        }

    def scores(self, records: Sequence[Record], candidates: Mapping[str, Candidates]) -> dict[str, Scores]:
        """AP and recall of every answer."""
        truth, _ = without_empty(read_truth(self.truth), self.vocabulary.ids)
        scores = {}
        for answer, which in candidates.items():
            part = self.vocabulary.unseen if which == "novel-only" else self.vocabulary
            ids = set(part.ids)
            results = [r for record in records for r in self._results(record, answer) if r["category_id"] in ids]
            mask, box = (evaluate_instances(truth, results, category_ids=part.ids, kind=k) for k in ("segm", "bbox"))
            scores[answer] = instance_scores(mask, box, self.vocabulary, images=len(records), candidates=which)
        return scores

    def write_predictions(self, records: Sequence[Record], setting: str) -> None:
        """Writes `SETTING.json`, a COCO results json."""
        results = [result for record in records for result in self._results(record, record["written"][setting])]
        write_json(self.out / f"{setting}.json", results, indent=None)

    def drawing(self, records: Sequence[Record], setting: str, index: int) -> Drawing:
        """The well scored instances of one image, the best in front."""
        record = records[index]
        ids, category_of = np.zeros(record["size"], np.int32), {}
        results = self._results(record, record["written"][setting])
        drawn = sorted((r for r in results if r["score"] >= DRAWN_FROM), key=lambda r: r["score"])
        for number, result in enumerate(drawn, start=1):
            ids[coco_mask.decode(result["segmentation"]) > 0] = number
            category_of[number] = result["category_id"]
        return Drawing(ids, category_of)

    def _results(self, record: Record, answer: str) -> list[dict[str, Any]]:
        """The detections of one image as COCO's results; the box is that of the mask."""
        codes = [{"size": record["size"], "counts": counts} for counts in record[_MASKS]]
        boxes = coco_mask.toBbox(codes).tolist() if codes else []
        return [
            {
                "image_id": record[_IMAGE],
                "category_id": self.vocabulary.categories[label].id,
                "segmentation": codes[mask],
                "bbox": boxes[mask],
                "score": score,
            }
            for mask, label, score in record[_FOUND][answer]
        ]


def _number(masks: dict[str, int], instance: PredictedInstance) -> int:
    """The place of an instance's mask among the masks of its image."""
    return masks.setdefault(instance.rle["counts"], len(masks))

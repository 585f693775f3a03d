"""Judges panoptic segmentation: PQ, SQ and RQ, predictions as COCO-panoptic json and PNG."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pipelines.base.files import write_json
from pipelines.base.terms import Candidates
from pipelines.data.formats.coco_panoptic import category_entries
from pipelines.data.formats.panoptic_png import read_panoptic_png, write_panoptic_png
from pipelines.draw.drawing import Drawing
from pipelines.inference.extract import Extracted
from pipelines.inference.panoptic import PanopticPrediction, panoptic_variants
from pipelines.metrics.panoptic_quality import VOID, ImageScore, PredictedSegment, TruthSegment, score_image, total
from pipelines.metrics.segment_runs import SegmentRuns, runs_of
from pipelines.scoring.panoptic import panoptic_scores
from pipelines.scoring.scores import Scores
from pipelines.stages.judges.judge import ANNOTATIONS, SCORES, Answer, Judged, Record, png_name


class PanopticJudge:
    """The `Judge` of the panoptic task."""

    def __init__(self, given: Judged) -> None:
        self.data, self.vocabulary, self.settings, self.out = given.data, given.vocabulary, given.settings, given.out
        self.ids = set(self.vocabulary.ids)
        self.isthing = torch.tensor([category.isthing for category in self.vocabulary.categories])

    def record(
        self, extracted: Extracted, index: int, answers: Mapping[str, Answer], written: Mapping[str, str]
    ) -> Record:
        """Scores every answer on one image and writes the PNGs of `written`."""
        truths = self._truths(index)
        predictions = dict(zip(answers, self._predict(extracted, answers), strict=True))
        name, scores = self.data.file_name(index), {}
        for answer, prediction in predictions.items():
            segments = [PredictedSegment(s.id, self.vocabulary.categories[s.label].id) for s in prediction.segments]
            runs, listed = truths[answers[answer].candidates]
            score = score_image(runs, listed, prediction.ids, segments, categories=self.ids, image=name)
            scores[answer] = score.to_json()
        return {
            SCORES: scores,
            ANNOTATIONS: {
                setting: self._write(setting, name, extracted.sample.image_id, predictions[answer])
                for setting, answer in written.items()
            },
        }

    def scores(self, records: Sequence[Record], candidates: Mapping[str, Candidates]) -> dict[str, Scores]:
        """PQ, SQ and RQ of every answer."""
        return {
            answer: panoptic_scores(
                total(ImageScore.from_json(record[SCORES][answer]) for record in records),
                self.vocabulary,
                images=len(records),
                candidates=which,
            )
            for answer, which in candidates.items()
        }

    def write_predictions(self, records: Sequence[Record], setting: str) -> None:
        """Writes `SETTING.json`, whose PNGs lie in the folder `SETTING`."""
        content = {
            "images": self.data.image_entries(),
            "annotations": [record[ANNOTATIONS][setting] for record in records],
            "categories": category_entries(self.vocabulary),
        }
        write_json(self.out / f"{setting}.json", content, indent=None)

    def drawing(self, records: Sequence[Record], setting: str, index: int) -> Drawing:
        """The prediction of one image, read back."""
        entry = records[index][ANNOTATIONS][setting]
        ids = read_panoptic_png(self.out / setting / entry["file_name"])
        return Drawing(ids, {segment["id"]: segment["category_id"] for segment in entry["segments_info"]})

    def _truths(self, index: int) -> dict[Candidates, tuple[SegmentRuns, list[TruthSegment]]]:
        """The truth for each candidate set: seen segments are void where unseen names alone compete."""
        ids, segments = self.data.truth(index)
        unseen = set(self.vocabulary.unseen.ids)
        novel = [segment for segment in segments if segment.category_id in unseen]
        seen = [segment.id for segment in segments if segment.category_id not in unseen]
        runs = runs_of(ids)
        return {"generalised": (runs, segments), "novel-only": (runs.replaced(seen, VOID), novel)}

    def _predict(self, extracted: Extracted, answers: Mapping[str, Answer]) -> list[PanopticPrediction]:
        height, width = extracted.sample.ignore.shape
        return panoptic_variants(
            [answer.probabilities for answer in answers.values()],
            extracted.mask_logits,
            (height, width),
            self.isthing,
            score_threshold=self.settings.score_threshold,
            mask_threshold=self.settings.mask_threshold,
            overlap_threshold=self.settings.overlap_threshold,
            padding=extracted.padding,
        )

    def _write(self, setting: str, name: str, image_id: int, prediction: PanopticPrediction) -> dict[str, Any]:
        """Writes the PNG of one prediction; returns its annotation in the json."""
        write_panoptic_png(self.out / setting / png_name(name), prediction.ids)
        segments = [
            {
                "id": s.id,
                "category_id": self.vocabulary.categories[s.label].id,
                "score": round(s.score, 6),
                "area": s.area,
                "iscrowd": 0,
            }
            for s in prediction.segments
        ]
        return {"image_id": image_id, "file_name": png_name(name), "segments_info": segments}

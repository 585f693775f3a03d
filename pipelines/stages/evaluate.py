"""eval: panoptic quality of the inductive and the transductive setting, predictions, table and panels.

The extractor runs once; every increment and every iterate of finetuning rescores its queries. Images go in chunks,
each written when complete, so that an interrupted evaluation goes on with the next one.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.clip.text import open_text
from pipelines.data.dataset import PanopticFolder
from pipelines.data.panoptic_png import write_panoptic_png
from pipelines.devices import make_fabric
from pipelines.extractor import Extractor, load_extractor, load_head
from pipelines.files import atomic_path, read_json, write_json
from pipelines.forward import Assigner, Extracted, extract
from pipelines.inference.panoptic import PanopticPrediction, panoptic_variants
from pipelines.inference.probabilities import class_probabilities
from pipelines.metrics.groups import category_groups
from pipelines.metrics.panoptic_quality import (
    CategoryCounts,
    ImageScore,
    PredictedSegment,
    score_image,
    summarise,
    total,
)
from pipelines.projector import ProjectionHead
from pipelines.queries import QueryRow, ShardWriter
from pipelines.recipe import EvalSettings, Recipe
from pipelines.runner import Run, Stage, StageContext
from pipelines.stages.panels import write_panels
from pipelines.stages.render import locations_of
from pipelines.vocabulary import Vocabulary, open_seen, open_unseen

NAME = "eval"
CHUNK = 256  # images


@dataclass(frozen=True)
class Variant:
    """One way to score the same queries: a head and an increment on unseen logits."""

    head: ProjectionHead
    increment: float


def execute(context: StageContext) -> None:
    """Evaluates the validation images."""
    recipe, settings = context.recipe, context.recipe.eval
    fabric = make_fabric(recipe.runtime)
    seen = open_seen(context.input("seen.json"))
    unseen = open_unseen(context.input("unseen.json"), stage=NAME)
    vocabulary = seen + unseen
    text = torch.cat(
        [
            open_text(context.input("text_seen"), seen.names, stage=NAME),
            open_text(context.input("text_unseen"), unseen.names, stage=NAME),
        ]
    ).to(fabric.device)
    where = locations_of(context.run)
    data = PanopticFolder(context.input("val.json"), where.val_images, where.val_png, vocabulary)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, text.shape[1])
    model = fabric.setup_module(extractor)
    variants = _variants(context, extractor, text.shape[1], fabric.device)
    last = max(name for name in variants if name.startswith("iterate"))
    written = {"inductive": _inductive(settings.increment), "transductive": last}
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    shards = _resumed_shards(context.out, vocabulary.names, len(data))
    with context.reporter.task(NAME, len(data), shards.done) as task:
        for first in range(shards.done, len(data), CHUNK):
            indices, records = range(first, min(first + CHUNK, len(data))), []
            extracted_images = extract(
                model, data, indices, input=recipe.con.input, batch_size=settings.batch_size, device=fabric.device
            )
            for index, extracted in zip(indices, extracted_images, strict=True):
                shards.add(QueryRow(extracted.sample.image_id, extracted.queries, *assigner(extracted)))
                records.append(
                    _record(extracted, data, index, variants, text, vocabulary, recipe, written, context.out)
                )
                task.advance()
            write_json(context.out / "scores" / f"{first // CHUNK:03d}.json", records, indent=None)
    _write_results(context, data, vocabulary, written, variants)
    context.device = str(fabric.device)


def _resumed_shards(out: Path, names: list[str], rows: int) -> ShardWriter:
    """The writer of val queries, set to the first chunk whose scores an interrupted evaluation did not write."""
    scored = len(list((out / "scores").glob("[0-9]*.json")))
    for shard in (out / "queries").glob("[0-9]*.h5"):
        if int(shard.stem) >= scored:
            shard.unlink()
    return ShardWriter(out / "queries", shard=CHUNK, names=names, rows=rows)


def _inductive(increment: float) -> str:
    return f"increment {increment:g}"


def _iterate(step: int) -> str:
    return f"iterate {step:06d}"


def _variants(context: StageContext, extractor: Extractor, text_dim: int, device: torch.device) -> dict[str, Variant]:
    """Everything that is scored, by name: the increments of the inductive setting, the iterates of finetuning."""
    recipe = context.recipe
    increments = sorted({*recipe.eval.sweep, recipe.eval.increment})
    variants = {_inductive(increment): Variant(extractor.head, increment) for increment in increments}
    for path in sorted(context.input("iterates").glob("[0-9]*.safetensors")):
        head = load_head(path, recipe.con, recipe.con.segmentor.hidden_dim, text_dim, prefix="").to(device).eval()
        variants[_iterate(int(path.stem))] = Variant(head, 0.0)
    return variants


@torch.inference_mode()
def _record(
    extracted: Extracted,
    data: PanopticFolder,
    index: int,
    variants: Mapping[str, Variant],
    text: Tensor,
    vocabulary: Vocabulary,
    recipe: Recipe,
    written: Mapping[str, str],
    out: Path,
) -> dict[str, Any]:
    """Scores every variant on one image and writes the predictions of those in `written`."""
    settings, softmax = recipe.eval, recipe.con.matching.classification == "softmax"
    truth_ids, truth_segments = data.truth(index)
    isthing = torch.tensor([category.isthing for category in vocabulary.categories])
    unseen = torch.tensor([category.unseen for category in vocabulary.categories], device=text.device)
    probabilities = [_probabilities(variant, extracted.queries, text, unseen, softmax) for variant in variants.values()]
    predictions = dict(
        zip(
            variants,
            panoptic_variants(
                probabilities,
                extracted.mask_logits,
                truth_ids.shape,
                isthing,
                score_threshold=settings.score_threshold,
                mask_threshold=settings.mask_threshold,
                overlap_threshold=settings.overlap_threshold,
                padding=extracted.padding,
            ),
            strict=True,
        )
    )
    name = data.file_name(index)
    scores = {}
    for variant, prediction in predictions.items():
        segments = [PredictedSegment(s.id, vocabulary.categories[s.label].id) for s in prediction.segments]
        scores[variant] = score_image(
            truth_ids, truth_segments, prediction.ids, segments, categories=set(vocabulary.ids), image=name
        ).to_json()
    image_id = extracted.sample.image_id
    annotations = {}
    for setting, variant in written.items():
        png = f"{Path(name).stem}.png"
        write_panoptic_png(out / setting / png, predictions[variant].ids)
        annotations[setting] = {
            "image_id": image_id,
            "file_name": png,
            "segments_info": _segments_info(predictions[variant], vocabulary),
        }
    return {"image_id": image_id, "scores": scores, "annotations": annotations}


def _probabilities(variant: Variant, queries: Tensor, text: Tensor, unseen: Tensor, softmax: bool) -> Tensor:
    """P of every query (K×N); the softmax variant of table 3 has ∅ for a competitor."""
    _, logits = variant.head(queries, text)
    if not softmax:
        return class_probabilities(logits, unseen, variant.increment)
    logits = variant.head.classifier.with_no_object(logits + variant.increment * unseen)
    return logits.softmax(-1)[..., :-1]


def _segments_info(prediction: PanopticPrediction, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    return [
        {
            "id": s.id,
            "category_id": vocabulary.categories[s.label].id,
            "score": round(s.score, 6),
            "area": s.area,
            "iscrowd": 0,
        }
        for s in prediction.segments
    ]


def _write_results(
    context: StageContext,
    data: PanopticFolder,
    vocabulary: Vocabulary,
    written: Mapping[str, str],
    variants: Mapping[str, Variant],
) -> None:
    records = [record for path in sorted((context.out / "scores").glob("[0-9]*.json")) for record in read_json(path)]
    counts = {name: total(ImageScore.from_json(record["scores"][name]) for record in records) for name in variants}
    metrics = _metrics(context.recipe.eval, counts, vocabulary)
    metrics |= {"images": len(records), "candidates": "all names compete (generalised)"}
    write_json(context.out / "metrics.json", metrics)
    _write_categories(context.out / "categories.csv", vocabulary, {s: counts[v] for s, v in written.items()})
    for setting in written:
        write_json(
            context.out / f"{setting}.json",
            {
                "images": data.image_entries(),
                "annotations": [record["annotations"][setting] for record in records],
                "categories": [
                    {
                        "id": c.id,
                        "name": c.name,
                        "isthing": int(c.isthing),
                        "supercategory": c.name,
                        "color": list(c.color),
                    }
                    for c in vocabulary.categories
                ],
            },
            indent=None,
        )
    if context.recipe.eval.panels:
        write_panels(context.out, data, vocabulary, context.recipe.eval.panels)
    context.metrics |= {
        setting: metrics[setting]["panoptic"]["harmonic"]["pq"] for setting in ("inductive", "transductive")
    }


def _metrics(
    settings: EvalSettings, counts: Mapping[str, Mapping[int, CategoryCounts]], vocabulary: Vocabulary
) -> dict[str, Any]:
    """`metrics.json`: every figure of eval, in percent."""
    groups = category_groups(vocabulary)
    scores: dict[str, dict[str, Any]] = {name: {"panoptic": summarise(c, groups)} for name, c in counts.items()}
    path = {int(name.split()[1]): score for name, score in scores.items() if name.startswith("iterate")}
    best = max(path, key=lambda step: path[step]["panoptic"]["harmonic"]["pq"] or 0.0)
    last = max(path)
    return {
        "increment": settings.increment,
        "inductive": scores[_inductive(settings.increment)],
        "inductive_sweep": {f"{increment:g}": scores[_inductive(increment)] for increment in settings.sweep},
        "transductive": {"step": last, **path[last]},
        "transductive_best": {"step": best, "note": "chosen on this test set, as the papers do", **path[best]},
        "finetune_path": {str(step): score for step, score in path.items()},
    }


def _write_categories(path: Path, vocabulary: Vocabulary, settings: Mapping[str, Mapping[int, CategoryCounts]]) -> None:
    """PQ, SQ, RQ and counts of every category, in percent, as CSV."""
    columns = ("pq", "sq", "rq", "tp", "fp", "fn")
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "thing", "unseen", *(f"{s} {c}" for s in settings for c in columns)])
        for category in vocabulary.categories:
            row: list[object] = [category.id, category.name, int(category.isthing), int(category.unseen)]
            for counts in settings.values():
                found = counts.get(category.id, CategoryCounts())
                row += [round(100 * getattr(found, name), 3) for name in columns[:3]] if found.present else [""] * 3
                row += [getattr(found, name) for name in columns[3:]]
            writer.writerow(row)


def _sources(run: Run) -> dict[str, Path]:
    where = locations_of(run)
    return {"val images": where.val_images, "val png": where.val_png}


STAGE = Stage(
    name=NAME,
    folder="eval",
    version=1,
    execute=execute,
    sources=_sources,
    knows_unseen_names=True,
    reads={
        "split-coco": ("val.json", "seen.json", "unseen.json"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "finetune": ("iterates", "text_unseen"),
    },
    settings=lambda recipe: {
        "eval": recipe.eval.that_matter(),
        "input": recipe.con.input.that_matter(),
        "con": recipe.con.segmentor.that_matter() | recipe.con.classifier.that_matter(),
        "precision": recipe.runtime.precision,
    },
)

"""eval: scores of the inductive and the transductive setting, predictions, table and panels, for any task.

The extractor runs once; every increment, every iterate of finetuning and both candidate sets rescore its queries.
Images go in chunks, each written when complete, so that an interrupted evaluation goes on with the next one.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.clip.text import open_text
from pipelines.data.labelled_images import LabelledImages
from pipelines.devices import make_fabric
from pipelines.extractor import Extractor, load_extractor, load_head
from pipelines.files import atomic_path, read_json, write_json
from pipelines.forward import Assigner, extract
from pipelines.inference.probabilities import class_probabilities
from pipelines.projector import ProjectionHead
from pipelines.queries import QueryRow, ShardWriter
from pipelines.recipe import EvalSettings, Recipe, Task
from pipelines.runner import Run, Stage, StageContext
from pipelines.scoring.scores import CANDIDATES, Candidates, Scores
from pipelines.stages.images import validation_images
from pipelines.stages.judges.instance import InstanceJudge
from pipelines.stages.judges.judge import Answer, Drawing, Judge, Record
from pipelines.stages.judges.panoptic import PanopticJudge
from pipelines.stages.judges.semantic import SemanticJudge
from pipelines.stages.panels import write_panels
from pipelines.stages.render import locations_of
from pipelines.stages.score_board import write_board
from pipelines.stages.text import given_rows, text_store
from pipelines.vocabulary import Vocabulary, open_seen, open_unseen

NAME = "eval"
CHUNK = 256  # images
NOVEL_ONLY = ", unseen names alone"


@dataclass(frozen=True)
class Variant:
    """One way to score the same queries: a head, an increment on unseen logits, and the names that compete."""

    head: ProjectionHead
    increment: float
    candidates: Candidates = "generalised"


def execute(context: StageContext) -> None:
    """Evaluates the validation images."""
    seen = open_seen(context.input("seen.json"))
    unseen = open_unseen(context.input("unseen.json"), stage=NAME)
    unseen += taught_besides(context, unseen)
    device = make_fabric(context.recipe.runtime).device
    context.cached["text_unseen"] = text_store(context, unseen, given_rows(context, unseen), device)
    text = torch.cat(
        [
            open_text(context.input("text_seen"), seen.names, stage=NAME),
            open_text(context.cached["text_unseen"], unseen.names, stage=NAME),
        ]
    )
    listing, vocabulary = context.input("val.json"), seen + unseen
    data = validation_images(context.run, listing, vocabulary)
    evaluate(context, context.recipe.task, data, vocabulary, text, listing)


def taught_besides(context: StageContext, unseen: Vocabulary) -> Vocabulary:
    """Names that were taught though the data set does not have them: they compete, without a segment to be right on."""
    if "taught.json" not in context.inputs:
        return Vocabulary(name=unseen.name, categories=())
    taught = open_unseen(context.input("taught.json"), stage=NAME)
    return Vocabulary(name=unseen.name, categories=tuple(c for c in taught.categories if c.id not in unseen.ids))


def evaluate(
    context: StageContext, task: Task, data: LabelledImages, vocabulary: Vocabulary, text: Tensor, listing: Path
) -> None:
    """Scores the extractor and its projectors on labelled images, whose names need not be those of training.

    Args:
        vocabulary: the names that compete, those unknown to training marked unseen.
        text: their embeddings, N×C.
        listing: the json that `data` was opened from.
    """
    recipe, fabric = context.recipe, make_fabric(context.recipe.runtime)
    text = text.to(fabric.device)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, text.shape[1])
    model = fabric.setup_module(extractor)
    variants = _variants(context, extractor, vocabulary, text.shape[1], fabric.device)
    written = _written(recipe, variants)
    judge = _judge(task, recipe.eval, data, vocabulary, context.out, listing)
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    answers = _Answers(variants, vocabulary, text, softmax=recipe.con.matching.classification == "softmax")
    shards = _resumed_shards(context.out, vocabulary.names, len(data))
    with context.reporter.task(context.stage, len(data), shards.done) as progress:
        for first in range(shards.done, len(data), CHUNK):
            indices, records = range(first, min(first + CHUNK, len(data))), []
            images = extract(
                model,
                data,
                indices,
                input=recipe.con.input,
                batch_size=recipe.eval.batch_size,
                device=fabric.device,
            )
            for index, extracted in zip(indices, images, strict=True):
                shards.add(QueryRow(extracted.sample.image_id, extracted.queries, *assigner(extracted)))
                records.append(judge.record(extracted, index, answers(extracted.queries), written))
                progress.advance()
            write_json(context.out / "scores" / f"{first // CHUNK:03d}.json", records, indent=None)
    _write_results(context, task, judge, data, vocabulary, variants, written)
    context.device = str(fabric.device)


def _judge(
    task: Task, settings: EvalSettings, data: LabelledImages, vocabulary: Vocabulary, out: Path, listing: Path
) -> Judge:
    if task == "semantic":
        return SemanticJudge(data, vocabulary, out)
    if task == "instance":
        return InstanceJudge(data, vocabulary, settings, out, listing)
    return PanopticJudge(data, vocabulary, settings, out)


def _resumed_shards(out: Path, names: list[str], rows: int) -> ShardWriter:
    """The writer of val queries, set to the first chunk whose scores an interrupted evaluation did not write."""
    scored = len(list((out / "scores").glob("[0-9]*.json")))
    for shard in (out / "queries").glob("[0-9]*.h5"):
        if int(shard.stem) >= scored:
            shard.unlink()
    return ShardWriter(out / "queries", shard=CHUNK, names=names, rows=rows)


# --- what is scored --------------------------------------------------------------------------------------------------


def _inductive(increment: float) -> str:
    return f"increment {increment:g}"


def _iterate(step: int) -> str:
    return f"iterate {step:06d}"


def _variants(
    context: StageContext, extractor: Extractor, vocabulary: Vocabulary, text_dim: int, device: torch.device
) -> dict[str, Variant]:
    """Everything that is scored, by name: the increments of the inductive setting, the iterates of finetuning."""
    recipe = context.recipe
    increments = sorted({*recipe.eval.sweep, recipe.eval.increment})
    variants = {_inductive(increment): Variant(extractor.head, increment) for increment in increments}
    iterates = context.inputs.get("iterates")  # none in an inductive run
    for path in sorted(iterates.glob("[0-9]*.safetensors")) if iterates else []:
        head = load_head(path, recipe.con, recipe.con.segmentor.hidden_dim, text_dim, prefix="").to(device).eval()
        variants[_iterate(int(path.stem))] = Variant(head, 0.0)
    if recipe.eval.novel_only and 0 < len(vocabulary.unseen) < len(vocabulary):
        for name in _written(recipe, variants).values():
            variants[name + NOVEL_ONLY] = replace(variants[name], candidates="novel-only")
    return variants


def _written(recipe: Recipe, variants: Mapping[str, Variant]) -> dict[str, str]:
    """The setting's name → the variant whose predictions are kept: the preset increment and the last iterate."""
    iterates = [name for name, variant in variants.items() if name.startswith("iterate") and _competing_all(variant)]
    written = {"inductive": _inductive(recipe.eval.increment)}
    return written | ({"transductive": max(iterates)} if iterates else {})


def _competing_all(variant: Variant) -> bool:
    return variant.candidates == "generalised"


class _Answers:
    """Class probabilities of every variant, from the queries of an image."""

    def __init__(self, variants: Mapping[str, Variant], vocabulary: Vocabulary, text: Tensor, *, softmax: bool) -> None:
        self.variants, self.text, self.softmax = variants, text, softmax
        self.unseen = torch.tensor([category.unseen for category in vocabulary.categories], device=text.device)

    @torch.inference_mode()
    def __call__(self, queries: Tensor) -> dict[str, Answer]:
        """Queries are V, K×D."""
        return {
            name: Answer(self._probabilities(variant, queries), variant.candidates)
            for name, variant in self.variants.items()
        }

    def _probabilities(self, variant: Variant, queries: Tensor) -> Tensor:
        """P of every query (K×N); the softmax variant of table 3 has ∅ for a competitor."""
        _, logits = variant.head(queries, self.text)
        if not _competing_all(variant):
            logits = logits.masked_fill(~self.unseen, -torch.inf)
        if not self.softmax:
            return class_probabilities(logits, self.unseen, variant.increment)
        logits = variant.head.classifier.with_no_object(logits + variant.increment * self.unseen)
        return logits.softmax(-1)[..., :-1]


# --- what is left behind ---------------------------------------------------------------------------------------------


def _write_results(
    context: StageContext,
    task: Task,
    judge: Judge,
    data: LabelledImages,
    vocabulary: Vocabulary,
    variants: Mapping[str, Variant],
    written: Mapping[str, str],
) -> None:
    records = [record for path in sorted((context.out / "scores").glob("[0-9]*.json")) for record in read_json(path)]
    scores = judge.scores(records, {name: variant.candidates for name, variant in variants.items()})
    metrics = _metrics(context.recipe, task, judge.figure, scores, written)
    metrics |= {"vocabulary": vocabulary.name, "images": len(records), "candidates": CANDIDATES["generalised"]}
    write_json(context.out / "metrics.json", metrics)
    _write_categories(context.out / "categories.csv", vocabulary, {s: scores[v] for s, v in written.items()})
    for setting in written:
        judge.write_predictions(records, setting)
    if context.recipe.eval.panels:
        _write_panels(context, judge, data, vocabulary, records, written)
    write_board(context.out, metrics, task, judge.figure, context.out / "panels.png")
    context.metrics |= {setting: _rank(scores[variant], judge.figure) for setting, variant in written.items()}


def _metrics(
    recipe: Recipe, task: Task, figure: str, scores: Mapping[str, Scores], written: Mapping[str, str]
) -> dict[str, Any]:
    """`metrics.json`: every figure of eval, in percent."""
    settings = recipe.eval
    groups: dict[str, dict[str, Any]] = {name: {task: score.groups} for name, score in scores.items()}
    metrics: dict[str, Any] = {
        "task": task,
        "protocol": recipe.data.protocol,
        "increment": settings.increment,
        "inductive": groups[_inductive(settings.increment)],
        "inductive_sweep": {f"{increment:g}": groups[_inductive(increment)] for increment in settings.sweep},
    }
    path = {int(name.split()[1]): name for name in scores if name.startswith("iterate") and NOVEL_ONLY not in name}
    if path:
        best, last = max(path, key=lambda step: _rank(scores[path[step]], figure) or 0.0), max(path)
        note = "chosen on this test set, as the papers do"
        metrics |= {
            "transductive": {**groups[path[last]], "step": last},
            "transductive_best": {**groups[path[best]], "step": best, "note": note},
            "finetune_path": {str(step): groups[name] for step, name in path.items()},
        }
    novel = {setting: groups.get(name + NOVEL_ONLY) for setting, name in written.items()}
    return metrics | {"novel_only": {setting: found for setting, found in novel.items() if found}}


def _rank(scores: Scores, figure: str) -> float | None:
    """The figure that results are ranked by: harmonic, or over all where there is no unseen category."""
    return scores.groups.get("harmonic", scores.groups["all"])[figure]


def _write_categories(path: Path, vocabulary: Vocabulary, settings: Mapping[str, Scores]) -> None:
    """The figures of every category, in percent, as CSV."""
    found = {setting: {score.id: score.figures for score in scores.categories} for setting, scores in settings.items()}
    columns = list(dict.fromkeys(name for by_id in found.values() for figures in by_id.values() for name in figures))
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "thing", "unseen", *(f"{s} {c}" for s in settings for c in columns)])
        for category in vocabulary.categories:
            row: list[object] = [category.id, category.name, int(category.isthing), int(category.unseen)]
            for by_id in found.values():
                figures = by_id.get(category.id, {})
                row += [_cell(figures.get(column)) for column in columns]
            writer.writerow(row)


def _cell(figure: float | None) -> float | str:
    return "" if figure is None else round(figure, 3)


def _write_panels(
    context: StageContext,
    judge: Judge,
    data: LabelledImages,
    vocabulary: Vocabulary,
    records: Sequence[Record],
    written: Mapping[str, str],
) -> None:
    def drawing_of(setting: str) -> Callable[[int], Drawing]:
        return lambda index: judge.drawing(records, setting, index)

    settings = {setting: drawing_of(setting) for setting in written}
    write_panels(context.out / "panels.png", data, vocabulary, context.recipe.eval.panels, settings)


def sources(run: Run) -> dict[str, Path]:
    """Images and labels of the validation set."""
    return locations_of(run).val.pixels("val ")


def settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that results of an evaluation depend on."""
    return {
        "task": recipe.task,
        "eval": recipe.eval.that_matter(),
        "input": recipe.con.input.that_matter(),
        "con": recipe.con.segmentor.that_matter() | recipe.con.classifier.that_matter(),
        "precision": recipe.runtime.precision,
    }


STAGE = Stage(
    name=NAME,
    folder="eval",
    version=2,
    execute=execute,
    sources=sources,
    knows_unseen_names=True,
    reads={
        "split-coco": ("val.json", "seen.json", "unseen.json", "text_unseen.npy"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "finetune": ("iterates", "taught.json"),
    },
    settings=settings,
)

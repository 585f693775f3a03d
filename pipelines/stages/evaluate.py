"""eval: scores of the inductive and the transductive setting, predictions, table and panels, for any task.

The extractor runs once; every increment, every iterate of finetuning and both candidate sets rescore its queries.
Images go in chunks, each written when complete, so that an interrupted evaluation goes on with the next one; several
processes take chunks in turn.
"""

from pathlib import Path

import torch
from torch import Tensor

from pipelines.base.files import write_json
from pipelines.base.terms import Task
from pipelines.clip.text import open_text
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.generators.dump import QueryRow, Shards
from pipelines.inference.extract import Assigner, extract
from pipelines.models.extractor import load_extractor
from pipelines.runs.run import StageContext
from pipelines.stages.images import validation_images
from pipelines.stages.judges.build import JUDGES
from pipelines.stages.judges.judge import Judged
from pipelines.stages.results import write_results
from pipelines.stages.text import given_rows, text_store
from pipelines.stages.variants import Answers, variants_of, written_variants
from pipelines.training.devices import make_fabric, precision_of
from pipelines.vocabularies.vocabulary import Vocabulary, open_seen, open_unseen

NAME = "eval"
CHUNK = 256  # images


def execute(context: StageContext) -> None:
    """Evaluates the validation images."""
    seen = open_seen(context.input("seen.json"))
    unseen = open_unseen(context.input("unseen.json"), stage=NAME)
    unseen += taught_besides(context, unseen)
    device = make_fabric(context.recipe.runtime, context.processes).device
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
    recipe, fabric = context.recipe, make_fabric(context.recipe.runtime, context.processes)
    text = text.to(fabric.device)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, text.shape[1])
    model = fabric.setup_module(extractor)
    variants = variants_of(context, extractor, vocabulary, text.shape[1], fabric.device)
    written = written_variants(recipe, variants)
    judge = JUDGES[task](Judged(data, vocabulary, recipe.eval, context.out, listing))
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    answers = Answers(variants, vocabulary, text, softmax=recipe.con.matching.classification == "softmax")
    processes = context.processes
    shards = Shards(context.out / "queries", CHUNK, tuple(vocabulary.names), len(data))
    missing = processes.from_first(_missing(shards, context.out) if processes.first else [])
    left = sum(len(shards.rows_of(number)) for number in missing)
    with context.reporter.task(context.stage, len(data), len(data) - left) as progress:
        for number in processes.turns(missing):
            indices, rows, records = shards.rows_of(number), [], []
            images = extract(
                model,
                data,
                indices,
                input=recipe.con.input,
                batch_size=recipe.eval.batch_size,
                device=fabric.device,
            )
            for index, extracted in zip(indices, images, strict=True):
                rows.append(QueryRow(extracted.sample.image_id, extracted.queries, *assigner(extracted)))
                records.append(judge.record(extracted, index, answers(extracted.queries), written))
                progress.advance(processes.count)
            shards.write(number, rows)
            write_json(_scores(context.out, number), records, indent=None)
    processes.gather(None)  # all have written
    if processes.first:
        write_results(context, task, judge, data, vocabulary, variants, written)
    context.device, context.precision = str(fabric.device), precision_of(fabric)


def _missing(shards: Shards, out: Path) -> list[int]:
    """The chunks whose queries or scores an interrupted evaluation did not write."""
    missing = set(shards.missing())
    chunks = range(-(-shards.rows // shards.shard))
    return [number for number in chunks if number in missing or not _scores(out, number).exists()]


def _scores(out: Path, number: int) -> Path:
    return out / "scores" / f"{number:03d}.json"

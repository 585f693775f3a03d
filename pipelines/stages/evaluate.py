"""eval: scores of the inductive and the transductive setting, predictions, table and panels, for any task.

The extractor runs once; every increment, every iterate of finetuning and both candidate sets rescore its queries.
Images go in chunks, each written when complete, so that an interrupted evaluation goes on with the next one.
"""

from pathlib import Path

import torch
from torch import Tensor

from pipelines.base.files import write_json
from pipelines.base.terms import Task
from pipelines.clip.text import open_text
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.generators.dump import QueryRow, ShardWriter
from pipelines.inference.extract import Assigner, extract
from pipelines.models.extractor import load_extractor
from pipelines.runs.run import StageContext
from pipelines.stages.images import validation_images
from pipelines.stages.judges.build import JUDGES
from pipelines.stages.judges.judge import Judged
from pipelines.stages.results import write_results
from pipelines.stages.text import given_rows, text_store
from pipelines.stages.variants import Answers, variants_of, written_variants
from pipelines.training.devices import make_fabric
from pipelines.vocabularies.vocabulary import Vocabulary, open_seen, open_unseen

NAME = "eval"
CHUNK = 256  # images


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
    variants = variants_of(context, extractor, vocabulary, text.shape[1], fabric.device)
    written = written_variants(recipe, variants)
    judge = JUDGES[task](Judged(data, vocabulary, recipe.eval, context.out, listing))
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    answers = Answers(variants, vocabulary, text, softmax=recipe.con.matching.classification == "softmax")
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
    write_results(context, task, judge, data, vocabulary, variants, written)
    context.device = str(fabric.device)


def _resumed_shards(out: Path, names: list[str], rows: int) -> ShardWriter:
    """The writer of val queries, set to the first chunk whose scores an interrupted evaluation did not write."""
    scored = len(list((out / "scores").glob("[0-9]*.json")))
    for shard in (out / "queries").glob("[0-9]*.h5"):
        if int(shard.stem) >= scored:
            shard.unlink()
    return ShardWriter(out / "queries", shard=CHUNK, names=names, rows=rows)

"""dump-queries: all K queries of every training image with their assigned labels, into HDF5 shards of the cache."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from pipelines.base.disk import bytes_below, check_room
from pipelines.base.files import alone, remove
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.generators.dump import QueryRow, Shards
from pipelines.generators.dump_size import dump_bytes
from pipelines.inference.extract import Assigner, extract
from pipelines.models.extractor import load_extractor
from pipelines.runs.run import StageContext
from pipelines.stages.images import training_images
from pipelines.stages.training_stage import begin

NAME = "dump-queries"


def execute(context: StageContext) -> None:
    """Runs the frozen extractor once over the training images, in every view; complete shards are not made again.

    Several processes write shards in turn. No batch crosses a shard, so a shard is the same whoever writes it.
    """
    recipe, settings = context.recipe, context.recipe.dump
    begun = begin(context)
    data = training_images(context.run, context.input("train.json"), begun.seen)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, begun.text.shape[1])
    model = begun.fabric.setup_module(extractor)
    assigner = Assigner(extractor.head, begun.text, recipe.con.matching, recipe.seed)
    folder = context.run.cache / "queries" / context.key
    shards = Shards(folder, settings.shard, tuple(begun.seen.names), len(data) * len(settings.views))
    processes = context.processes
    with alone(folder) if processes.first else nullcontext():
        missing = processes.from_first(_missing(shards, context) if processes.first else [])
        left = sum(len(shards.rows_of(number)) for number in missing)
        with context.reporter.task(NAME, shards.rows, shards.rows - left) as task:
            for number in processes.turns(missing):
                rows = []
                for row in _rows(shards.rows_of(number), model, data, assigner, context):
                    rows.append(row)
                    task.advance(processes.count)
                shards.write(number, rows)
        processes.gather(None)  # all have written
    context.cached["queries"] = folder
    context.notes |= {"rows": shards.rows}


def _missing(shards: Shards, context: StageContext) -> list[int]:
    """The shards to write, for which there must be room on the disk."""
    if context.forced:
        remove(shards.folder)
    missing, segmentor = shards.missing(), context.recipe.con.segmentor
    size = dump_bytes(shards.rows, queries=segmentor.queries, dim=segmentor.hidden_dim, shard=shards.shard)
    check_room(shards.folder, size - bytes_below(shards.folder), "The query dump")  # complete shards are there already
    return missing


def _rows(
    rows: range, model: nn.Module, data: LabelledImages, assigner: Assigner, context: StageContext
) -> Iterator[QueryRow]:
    """The rows of a shard; the dump holds view after view."""
    settings = context.recipe.dump
    for view, name in enumerate(settings.views):
        first = view * len(data)
        indices = range(max(rows.start - first, 0), min(rows.stop - first, len(data)))
        mirrored = name == "flipped"
        for extracted in extract(
            model,
            data,
            indices,
            input=context.recipe.con.input,
            device=assigner.text.device,
            batch_size=settings.batch_size,
            mirrored=mirrored,
        ):
            labels, segment_ids = assigner(extracted)
            queries = extracted.queries.to("cpu", torch.float16)  # as it is written: a shard waits in half the memory
            yield QueryRow(extracted.sample.image_id, queries, labels, segment_ids, view=int(mirrored))

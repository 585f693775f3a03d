"""dump-queries: all K queries of every training image with their assigned labels, into HDF5 shards of the cache."""

from torch import nn

from pipelines.base.disk import bytes_below, check_room
from pipelines.base.files import alone, remove
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.generators.dump import QueryRow, ShardWriter
from pipelines.generators.dump_size import dump_bytes
from pipelines.inference.extract import Assigner, extract
from pipelines.models.extractor import load_extractor
from pipelines.runs.run import StageContext
from pipelines.stages.images import training_images
from pipelines.stages.training_stage import begin

NAME = "dump-queries"


def execute(context: StageContext) -> None:
    """Runs the frozen extractor once over the training images, in every view; complete shards are not made again."""
    recipe, settings = context.recipe, context.recipe.dump
    begun = begin(context)
    data = training_images(context.run, context.input("train.json"), begun.seen)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, begun.text.shape[1])
    model = begun.fabric.setup_module(extractor)
    assigner = Assigner(extractor.head, begun.text, recipe.con.matching, recipe.seed)
    folder = context.run.cache / "queries" / context.key
    rows = len(data) * len(settings.views)
    if context.forced:
        remove(folder)
    with alone(folder):
        shards = ShardWriter(folder, shard=settings.shard, names=begun.seen.names, rows=rows)
        segmentor = recipe.con.segmentor
        size = dump_bytes(rows, queries=segmentor.queries, dim=segmentor.hidden_dim, shard=settings.shard)
        check_room(folder, size - bytes_below(folder), "The query dump")  # complete shards are there already
        _dump(model, data, assigner, shards, context)
    context.cached["queries"] = folder
    context.device = str(begun.fabric.device)
    context.notes |= {"rows": rows}


def _dump(
    model: nn.Module, data: LabelledImages, assigner: Assigner, shards: ShardWriter, context: StageContext
) -> None:
    """Adds view after view, from the row on that the complete shards end at."""
    settings, done = context.recipe.dump, shards.done
    device = assigner.text.device
    with context.reporter.task(NAME, shards.rows, done) as task:
        for view, name in enumerate(settings.views):
            mirrored = name == "flipped"
            rest = range(min(max(done - view * len(data), 0), len(data)), len(data))
            for extracted in extract(
                model,
                data,
                rest,
                input=context.recipe.con.input,
                device=device,
                batch_size=settings.batch_size,
                mirrored=mirrored,
            ):
                labels, segment_ids = assigner(extracted)
                image_id = extracted.sample.image_id
                shards.add(QueryRow(image_id, extracted.queries, labels, segment_ids, view=int(mirrored)))
                task.advance()

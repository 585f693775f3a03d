"""dump-queries: all K queries of every training image with their assigned labels, into HDF5 shards of the cache."""

from pathlib import Path

from torch import nn

from pipelines.base.files import alone, remove
from pipelines.base.seeding import derive_seed
from pipelines.clip.text import open_text
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.generators.dump import QueryRow, ShardWriter
from pipelines.inference.extract import Assigner, extract
from pipelines.models.extractor import load_extractor
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.stages.images import training_images
from pipelines.stages.render import locations_of
from pipelines.training.devices import make_fabric, seed_everything
from pipelines.vocabularies.vocabulary import open_seen

NAME = "dump-queries"


def execute(context: StageContext) -> None:
    """Runs the frozen extractor once over the training images, in every view; complete shards are not made again."""
    recipe, settings = context.recipe, context.recipe.dump
    fabric = make_fabric(recipe.runtime)
    seed_everything(derive_seed(recipe.seed, NAME))
    seen = open_seen(context.input("seen.json"))
    text = open_text(context.input("text_seen"), seen.names, stage=NAME).to(fabric.device)
    data = training_images(context.run, context.input("train.json"), seen)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, text.shape[1])
    model = fabric.setup_module(extractor)
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    folder = context.run.cache / "queries" / context.key
    rows = len(data) * len(settings.views)
    if context.forced:
        remove(folder)
    with alone(folder):
        _dump(model, data, assigner, ShardWriter(folder, shard=settings.shard, names=seen.names, rows=rows), context)
    context.cached["queries"] = folder
    context.device = str(fabric.device)
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


def _sources(run: Run) -> dict[str, Path]:
    return locations_of(run).train.pixels("train ")


STAGE = Stage(
    name=NAME,
    folder="dump",
    version=1,
    execute=execute,
    sources=_sources,
    reads={
        "split-coco": ("train.json", "seen.json"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
    },
    settings=lambda recipe: {
        "dump": recipe.dump.that_matter(),
        "input": recipe.con.input.that_matter(),
        "matching": recipe.con.matching.that_matter(),
        "precision": recipe.runtime.precision,
    },
)

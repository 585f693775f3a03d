"""dump-queries: all K queries of every training image with their assigned labels, into HDF5 shards of the cache."""

from pathlib import Path

from pipelines.clip.text import open_text
from pipelines.data.dataset import PanopticFolder
from pipelines.devices import make_fabric, seed_everything
from pipelines.extractor import load_extractor
from pipelines.files import remove
from pipelines.forward import Assigner, extract
from pipelines.queries import QueryRow, ShardWriter
from pipelines.runner import Run, Stage, StageContext
from pipelines.seeding import derive_seed
from pipelines.stages.render import locations_of
from pipelines.vocabulary import open_seen

NAME = "dump-queries"


def execute(context: StageContext) -> None:
    """Runs the frozen extractor once over the training images, in every view; complete shards are not made again."""
    recipe, settings, where = context.recipe, context.recipe.dump, locations_of(context.run)
    fabric = make_fabric(recipe.runtime)
    seed_everything(derive_seed(recipe.seed, NAME))
    seen = open_seen(context.input("seen.json"))
    text = open_text(context.input("text_seen"), seen.names, stage=NAME).to(fabric.device)
    data = PanopticFolder(context.input("train.json"), where.images, where.png, seen)
    extractor = load_extractor(context.input("model.safetensors"), recipe.con, text.shape[1])
    model = fabric.setup_module(extractor)
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    folder = context.run.cache / "queries" / context.key
    rows = len(data) * len(settings.views)
    if context.forced:
        remove(folder)
    shards = ShardWriter(folder, shard=settings.shard, names=seen.names, rows=rows)
    with context.reporter.task(NAME, rows, shards.done) as task:
        done = shards.done
        for view, name in enumerate(settings.views):
            first = min(max(done - view * len(data), 0), len(data))
            for extracted in extract(
                model,
                data,
                range(first, len(data)),
                input=recipe.con.input,
                device=fabric.device,
                batch_size=settings.batch_size,
                mirrored=name == "flipped",
            ):
                shards.add(
                    QueryRow(
                        extracted.sample.image_id, extracted.queries, *assigner(extracted), view=int(name == "flipped")
                    )
                )
                task.advance()
    context.cached["queries"] = folder
    context.device = str(fabric.device)
    context.notes |= {"rows": rows}


def _sources(run: Run) -> dict[str, Path]:
    where = locations_of(run)
    return {"train images": where.images, "train png": where.png}


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

"""precompute: what CLIP sees in the training images, and the seen names' text embeddings, into stores of the cache."""

from pathlib import Path

from pipelines.clip.encoder import load_clip
from pipelines.clip.fill import fill_store
from pipelines.clip.weights import MICRO_CONFIG, MICRO_WEIGHTS
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.stages.images import content_of, training_images
from pipelines.stages.render import locations_of
from pipelines.stages.text import text_store
from pipelines.training.devices import make_fabric
from pipelines.vocabularies.vocabulary import open_seen

NAME = "precompute"


def execute(context: StageContext) -> None:
    """Fills both stores; an interrupted image store continues where it stopped."""
    recipe = context.recipe
    device = make_fabric(recipe.runtime).device
    seen = open_seen(context.input("seen.json"))
    context.cached["text_seen"] = text_store(context, seen, context.inputs.get("text_seen.npy"), device)
    data = training_images(context.run, context.input("train.json"), seen)
    clip = load_clip(recipe.clip, device)
    content = content_of(locations_of(context.run).train, context.run.cache)
    context.cached["images"] = fill_store(
        context.run.cache / "clip", data, clip, recipe.clip, context.reporter, content=content
    )
    context.device = str(device)
    context.notes |= {"clip": clip.describe(), "images": len(data)}


def _sources(run: Run) -> dict[str, Path]:
    where, clip = locations_of(run).train, run.recipe.clip
    sources = where.pixels("train ")
    if clip.model == "micrococo":
        return sources | {"clip config": MICRO_CONFIG, "clip weights": MICRO_WEIGHTS}
    return sources | {
        name: Path(value)
        for name, value in (("clip config", clip.model), ("clip weights", clip.pretrained))
        if Path(value).suffix
    }


STAGE = Stage(
    name=NAME,
    folder="precompute",
    version=1,
    execute=execute,
    sources=_sources,
    reads={"split-coco": ("train.json", "seen.json", "text_seen.npy")},
    settings=lambda recipe: {"clip": recipe.clip.that_matter()},
)

"""precompute: what CLIP sees in the training images, and the seen names' text embeddings, into stores of the cache."""

from pipelines.clip.encoder import load_clip
from pipelines.clip.fill import fill_store
from pipelines.runs.run import StageContext
from pipelines.stages.images import content_of, training_images
from pipelines.stages.locations import locations_of
from pipelines.stages.text import text_store
from pipelines.training.devices import make_fabric
from pipelines.vocabularies.vocabulary import open_seen


def execute(context: StageContext) -> None:
    """Fills both stores; an interrupted image store continues where it stopped."""
    recipe = context.recipe
    device = make_fabric(recipe.runtime, context.processes).device
    seen = open_seen(context.input("seen.json"))
    context.cached["text_seen"] = text_store(context, seen, context.inputs.get("text_seen.npy"), device)
    data = training_images(context.run, context.input("train.json"), seen)
    clip = load_clip(recipe.clip, device)
    content = content_of(locations_of(context.run).train, context.run.cache)
    context.cached["images"] = fill_store(
        context.run.cache / "clip",
        data,
        clip,
        recipe.clip,
        context.reporter,
        content=content,
        workers=recipe.runtime.workers,
        processes=context.processes,
    )
    context.device = str(device)
    context.notes |= {"clip": clip.describe(), "images": len(data)}

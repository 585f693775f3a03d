"""precompute: what CLIP sees in the training images, and the seen names' text embeddings, into stores of the cache."""

from collections.abc import Sequence
from pathlib import Path

import torch

from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.store import fill_store, image_store_path
from pipelines.data.dataset import PanopticFolder
from pipelines.devices import resolve_device
from pipelines.runner import Run, Stage, StageContext
from pipelines.stages.render import locations_of
from pipelines.stages.text import text_store
from pipelines.vocabulary import open_seen

NAME = "precompute"


def execute(context: StageContext) -> None:
    """Fills both stores; an interrupted image store continues where it stopped."""
    recipe = context.recipe
    seen = open_seen(context.input("seen.json"))
    where = locations_of(context.run)
    device = resolve_device(recipe.runtime)
    clip = load_clip(recipe.clip, device)
    given = context.inputs.get("text_seen.npy")
    context.cached["text_seen"] = text_store(context, seen, given, clip)
    data = PanopticFolder(context.input("train.json"), where.images, where.png, seen)
    context.cached["images"] = fill_store(context.run.cache / "clip", data, clip, recipe.clip, context.reporter)
    context.device = str(device)
    context.notes |= {"clip": clip.describe(), "images": len(data)}

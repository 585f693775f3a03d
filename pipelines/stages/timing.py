"""How long the stages of a plan will take, told from a few repetitions of what each of them repeats.

Images are made up, and so are CLIP's weights: neither their values nor the run's own files are needed. Not timed are
the reading of images, which loader processes do meanwhile where there are enough, and the scores of eval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from lightning_fabric import Fabric

from pipelines.base.errors import ConcatError
from pipelines.base.progress import Reporter
from pipelines.clip.model_files import embedding_dim
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Run
from pipelines.stages.counts import categories_of
from pipelines.stages.plan import Plan, Planned, with_disks
from pipelines.stages.plan_details import Written
from pipelines.stages.timed_work import Made, Sizes, cat_step, clip_batch, con_step, finetune_step, forward_batch
from pipelines.training.devices import make_fabric
from pipelines.training.stopwatch import Measured, Work, measured

TIMED: Final = ("precompute", "train-con", "dump-queries", "train-cat", "finetune", "eval")
_COCO_IMAGE: Final = (480, 640)  # px, the most common size
_SEGMENTS: Final = 8  # of an image, where no list tells


@dataclass(frozen=True)
class Timed:
    """One stage.

    Attributes:
        seconds: of the whole stage; None: how many images there will be is unknown.
        each: seconds of one repetition of `unit`, on one device.
        peak: bytes of memory, of a device or of this process; None: it does not suffice.
        whole: whether it was measured with all images that a device holds at once.
    """

    seconds: float | None
    each: float
    unit: str
    peak: int | None
    whole: bool = True


@dataclass(frozen=True)
class Timing:
    """A plan with the sizes that are known once networks are built, the times of its stages by name, and the device."""

    plan: Plan
    times: dict[str, Timed]
    device: str

    @property
    def seconds(self) -> float | None:
        """Of all timed stages; None: one of them is unknown."""
        known = [time.seconds for time in self.times.values() if time.seconds is not None]
        return sum(known) if len(known) == len(self.times) else None


def timed(run: Run, plan: Plan, *, devices: int, steps: int) -> Timing:
    """Times the stages of a plan that would run.

    Args:
        devices: how many like this one will share the work.
        steps: repetitions of each, after some that warm up.

    Raises:
        ConcatError: the recipe's networks cannot be built, or so many devices cannot share a step.
    """
    fabric = make_fabric(run.recipe.runtime)
    found: dict[str, Timed] = {}
    stages = list(plan.stages)
    todo = [place for place, stage in enumerate(stages) if stage.runs and stage.name in TIMED]
    with run.reporter.task("time stages", len(todo), unit="stage") as task:
        for place in todo:
            stage, made = stages[place], Made()
            sizes = sizes_of(run, stage, devices)
            make, count, unit = _work_of(stage, run.recipe, sizes, fabric, made, run.reporter)
            measure = measured(make, steps=steps, device=fabric.device)
            found[stage.name] = _told(stage, measure, count, unit, sizes, made)
            stages[place] = replace(stage, details=replace(stage.details, writes=_sized(stage, made, run.recipe)))
            task.advance()
    return Timing(with_disks(run, tuple(stages)), found, _name_of(fabric.device))


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU with {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def sizes_of(run: Run, stage: Planned, devices: int) -> Sizes:
    """What the work of a stage is made up of."""
    names, images, scenes = categories_of(run), stage.details.images, run.recipe.data.micrococo
    segments = _SEGMENTS
    if images is not None and images.segments and images.count:
        segments = max(1, round(images.segments / images.count))
    height, width = (scenes.size, scenes.size) if scenes.render else _COCO_IMAGE
    return Sizes(len(names.seen), len(names), _text_dim(run.recipe), segments, height, width, devices)


def _text_dim(recipe: Recipe) -> int:
    """C: that of given text embeddings, or the model's."""
    clip = recipe.clip
    if clip.text_embeddings:
        try:
            return int(np.load(clip.text_embeddings, mmap_mode="r").shape[1])
        except (OSError, ValueError, IndexError) as error:
            raise ConcatError(f"Not a table of text embeddings: {error}.", file=clip.text_embeddings) from None
    dim = embedding_dim(clip)
    if dim is None:
        raise ConcatError(
            f"open_clip knows no model {clip.model!r}.",
            mend="Set clip.model to one of its names (ViT-B-16-quickgelu …) or to a .json config.",
        )
    return dim


def _work_of(
    stage: Planned, recipe: Recipe, sizes: Sizes, fabric: Fabric, made: Made, reporter: Reporter
) -> tuple[Callable[[], Work], int, str]:
    """What makes the work that a stage repeats, how many units one repetition is, and their name."""
    if stage.name == "precompute":
        return lambda: clip_batch(recipe, sizes, fabric), recipe.clip.batch_size, "picture"
    if stage.name == "train-con":
        return lambda: con_step(recipe, sizes, fabric, made, reporter), 1, "step"
    if stage.name == "train-cat":
        return lambda: cat_step(recipe, sizes, fabric, made), 1, "step"
    if stage.name == "finetune":
        return lambda: finetune_step(recipe, sizes, fabric, made), 1, "step"
    seen_alone = stage.name == "dump-queries"
    batch = recipe.dump.batch_size if seen_alone else recipe.eval.batch_size
    names = sizes.seen if seen_alone else sizes.names
    return lambda: forward_batch(recipe, sizes, fabric, made, names=names, batch_size=batch), batch, "image"


def _told(stage: Planned, measure: Measured | None, count: int, unit: str, sizes: Sizes, made: Made) -> Timed:
    if measure is None:
        return Timed(None, math.nan, unit, None)
    each, units = measure.seconds / (count * made.share), _units(stage, unit)
    among = sizes.devices if stage.shared and unit != "step" else 1  # a step was timed as it is shared
    return Timed(None if units is None else units * each / among, each, unit, measure.peak, made.share == 1)


def _units(stage: Planned, unit: str) -> int | None:
    details = stage.details
    if unit == "step":
        return details.steps
    if details.images is None or (unit == "picture" and details.images.segments is None):
        return None
    return details.views * (details.images.count + ((details.images.segments or 0) if unit == "picture" else 0))


def _sized(stage: Planned, made: Made, recipe: Recipe) -> tuple[Written, ...]:
    """What a stage writes, now that its networks were built; finetune keeps iterates besides."""
    if not made.model:
        return stage.details.writes
    model = made.model
    if stage.name == "finetune":
        model *= 1 + -(-recipe.finetune.iterations // recipe.finetune.keep_every)
    return Written("model", "run", model), Written("checkpoint", "run", 2 * made.checkpoint, lasts=False)

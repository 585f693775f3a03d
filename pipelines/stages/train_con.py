"""train-con: the extractor and its projector, aligned with CLIP (CONCAT eqs. 1 to 9)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.base.errors import ConcatError
from pipelines.base.progress import Reporter
from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed
from pipelines.clip.store import ImageTokens, open_store
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.ahead import load_ahead
from pipelines.data.loading.step_batches import StepBatches
from pipelines.data.loading.transforms import TrainTransform
from pipelines.losses.build import build_alignments
from pipelines.models.extractor import Extractor
from pipelines.recipes.con import ConSettings
from pipelines.runs.run import StageContext
from pipelines.segmentors.build import checkpoint_layers
from pipelines.segmentors.graphed import Recording, recorded
from pipelines.segmentors.parameters import parameter_groups
from pipelines.segmentors.segmentor_origin import origin_of
from pipelines.stages.con_objective import NAME, ConObjective, parts_of_step
from pipelines.stages.images import training_images
from pipelines.stages.made_up import MadeUpImages, made_up_tokens
from pipelines.stages.start import is_zero_shot
from pipelines.stages.training_panels import TrainingPanels
from pipelines.stages.training_stage import begin, prepared, run_training
from pipelines.training.loop import Losses, Training
from pipelines.training.part_size import PartSize
from pipelines.training.processes import Processes

_MANY_SEGMENTS: Final = 24


def execute(context: StageContext) -> None:
    """Trains the extractor on the seen-only images."""
    recipe, settings = context.recipe, context.recipe.con
    begun = begin(context)
    fabric = begun.fabric
    tokens = open_store(context.input("images"))
    data = training_images(context.run, context.input("train.json"), begun.seen)
    built = built_for(fabric, settings, begun.text, seed=recipe.seed, load_backbone=True)
    extractor = built.extractor
    if extractor.start:
        context.reporter.say(extractor.start.told())
    size = part_size_of(settings, context.processes, context.reporter)
    if context.processes.count > 1:
        size.settle(partial(_trial, built, settings, fabric, len(begun.seen)), context.processes)
    recording = recording_of(settings, extractor, fabric, context.processes, size)
    run_training(
        context,
        fabric,
        Training(
            {"extractor": extractor, "alignments": built.objective.alignments, "part size": size},
            built.model,
            built.optimiser,
            built.schedule,
        ),
        lambda step: _batches(data, context, fabric, step),
        losses_of_parts(built, settings, fabric, tokens, size, context.processes),
        settings,
        batch_size=settings.batch_size,
        checkpoint_every=settings.checkpoint_every,
        draw_page=TrainingPanels(fabric, extractor, data, begun.seen, begun.text, recipe) if settings.panels else None,
        smaller_parts=partial(smaller_parts, size, recording),
    )
    if context.processes.first:
        save_weights(context.out / "model.safetensors", extractor)
    context.notes |= {
        "images": len(data),
        "parameters": sum(p.numel() for p in extractor.parameters() if p.requires_grad),
        **_start(context, extractor),
        "images_per_forward": size.size,
        "devices": fabric.world_size,
    }


def _start(context: StageContext, extractor: Extractor) -> dict[str, Any]:
    """What the segmentor started from; labels are left out where unseen names may be among them."""
    settings, zero_shot = context.recipe.con.segmentor, is_zero_shot(context)
    origin = origin_of(settings).model_dump(mode="json", exclude=None if zero_shot else {"training_labels"})
    names = extractor.start.noted() if extractor.start else {}
    return {"segmentor" if settings.weights else "backbone": origin | names, "zero_shot": zero_shot}


@dataclass(frozen=True)
class Built:
    """What train-con trains, and `model` as fabric set it up."""

    extractor: Extractor
    objective: ConObjective
    model: nn.Module
    optimiser: Optimizer
    schedule: LambdaLR


def built_for(fabric: Fabric, settings: ConSettings, text: Tensor, *, seed: int, load_backbone: bool) -> Built:
    """The networks, the objective and the optimiser of the settings; `text` holds the seen names, N×C."""
    rates, text_dim = settings.optimiser, text.shape[1]
    extractor = Extractor(settings, text_dim, load_backbone=load_backbone)
    if settings.checkpointing:
        checkpoint_layers(extractor.segmentor)
    alignments = build_alignments(settings.alignment, text_dim=text_dim)
    objective = ConObjective(extractor, alignments, settings, text, seed=seed)
    groups = parameter_groups(
        objective,
        learning_rate=rates.learning_rate,
        backbone_factor=rates.backbone_factor,
        weight_decay=rates.weight_decay,
        decay_biases=rates.decay_biases,
    )
    model, optimiser, schedule = prepared(fabric, objective, groups, settings)
    return Built(extractor, objective, model, optimiser, schedule)


def losses_of_parts(
    built: Built, settings: ConSettings, fabric: Fabric, tokens: ImageTokens, size: PartSize, processes: Processes
) -> Callable[[int, list[Sample]], Iterator[Losses]]:
    """What maps a step and this process's images of it to the losses of one part after another."""

    def losses_of(step: int, samples: list[Sample]) -> Iterator[Losses]:
        queries = settings.segmentor.queries
        parts = parts_of_step(
            step, samples, tokens, size=size.size, queries=queries, processes=processes, device=fabric.device
        )
        for number, part in enumerate(parts, start=1):
            with fabric.no_backward_sync(built.model, enabled=number < len(parts)):
                yield built.model(part)
        built.objective.end_step(parts[-1].tokens)

    return losses_of


def smaller_parts(size: PartSize, recording: Recording | None) -> bool:
    """Has a step made in smaller parts, if it can be, and no longer as the recording has it; whether it does."""
    if recording is not None:
        recording.forget()
    return size.halve()


def part_size_of(settings: ConSettings, processes: Processes, reporter: Reporter) -> PartSize:
    """How many images a device holds at once, to begin with: all of its share, unless the settings say less.

    Raises:
        ConcatError: there are more processes than images a step, or what cannot be cut is to be cut.
    """
    if settings.batch_size < processes.count:
        raise ConcatError(
            f"{processes.count} processes cannot share steps of {settings.batch_size} images.",
            mend="Start fewer, or raise con.batch_size.",
        )
    share = -(-settings.batch_size // processes.count)
    asked = settings.images_per_forward
    size = share if asked == "auto" else min(asked, share)
    if settings.segmentor.batch_norm == "frozen":
        return PartSize(size, fixed=asked != "auto", say=reporter.say)
    if size < settings.batch_size:
        raise ConcatError(
            "A step cannot be computed in parts while batch norms learn from the images that are together.",
            mend="Set con.segmentor.batch_norm=frozen, or con.images_per_forward=auto and one process.",
        )
    return PartSize(size, fixed=True, say=reporter.say)


def _trial(built: Built, settings: ConSettings, fabric: Fabric, names: int, images: int) -> None:
    """The forward and backward pass of so many images with more segments than most have; leaves no trace."""
    crop, random = settings.input.crop, torch.get_rng_state()
    made_up = MadeUpImages(crop, crop, _MANY_SEGMENTS, names)
    samples = [made_up.sample(number) for number in range(images)]
    tokens, queries = made_up_tokens(samples, built.objective.text.shape[1]), settings.segmentor.queries
    (part,) = parts_of_step(
        0, samples, tokens, size=images, queries=queries, processes=Processes(), device=fabric.device
    )
    with fabric.no_backward_sync(built.model):
        fabric.backward(torch.stack(list(built.model(part).values())).sum())
    built.optimiser.zero_grad()
    torch.set_rng_state(random)


def recording_of(
    settings: ConSettings, extractor: Extractor, fabric: Fabric, processes: Processes, size: PartSize
) -> Recording | None:
    """The segmentor's passes as CUDA graphs, where a step is a single part on a single card."""
    one = processes.count == 1 and size.size >= settings.batch_size
    if fabric.device.type != "cuda" or not one or not settings.cuda_graphs:
        return None
    crop = settings.input.crop
    images = torch.zeros(settings.batch_size, 3, crop, crop, dtype=torch.uint8, device=fabric.device)
    with fabric.autocast(), torch.random.fork_rng(devices=[fabric.device]):
        return recorded(extractor.segmentor, images)


def _batches(data: LabelledImages, context: StageContext, fabric: Fabric, first_step: int) -> Iterator[list[Sample]]:
    """The batches of the steps still to come; their content derives from seed, step and image id alone."""
    recipe, settings = context.recipe, context.recipe.con
    steps = StepBatches(
        data,
        batch_size=settings.batch_size,
        first_step=first_step,
        iterations=settings.iterations,
        seed=derive_seed(recipe.seed, NAME, "data"),
        transform=TrainTransform(settings.input),
        share=context.processes.share,
    )
    return load_ahead(steps, workers=recipe.runtime.workers, pinned=fabric.device.type == "cuda")

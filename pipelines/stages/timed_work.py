"""What each long stage repeats, on made-up inputs of a recipe's sizes; nothing is read but configs, nothing made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from pipelines.base.progress import Reporter
from pipelines.clip.encoder import load_clip
from pipelines.clip.masked import masked_image
from pipelines.clip.weights import RANDOM
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.loading.transforms import TrainTransform
from pipelines.generators.build import build_generator
from pipelines.generators.output import QueryGenerator
from pipelines.inference.extract import Assigner, extract
from pipelines.models.build import build_head
from pipelines.models.extractor import Extractor
from pipelines.recipes.recipe import Recipe
from pipelines.stages.finetune import union_losses
from pipelines.stages.made_up import MadeUpImages, made_up_queries, made_up_text, made_up_tokens
from pipelines.stages.train_cat import cat_losses
from pipelines.stages.train_con import built_for, losses_of_parts, part_size_of, recording_of, smaller_parts
from pipelines.stages.training_stage import LoopSettings, prepared
from pipelines.training.loop import Losses, Training, take_step
from pipelines.training.processes import Processes
from pipelines.training.stopwatch import Work

_CPU_PIXELS: Final = 2**20
"""Pixels that a CPU is asked for at once: it takes long, and has no way to say that its memory does not suffice."""


@dataclass(frozen=True)
class Sizes:
    """What work is made up of, besides what the recipe says.

    Attributes:
        seen, names: numbers of seen names and of all.
        text_dim: C.
        segments: of an image.
        height, width: of an image as it is read, px.
        devices: that share a step.
    """

    seen: int
    names: int
    text_dim: int
    segments: int
    height: int
    width: int
    devices: int

    def images(self, names: int) -> MadeUpImages:
        """Images as they are read."""
        return MadeUpImages(self.height, self.width, self.segments, names)


@dataclass
class Made:
    """What is known of a stage once its work is made.

    Attributes:
        model, checkpoint: bytes that it writes.
        share: of the images that one device holds at once, those that were timed.
    """

    model: int = 0
    checkpoint: int = 0
    share: float = 1.0


def con_step(recipe: Recipe, sizes: Sizes, fabric: Fabric, made: Made, reporter: Reporter) -> Work:
    """A step of train-con, as much of it as one of the devices computes.

    Raises:
        ConcatError: so many devices cannot share a step.
    """
    settings = recipe.con
    size = part_size_of(settings, Processes(count=sizes.devices), reporter)
    text = made_up_text(sizes.seen, sizes.text_dim).to(fabric.device)
    built = built_for(fabric, settings, text, seed=recipe.seed, load_backbone=False)
    recording = recording_of(settings, built.extractor, fabric, Processes(count=sizes.devices), size)
    transform, share = TrainTransform(settings.input), -(-settings.batch_size // sizes.devices)
    count = _at_once(share, settings.input.crop**2, fabric)
    made.share = count / share
    pictures = [sizes.images(sizes.seen).sample(number) for number in range(count)]
    samples = [transform(picture, number) for number, picture in enumerate(pictures)]
    if fabric.device.type == "cuda":
        samples = [sample.pin_memory() for sample in samples]
    tokens = made_up_tokens(samples, sizes.text_dim)
    made.model = state_bytes(built.extractor)
    made.checkpoint = made.model + state_bytes(built.objective.alignments) + _moments(built.objective)

    training = Training({}, built.model, built.optimiser, built.schedule)
    losses_of = losses_of_parts(built, settings, fabric, tokens, size, Processes())
    smaller = partial(smaller_parts, size, recording)

    def step() -> None:
        if not recipe.runtime.workers:  # no process makes the next samples meanwhile
            _ = [transform(picture, number) for number, picture in enumerate(pictures)]
        clip_norm = settings.optimiser.clip_norm
        take_step(training, losses_of, samples, fabric, clip_norm=clip_norm, smaller_parts=smaller)

    return step


def _at_once(images: int, pixels: int, fabric: Fabric) -> int:
    """How many of a number of images, of so many pixels each, are computed at once."""
    return images if fabric.device.type == "cuda" else max(1, min(images, _CPU_PIXELS // pixels))


def clip_batch(recipe: Recipe, sizes: Sizes, fabric: Fabric) -> Work:
    """A batch of pictures through CLIP, masked and prepared; its weights are at random, as their values cost nothing.

    Raises:
        ConcatError: open_clip does not know or cannot build the model.
    """
    settings = recipe.clip
    clip = load_clip(settings.model_copy(update={"pretrained": RANDOM}), fabric.device)
    sample = sizes.images(sizes.seen).sample(0)
    image, masks = sample.image.permute(1, 2, 0).contiguous().numpy(), sample.masks.numpy()

    def work() -> None:
        pictures = [Image.fromarray(image)]
        for number in range(settings.batch_size - 1):
            pictures.append(masked_image(image, masks[number % len(masks)], masked=settings.masked, fill=(0, 0, 0)))
        clip.encode_images(clip.prepare(pictures)).cpu()

    return work


def forward_batch(recipe: Recipe, sizes: Sizes, fabric: Fabric, made: Made, *, names: int, batch_size: int) -> Work:
    """A batch of images through the extractor at inference, its queries assigned to `names` names."""
    count = _at_once(batch_size, recipe.con.input.test_short * recipe.con.input.test_long, fabric)
    made.share = count / batch_size
    extractor = Extractor(recipe.con, sizes.text_dim, load_backbone=False).eval()
    model = fabric.setup_module(extractor)
    text = made_up_text(names, sizes.text_dim).to(fabric.device)
    assigner = Assigner(extractor.head, text, recipe.con.matching, recipe.seed)
    images = cast(LabelledImages, sizes.images(names))  # all that is asked of them is a sample

    def work() -> None:
        for extracted in extract(
            model,
            images,
            range(count),
            input=recipe.con.input,
            batch_size=count,
            device=fabric.device,
        ):
            assigner(extracted)

    return work


def cat_step(recipe: Recipe, sizes: Sizes, fabric: Fabric, made: Made) -> Work:
    """A step of train-cat."""
    settings, segmentor = recipe.cat, recipe.con.segmentor
    dim = segmentor.hidden_dim
    head = build_head(recipe.con.classifier, query_dim=dim, text_dim=sizes.text_dim).to(fabric.device)
    head.requires_grad_(False)
    generator = build_generator(settings.generator, query_dim=dim, text_dim=sizes.text_dim)
    text = made_up_text(sizes.seen, sizes.text_dim).to(fabric.device)
    batch = made_up_queries(
        settings.batch_images, queries=segmentor.queries, dim=dim, matched=sizes.segments, names=sizes.seen
    )

    def losses(module: nn.Module) -> Losses:
        own = batch.to(fabric.device)
        return cat_losses(module, head, own, text, settings, recipe.con.matching, torch.Generator().manual_seed(0))

    return _step_of(generator, settings, losses, fabric, made)


def finetune_step(recipe: Recipe, sizes: Sizes, fabric: Fabric, made: Made) -> Work:
    """A step of finetune."""
    settings, segmentor, seen = recipe.finetune, recipe.con.segmentor, sizes.seen
    dim = segmentor.hidden_dim
    head = build_head(recipe.con.classifier, query_dim=dim, text_dim=sizes.text_dim)
    head.classifier.requires_grad_(False)
    frozen = build_generator(recipe.cat.generator, query_dim=dim, text_dim=sizes.text_dim)
    generator = cast(QueryGenerator, frozen.to(fabric.device).eval().requires_grad_(False))
    text = made_up_text(sizes.names, sizes.text_dim).to(fabric.device)
    batch = made_up_queries(
        settings.batch_images, queries=segmentor.queries, dim=dim, matched=sizes.segments, names=seen
    )

    def losses(module: nn.Module) -> Losses:
        noise = torch.Generator().manual_seed(0)
        own = batch.to(fabric.device)
        return union_losses(module, generator, own, text, seen, settings, recipe.con.matching, noise)

    return _step_of(head, settings, losses, fabric, made)


def _step_of(
    module: nn.Module,
    settings: LoopSettings,
    losses_of: Callable[[nn.Module], Losses],
    fabric: Fabric,
    made: Made,
) -> Work:
    """A step of the training loop on what `losses_of` a module gives."""
    groups = [{"params": [p for p in module.parameters() if p.requires_grad], "lr": settings.optimiser.learning_rate}]
    made.model = state_bytes(module)
    made.checkpoint = made.model + _moments(module)
    training = Training({}, *prepared(fabric, module, groups, settings))
    clip_norm = settings.optimiser.clip_norm

    def losses_of_step(_step: int, _batch: None) -> list[Losses]:
        return [losses_of(training.model)]

    return lambda: take_step(training, losses_of_step, None, fabric, clip_norm=clip_norm)


def state_bytes(module: nn.Module) -> int:
    """The bytes of a module's tensors, as they are made."""
    tensors = [value for value in module.state_dict().values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _moments(module: nn.Module) -> int:
    """The bytes of AdamW's two moments of what trains."""
    return sum(2 * p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)

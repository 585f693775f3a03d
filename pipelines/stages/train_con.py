"""train-con: the extractor and its projector, aligned with CLIP (CONCAT eqs. 1 to 9)."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from pipelines.base.errors import ConcatError
from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed
from pipelines.clip.store import ImageTokens, open_store
from pipelines.clip.text import open_text
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.step_batches import StepBatches
from pipelines.data.loading.transforms import train_transform
from pipelines.losses.con import TokenBank, global_alignment, instance_alignment
from pipelines.losses.matching import Assignment, MatchingLoss
from pipelines.models.extractor import Extractor
from pipelines.models.projector import TextClassifier
from pipelines.recipes.recipe import ConSettings, Recipe
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.segmentors.origin import read_origin, weights_path
from pipelines.segmentors.output import SegmentorOutput
from pipelines.segmentors.parameters import parameter_groups
from pipelines.stages.images import training_images
from pipelines.stages.render import locations_of
from pipelines.stages.training_panels import TrainingPanels
from pipelines.training.devices import make_fabric, seed_everything
from pipelines.training.loop import Losses, Training, make_optimiser, train
from pipelines.vocabularies.vocabulary import open_seen

NAME = "train-con"


def execute(context: StageContext) -> None:
    """Trains the extractor on the seen-only images."""
    recipe, settings = context.recipe, context.recipe.con
    fabric = make_fabric(recipe.runtime)
    seed_everything(derive_seed(recipe.seed, NAME))
    seen = open_seen(context.input("seen.json"))
    text = open_text(context.input("text_seen"), seen.names, stage=NAME).to(fabric.device)
    tokens = open_store(context.input("images"))
    data = training_images(context.run, context.input("train.json"), seen)
    extractor = Extractor(settings, text.shape[1], load_backbone=True)
    bank = TokenBank(settings.cga.bank_size, text.shape[1]).to(fabric.device)
    rates = settings.optimiser
    groups = parameter_groups(
        extractor,
        learning_rate=rates.learning_rate,
        backbone_factor=rates.backbone_factor,
        weight_decay=rates.weight_decay,
    )
    optimiser, schedule = make_optimiser(groups, rates, settings.iterations)
    model, optimiser = fabric.setup(extractor, optimiser)
    training = Training({"extractor": extractor, "bank": bank}, model, optimiser, schedule)
    checkpoint = context.out / "checkpoint.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    losses = ConLosses(settings, text, tokens, bank, seed=recipe.seed)

    def losses_of(step: int, samples: list[Sample]) -> Losses:
        images = torch.stack([sample.image for sample in samples]).to(fabric.device)
        return losses(step, model(images), extractor, samples)

    panels = TrainingPanels(model, extractor, data, seen, text, recipe) if settings.panels else None
    context.metrics |= train(
        training,
        _batches(data, recipe, training.step),
        losses_of,
        fabric=fabric,
        folder=context.out,
        iterations=settings.iterations,
        batch_size=settings.batch_size,
        clip_norm=rates.clip_norm,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.log_every,
        reporter=context.reporter,
        description=NAME,
        draw_page=panels,
    )
    save_weights(context.out / "model.safetensors", extractor)
    context.device, context.effective_batch_size = str(fabric.device), settings.batch_size
    origin = read_origin(settings.segmentor.backbone, settings.segmentor.backbone_weights)
    context.notes |= {
        "images": len(data),
        "parameters": sum(p.numel() for p in extractor.parameters() if p.requires_grad),
        "backbone": origin.model_dump(mode="json"),
    }


def _batches(data: LabelledImages, recipe: Recipe, first_step: int) -> Iterator[list[Sample]]:
    """The batches of the steps still to come; their content derives from seed, step and image id alone."""
    settings = recipe.con
    steps = StepBatches(
        data,
        batch_size=settings.batch_size,
        first_step=first_step,
        iterations=settings.iterations,
        seed=derive_seed(recipe.seed, NAME, "data"),
        transform=train_transform(settings.input),
    )
    loader = DataLoader(
        steps,
        batch_size=None,
        num_workers=recipe.runtime.workers,
        collate_fn=_as_is,
        generator=torch.Generator(),  # else it draws from the random state that a checkpoint restores
        prefetch_factor=4 if recipe.runtime.workers else None,
        multiprocessing_context="fork" if recipe.runtime.workers else None,  # closures cannot be pickled
    )
    for samples in loader:
        if isinstance(samples, ConcatError):
            raise samples
        yield samples


def _as_is(samples: list[Sample] | ConcatError) -> list[Sample] | ConcatError:
    return samples


class ConLosses:
    """L_1 = λ_g L_CGA + λ_c L_CIA + L_match (eq. 9)."""

    def __init__(self, settings: ConSettings, text: Tensor, tokens: ImageTokens, bank: TokenBank, *, seed: int) -> None:
        self.settings, self.text, self.tokens, self.bank, self.seed = settings, text, tokens, bank, seed
        self.matching = MatchingLoss(**settings.matching.model_dump())

    def __call__(self, step: int, output: SegmentorOutput, extractor: Extractor, samples: list[Sample]) -> Losses:
        """The weighted losses of a step, by name.

        Args:
            output: queries L × (B×K×D) and masks of all decoder layers.
        """
        device = self.text.device
        semantic = [extractor.head.projector(queries) for queries in output.queries]  # L × (B×K×C)
        logits = [self._classify(extractor.head.classifier, queries) for queries in semantic]  # L × (B×K×N)
        points = torch.Generator().manual_seed(derive_seed(self.seed, NAME, "points", step))
        losses, assignment = self.matching(
            logits,
            output.mask_logits,
            masks=[s.masks.to(device) for s in samples],
            labels=[s.labels.to(device) for s in samples],
            ignore=[s.ignore.to(device) for s in samples],
            generator=points,
        )
        if self.settings.cga.weight > 0:
            losses["cga"] = self.settings.cga.weight * self._global(semantic[-1], assignment, samples)
        if self.settings.cia.weight > 0:
            losses["cia"] = self.settings.cia.weight * self._instance(semantic[-1], assignment, samples)
        return losses

    def _classify(self, classifier: TextClassifier, semantic: Tensor) -> Tensor:
        logits: Tensor = classifier(semantic, self.text)
        return classifier.with_no_object(logits) if self.settings.matching.classification == "softmax" else logits

    def _global(self, semantic: Tensor, assignment: Assignment, samples: list[Sample]) -> Tensor:
        cga = self.settings.cga
        cls_tokens = torch.stack([self.tokens.image_token(s.image_id, self._view(s)) for s in samples])
        cls_tokens = normalize(cls_tokens.to(semantic), dim=-1)  # B×C
        matched = torch.zeros(semantic.shape[:2], dtype=torch.bool, device=semantic.device)
        matched[assignment.image, assignment.query] = True
        loss = global_alignment(
            semantic,
            cls_tokens,
            matched,
            self.bank.tokens,
            gamma=cga.gamma,
            enhancement=cga.enhancement,
            temperature=cga.temperature,
        )
        self.bank.push(cls_tokens)
        return loss

    def _instance(self, semantic: Tensor, assignment: Assignment, samples: list[Sample]) -> Tensor:
        cia = self.settings.cia
        per_image = [self.tokens.tokens_for(s.image_id, s.segment_ids, self._view(s)) for s in samples]  # B × (O_i×C)
        first = torch.tensor([0, *(len(t) for t in per_image)]).cumsum(0).to(assignment.segment.device)
        tokens = torch.cat(per_image).to(semantic)[first[assignment.image] + assignment.segment]  # M×C
        matched = semantic[assignment.image, assignment.query]  # M×C
        return instance_alignment(
            matched, tokens, assignment.image, temperature=cia.temperature, negatives=cia.negatives
        )

    def _view(self, sample: Sample) -> int:
        """The mirrored tokens for a mirrored sample, if the store has them."""
        return int(sample.mirrored and self.tokens.views > 1)


def _sources(run: Run) -> dict[str, Path]:
    backbone = weights_path(run.recipe.con.segmentor.backbone_weights)
    sources = locations_of(run).train.pixels("train ")
    return sources | {"backbone": backbone} if backbone else sources


STAGE = Stage(
    name=NAME,
    folder="con",
    version=1,
    execute=execute,
    sources=_sources,
    reads={"split-coco": ("train.json", "seen.json"), "precompute": ("images", "text_seen")},
    settings=lambda recipe: {"con": recipe.con.that_matter(), "precision": recipe.runtime.precision},
)

"""train-con: the extractor and its projector, aligned with CLIP (CONCAT eqs. 1 to 9)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from pipelines.base.errors import ConcatError
from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed
from pipelines.clip.store import ImageTokens, open_store
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.step_batches import StepBatches
from pipelines.data.loading.transforms import train_transform
from pipelines.losses.alignment import AlignmentInput
from pipelines.losses.build import build_alignments
from pipelines.losses.matching import Assignment, MatchingLoss
from pipelines.models.extractor import Extractor
from pipelines.models.projector import TextClassifier
from pipelines.recipes.con import ConSettings
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import StageContext
from pipelines.segmentors.output import SegmentorOutput
from pipelines.segmentors.parameters import parameter_groups
from pipelines.segmentors.segmentor_origin import origin_of
from pipelines.stages.images import training_images
from pipelines.stages.start import is_zero_shot
from pipelines.stages.training_panels import TrainingPanels
from pipelines.stages.training_stage import begin, prepared, run_training
from pipelines.training.loop import Losses, Training

NAME = "train-con"


def execute(context: StageContext) -> None:
    """Trains the extractor on the seen-only images."""
    recipe, settings, rates = context.recipe, context.recipe.con, context.recipe.con.optimiser
    begun = begin(context)
    tokens = open_store(context.input("images"))
    data = training_images(context.run, context.input("train.json"), begun.seen)
    text_dim = begun.text.shape[1]
    extractor = Extractor(settings, text_dim, load_backbone=True)
    alignments = build_alignments(settings.alignment, text_dim=text_dim).to(begun.fabric.device)
    groups = parameter_groups(
        extractor,
        learning_rate=rates.learning_rate,
        backbone_factor=rates.backbone_factor,
        weight_decay=rates.weight_decay,
    )
    model, optimiser, schedule = prepared(begun.fabric, extractor, groups, settings)
    losses = ConLosses(settings, begun.text, tokens, alignments, seed=recipe.seed)

    def losses_of(step: int, samples: list[Sample]) -> Losses:
        images = torch.stack([sample.image for sample in samples]).to(begun.fabric.device)
        return losses(step, model(images), extractor, samples)

    run_training(
        context,
        begun.fabric,
        Training({"extractor": extractor, "alignments": alignments}, model, optimiser, schedule),
        lambda step: _batches(data, recipe, step),
        losses_of,
        settings,
        batch_size=settings.batch_size,
        checkpoint_every=settings.checkpoint_every,
        draw_page=TrainingPanels(model, extractor, data, begun.seen, begun.text, recipe) if settings.panels else None,
    )
    save_weights(context.out / "model.safetensors", extractor)
    context.notes |= {
        "images": len(data),
        "parameters": sum(p.numel() for p in extractor.parameters() if p.requires_grad),
        **_start(context, extractor),
    }


def _start(context: StageContext, extractor: Extractor) -> dict[str, Any]:
    """What the segmentor started from; labels are left out where unseen names may be among them."""
    settings, zero_shot = context.recipe.con.segmentor, is_zero_shot(context)
    origin = origin_of(settings).model_dump(mode="json", exclude=None if zero_shot else {"training_labels"})
    names = extractor.start.noted() if extractor.start else {}
    return {"segmentor" if settings.weights else "backbone": origin | names, "zero_shot": zero_shot}


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
    """L_1 = λ_g L_CGA + λ_c L_CIA + L_match (eq. 9), and whatever alignments a recipe adds."""

    def __init__(
        self, settings: ConSettings, text: Tensor, tokens: ImageTokens, alignments: nn.ModuleDict, *, seed: int
    ) -> None:
        self.settings, self.text, self.tokens, self.seed = settings, text, tokens, seed
        self.alignments = alignments
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
        if self.alignments:
            given = self.compared(semantic[-1], assignment, samples)
            for name, alignment in self.alignments.items():
                losses[name] = self.settings.alignment[name].weight * alignment(given)
        return losses

    def _classify(self, classifier: TextClassifier, semantic: Tensor) -> Tensor:
        logits: Tensor = classifier(semantic, self.text)
        return classifier.with_no_object(logits) if self.settings.matching.classification == "softmax" else logits

    def compared(self, semantic: Tensor, assignment: Assignment, samples: list[Sample]) -> AlignmentInput:
        """What the alignments compare: semantic queries (B×K×C), and the tokens of images and matched segments."""
        image_tokens = torch.stack([self.tokens.image_token(s.image_id, self._view(s)) for s in samples])
        per_image = [self.tokens.tokens_for(s.image_id, s.segment_ids, self._view(s)) for s in samples]  # B × (O_i×C)
        first = torch.tensor([0, *(len(t) for t in per_image)]).cumsum(0).to(assignment.segment.device)
        return AlignmentInput(
            semantic,
            assignment.image,
            assignment.query,
            image_tokens=normalize(image_tokens.to(semantic), dim=-1),
            segment_tokens=torch.cat(per_image).to(semantic)[first[assignment.image] + assignment.segment],
        )

    def _view(self, sample: Sample) -> int:
        """The mirrored tokens for a mirrored sample, if the store has them."""
        return int(sample.mirrored and self.tokens.views > 1)

"""train-cat: the generator of vision queries (CONCAT eqs. 10 to 12), from the query dump alone."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed
from pipelines.generators.build import build_generator
from pipelines.generators.dump import QueryBatch, QueryDump, open_queries
from pipelines.losses.cat import kl_standard_normal, mmd, query_contrast
from pipelines.losses.focal import classification_focal
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.extractor import load_head
from pipelines.recipes.cat import CatSettings
from pipelines.runs.run import StageContext
from pipelines.stages.training_stage import begin, prepared, run_training
from pipelines.training.loop import Losses, Training
from pipelines.training.order import PermutationBatches

NAME = "train-cat"


def execute(context: StageContext) -> None:
    """Trains the generator on the matched seen queries; extractor and projector stay as they are."""
    recipe, settings = context.recipe, context.recipe.cat
    begun = begin(context)
    device, text_dim = begun.fabric.device, begun.text.shape[1]
    dump = open_queries(context.input("queries"), begun.seen.names, stage=NAME, memory=recipe.dump.memory)
    head = load_head(context.input("model.safetensors"), recipe.con, dump.dim, text_dim).to(device)
    head.requires_grad_(False)
    generator = build_generator(settings.generator, query_dim=dump.dim, text_dim=text_dim)
    module, optimiser, schedule = prepared(begun.fabric, generator, _groups(generator, settings), settings)

    def losses_of(step: int, batch: QueryBatch) -> Iterator[Losses]:
        noise = torch.Generator().manual_seed(derive_seed(recipe.seed, NAME, step))
        yield cat_losses(module, head, batch.to(device), begun.text, settings, recipe.con.matching, noise)

    run_training(
        context,
        begun.fabric,
        Training({"generator": generator}, module, optimiser, schedule),
        lambda step: _batches(dump, settings, recipe.seed, step),
        losses_of,
        settings,
        batch_size=settings.batch_images,
        checkpoint_every=settings.checkpoint_every,
    )
    save_weights(context.out / "generator.safetensors", generator)
    context.notes |= {"matched_queries": int(dump.matched.sum()), "unmatched_queries": int((~dump.matched).sum())}


def cat_losses(
    generator: nn.Module,
    head: nn.Module,
    batch: QueryBatch,
    text: Tensor,
    settings: CatSettings,
    matching: MatchingSettings,
    noise: torch.Generator,
) -> Losses:
    """The weighted terms of L_2 (eq. 12) on the matched queries of a batch of images.

    Args:
        text: seen text embeddings, N×C.
    """
    real, labels = batch.queries[batch.matched], batch.labels[batch.matched]  # M×D, M
    image_index = batch.image_index[batch.matched]
    made = generator(real, text[labels], noise)
    losses = {"mmd": settings.mmd_weight * mmd(real, made.generated)}
    if made.mu is not None:
        losses["kl"] = settings.kl_weight * kl_standard_normal(made.mu, made.log_var)
    if settings.query_contrast:
        rest = ~batch.matched if settings.unmatched_negatives else None
        losses["contrast"] = settings.contrast_weight * query_contrast(
            made.generated,
            real,
            image_index,
            None if rest is None else batch.queries[rest],
            None if rest is None else batch.image_index[rest],
            temperature=settings.contrast_temperature,
            negatives=settings.contrast_negatives,
        )
    if settings.semantic_supervision:
        losses["supervision"] = settings.supervision_weight * classification_focal(
            head(made.generated, text)[1],
            labels,
            alpha=matching.focal_alpha,
            gamma=matching.focal_gamma,
            normaliser=len(labels),
        )
    return losses


def _batches(dump: QueryDump, settings: CatSettings, seed: int, first_step: int) -> Iterator[QueryBatch]:
    """Batches of images; an image without a matched query teaches nothing and is left out."""
    usable = dump.matched.any(dim=1).nonzero().flatten()
    order = PermutationBatches(len(usable), settings.batch_images, derive_seed(seed, NAME, "order"))
    for step in range(first_step, settings.iterations):
        yield dump.batch(usable[order(step)])


def _groups(generator: nn.Module, settings: CatSettings) -> list[dict[str, object]]:
    rate = settings.optimiser.learning_rate
    matrices = [p for p in generator.parameters() if p.ndim > 1]
    others = [p for p in generator.parameters() if p.ndim <= 1]
    return [{"params": matrices, "lr": rate}, {"params": others, "lr": rate, "weight_decay": 0.0}]

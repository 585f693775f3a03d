"""train-cat: the generator of vision queries (CONCAT eqs. 10 to 12), from the query dump alone."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed, permutation_batches
from pipelines.clip.text import open_text
from pipelines.generators.build import build_generator
from pipelines.generators.dump import QueryBatch, QueryDump, open_queries
from pipelines.losses.cat import kl_standard_normal, mmd, query_contrast
from pipelines.losses.focal import classification_focal
from pipelines.models.extractor import load_head
from pipelines.recipes.recipe import CatSettings, Recipe
from pipelines.runs.run import Stage, StageContext
from pipelines.training.devices import make_fabric, seed_everything
from pipelines.training.loop import Losses, Training, make_optimiser, train
from pipelines.vocabularies.vocabulary import open_seen

NAME = "train-cat"


def execute(context: StageContext) -> None:
    """Trains the generator on the matched seen queries; extractor and projector stay as they are."""
    recipe, settings = context.recipe, context.recipe.cat
    fabric = make_fabric(recipe.runtime)
    seed_everything(derive_seed(recipe.seed, NAME))
    seen = open_seen(context.input("seen.json"))
    text = open_text(context.input("text_seen"), seen.names, stage=NAME).to(fabric.device)
    dump = open_queries(context.input("queries"), seen.names, stage=NAME)
    head = load_head(context.input("model.safetensors"), recipe.con, dump.dim, text.shape[1]).to(fabric.device)
    head.requires_grad_(False)
    generator = build_generator(settings, query_dim=dump.dim, text_dim=text.shape[1])
    optimiser, schedule = make_optimiser(_groups(generator, settings), settings.optimiser, settings.iterations)
    module, optimiser = fabric.setup(generator, optimiser)
    training = Training({"generator": generator}, module, optimiser, schedule)
    checkpoint = context.out / "checkpoint.pt"
    if checkpoint.exists():
        training.load(checkpoint)

    def losses_of(step: int, batch: QueryBatch) -> Losses:
        noise = torch.Generator().manual_seed(derive_seed(recipe.seed, NAME, step))
        return cat_losses(module, head, batch.to(fabric.device), text, settings, recipe, noise)

    context.metrics |= train(
        training,
        _batches(dump, settings, recipe.seed, training.step),
        losses_of,
        fabric=fabric,
        folder=context.out,
        iterations=settings.iterations,
        batch_size=settings.batch_images,
        clip_norm=settings.optimiser.clip_norm,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.log_every,
        reporter=context.reporter,
        description=NAME,
    )
    save_weights(context.out / "generator.safetensors", generator)
    context.device, context.effective_batch_size = str(fabric.device), settings.batch_images
    context.notes |= {"matched_queries": int(dump.matched.sum()), "unmatched_queries": int((~dump.matched).sum())}


def cat_losses(
    generator: nn.Module,
    head: nn.Module,
    batch: QueryBatch,
    text: Tensor,
    settings: CatSettings,
    recipe: Recipe,
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
        matching = recipe.con.matching
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
    order = permutation_batches(len(usable), settings.batch_images, derive_seed(seed, NAME, "order"))
    for step in range(first_step, settings.iterations):
        yield dump.batch(usable[order(step)])


def _groups(generator: nn.Module, settings: CatSettings) -> list[dict[str, object]]:
    rate = settings.optimiser.learning_rate
    matrices = [p for p in generator.parameters() if p.ndim > 1]
    others = [p for p in generator.parameters() if p.ndim <= 1]
    return [{"params": matrices, "lr": rate}, {"params": others, "lr": rate, "weight_decay": 0.0}]


STAGE = Stage(
    name=NAME,
    folder="cat",
    version=1,
    execute=execute,
    sources=lambda _: {},
    reads={
        "split-coco": ("seen.json",),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "dump-queries": ("queries",),
    },
    settings=lambda recipe: {
        "cat": recipe.cat.that_matter(),
        "classifier": recipe.con.classifier.that_matter(),
        "focal": [recipe.con.matching.focal_alpha, recipe.con.matching.focal_gamma],
    },
)

"""finetune: the projector on real seen and pseudo unseen queries (CONCAT eq. 13); no image is opened."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipelines.base.safe_weights import save_weights
from pipelines.base.seeding import derive_seed
from pipelines.clip.text import open_text
from pipelines.generators.dump import QueryBatch, open_queries
from pipelines.generators.output import QueryGenerator
from pipelines.generators.trained import load_generator
from pipelines.losses.focal import classification_focal
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.extractor import load_head
from pipelines.recipes.finetune import FinetuneSettings
from pipelines.runs.run import StageContext
from pipelines.stages.text import given_rows, text_store
from pipelines.stages.training_stage import begin, prepared, run_training
from pipelines.training.loop import Losses, Training
from pipelines.training.order import PermutationBatches
from pipelines.vocabularies.taught import taught_vocabulary
from pipelines.vocabularies.vocabulary import Vocabulary, open_unseen, write_part

NAME = "finetune"


def execute(context: StageContext) -> None:
    """Finetunes the projector that train-con left, and keeps its iterates."""
    recipe, settings = context.recipe, context.recipe.finetune
    begun = begin(context)
    device = begun.fabric.device
    text = torch.cat([begun.text, _taught_text(context, begun.seen, device)])  # seen first, then taught
    dump = open_queries(context.input("queries"), begun.seen.names, stage=NAME, memory=recipe.dump.memory)
    head = load_head(context.input("model.safetensors"), recipe.con, dump.dim, text.shape[1])
    head.classifier.requires_grad_(False)
    generator = load_generator(
        context.input("generator.safetensors"),
        recipe.cat.generator,
        query_dim=dump.dim,
        text_dim=text.shape[1],
        device=device,
    )
    groups = [{"params": [p for p in head.parameters() if p.requires_grad], "lr": settings.optimiser.learning_rate}]
    module, optimiser, schedule = prepared(begun.fabric, head, groups, settings)
    order = PermutationBatches(len(dump), settings.batch_images, derive_seed(recipe.seed, NAME, "order"))
    seen, focal = len(begun.seen), recipe.con.matching

    def losses_of(step: int, batch: QueryBatch) -> Iterator[Losses]:
        noise = torch.Generator().manual_seed(derive_seed(recipe.seed, NAME, step))
        yield union_losses(module, generator, batch.to(device), text, seen, settings, focal, noise)

    def keep(step: int) -> None:
        if step % settings.keep_every == 0 or step == settings.iterations:
            save_weights(context.out / f"iterates/{step:06d}.safetensors", head)

    run_training(
        context,
        begun.fabric,
        Training({"projector": head}, module, optimiser, schedule),
        lambda step: (dump.batch(order(later)) for later in range(step, settings.iterations)),
        losses_of,
        settings,
        batch_size=settings.batch_images,
        checkpoint_every=settings.keep_every,
        after_step=keep,
    )
    save_weights(context.out / "projector.safetensors", head)


def _taught_text(context: StageContext, seen: Vocabulary, device: torch.device) -> Tensor:
    """Embeddings of the names to teach, which are written down with them."""
    settings = context.recipe.finetune
    unseen = open_unseen(context.input("unseen.json"), stage=NAME)
    taught = taught_vocabulary(settings.taught, seen, unseen, unseen_too=settings.unseen)
    write_part(context.out / "taught.json", taught)
    context.cached["text_taught"] = text_store(context, taught, given_rows(context, taught), device)
    return open_text(context.cached["text_taught"], taught.names, stage=NAME).to(device)


def union_losses(
    head: nn.Module,
    generator: QueryGenerator,
    batch: QueryBatch,
    text: Tensor,
    seen: int,
    settings: FinetuneSettings,
    matching: MatchingSettings,
    noise: torch.Generator,
) -> Losses:
    """The two terms of L_3 (eq. 13), the second weighted.

    Args:
        text: embeddings of all names, the `seen` seen ones first.
    """
    focal = {"alpha": matching.focal_alpha, "gamma": matching.focal_gamma}
    losses: Losses = {}
    if settings.real_focal:
        names = text if settings.real_targets == "all" else text[:seen]
        labels = batch.labels.flatten()
        losses["real"] = classification_focal(
            head(batch.queries.flatten(0, 1), names)[1], labels, normaliser=int((labels >= 0).sum()), **focal
        )
    pseudo = torch.randint(seen, len(text), (settings.pseudo_unseen,), generator=noise)
    if settings.pseudo_seen:
        pseudo = torch.cat([pseudo, torch.randint(seen, (settings.pseudo_seen,), generator=noise)])
    pseudo = pseudo.to(text.device)
    with torch.no_grad():
        queries = generator.generate(text[pseudo], noise)
    losses["pseudo"] = settings.pseudo_weight * classification_focal(
        head(queries, text)[1], pseudo, normaliser=len(pseudo), **focal
    )
    return losses

"""finetune: the projector on real seen and pseudo unseen queries (CONCAT eq. 13); no image is opened."""

import copy

import torch
from torch import Tensor, nn

from pipelines.base.safe_weights import load_weights, save_weights
from pipelines.base.seeding import derive_seed, permutation_batches
from pipelines.clip.text import open_text
from pipelines.generators.build import build_generator
from pipelines.generators.dump import QueryBatch, open_queries
from pipelines.generators.output import QueryGenerator
from pipelines.losses.focal import classification_focal
from pipelines.models.extractor import load_head
from pipelines.recipes.recipe import FinetuneSettings, MatchingSettings
from pipelines.runs.run import Stage, StageContext
from pipelines.stages.text import given_rows, text_store
from pipelines.training.devices import make_fabric, seed_everything
from pipelines.training.loop import Losses, Training, make_optimiser, train
from pipelines.vocabularies.taught import taught_vocabulary
from pipelines.vocabularies.vocabulary import open_seen, open_unseen, write_part

NAME = "finetune"


def execute(context: StageContext) -> None:
    """Finetunes a copy of the projector and keeps its iterates."""
    recipe, settings = context.recipe, context.recipe.finetune
    fabric = make_fabric(recipe.runtime)
    seed_everything(derive_seed(recipe.seed, NAME))
    seen = open_seen(context.input("seen.json"))
    taught = taught_vocabulary(settings, seen, open_unseen(context.input("unseen.json"), stage=NAME))
    write_part(context.out / "taught.json", taught)
    context.cached["text_taught"] = text_store(context, taught, given_rows(context, taught), fabric.device)
    text = torch.cat(
        [  # seen first, then taught
            open_text(context.input("text_seen"), seen.names, stage=NAME),
            open_text(context.cached["text_taught"], taught.names, stage=NAME),
        ]
    ).to(fabric.device)
    dump = open_queries(context.input("queries"), seen.names, stage=NAME)
    head = load_head(context.input("model.safetensors"), recipe.con, dump.dim, text.shape[1])
    generator = build_generator(recipe.cat, query_dim=dump.dim, text_dim=text.shape[1])
    load_weights(context.input("generator.safetensors"), generator)
    generator.to(fabric.device).eval().requires_grad_(False)
    trained = copy.deepcopy(head)
    trained.classifier.requires_grad_(False)
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimiser, schedule = make_optimiser(
        [{"params": parameters, "lr": settings.optimiser.learning_rate}], settings.optimiser, settings.iterations
    )
    module, optimiser = fabric.setup(trained, optimiser)
    training = Training({"projector": trained}, module, optimiser, schedule)
    iterates, checkpoint = context.out / "iterates", context.out / "checkpoint.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    order = permutation_batches(len(dump), settings.batch_images, derive_seed(recipe.seed, NAME, "order"))

    def losses_of(step: int, batch: QueryBatch) -> Losses:
        noise = torch.Generator().manual_seed(derive_seed(recipe.seed, NAME, step))
        return union_losses(
            module, generator, batch.to(fabric.device), text, len(seen), settings, recipe.con.matching, noise
        )

    def keep(step: int) -> None:
        if step % settings.keep_every == 0 or step == settings.iterations:
            save_weights(iterates / f"{step:06d}.safetensors", trained)

    context.metrics |= train(
        training,
        (dump.batch(order(step)) for step in range(training.step, settings.iterations)),
        losses_of,
        fabric=fabric,
        folder=context.out,
        iterations=settings.iterations,
        batch_size=settings.batch_images,
        clip_norm=settings.optimiser.clip_norm,
        checkpoint_every=settings.keep_every,
        log_every=settings.log_every,
        reporter=context.reporter,
        description=NAME,
        after_step=keep,
    )
    save_weights(context.out / "projector.safetensors", trained)
    context.device, context.effective_batch_size = str(fabric.device), settings.batch_images


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


STAGE = Stage(
    name=NAME,
    folder="finetune",
    version=2,
    execute=execute,
    knows_unseen_names=True,
    sources=lambda _: {},
    reads={
        "split-coco": ("seen.json", "unseen.json", "text_unseen.npy"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "dump-queries": ("queries",),
        "train-cat": ("generator.safetensors",),
    },
    settings=lambda recipe: {
        "finetune": recipe.finetune.that_matter(),
        "cat": recipe.cat.that_matter(),
        "clip": recipe.clip.that_matter(),
        "classifier": recipe.con.classifier.that_matter(),
        "focal": [recipe.con.matching.focal_alpha, recipe.con.matching.focal_gamma],
    },
)

"""A trained model of the embedded world's sizes with random weights, for tests of what is done with a trained one."""

from pathlib import Path
from typing import Any

import torch

from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.text import embed_names
from pipelines.models.build import build_head
from pipelines.models.extractor import Extractor
from pipelines.predict.trained import TrainedModel
from pipelines.recipes.load import load_recipe
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

MICROCOCO = load_vocabulary("micrococo")


def smoke_recipe(*overrides: str) -> Recipe:
    return load_recipe("smoke", overrides)


def random_model(recipe: Recipe | None = None, *, finetuned: bool = True, **changes: Any) -> TrainedModel:
    """A model whose finetuned projector, if it has one, differs from the first; its own names have their real rows."""
    recipe = recipe or smoke_recipe()
    clip = micro_clip(recipe)
    own = MICROCOCO.seen + MICROCOCO.unseen
    rows = dict(zip(own.names, embed_names(clip, own, recipe.clip.prompts), strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        extractor = Extractor(recipe.con, clip.dim, load_backbone=False).eval()
        head = build_head(recipe.con.classifier, query_dim=recipe.con.segmentor.hidden_dim, text_dim=clip.dim).eval()
    fields: dict[str, Any] = {
        "source": Path("random"),
        "recipe": recipe,
        "seen": MICROCOCO.seen,
        "unseen": MICROCOCO.unseen,
        "taught": MICROCOCO.unseen if finetuned else Vocabulary(name="none", categories=()),
        "rows": rows,
        "extractor": extractor,
        "finetuned": head if finetuned else None,
        "clip": clip.describe(),
    }
    return TrainedModel(**{**fields, **changes})


def micro_clip(recipe: Recipe) -> ClipModel:
    return load_clip(recipe.clip, "cpu")

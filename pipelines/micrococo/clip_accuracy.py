"""Load the tiny CLIP as any open_clip model is loaded, and measure how well it names segments of fresh scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pipelines.clip.prompts import PROMPTS
from pipelines.micrococo.clip_views import SegmentView, segment_views
from pipelines.micrococo.render import render_scene, scene_rng
from pipelines.micrococo.world import MICROCOCO_CATEGORIES

MODEL_NAME: Final = "micrococo-clip"
HOME: Final = Path(__file__).parent / "weights"
CONFIG: Final = HOME / f"{MODEL_NAME}.json"
WEIGHTS: Final = HOME / f"{MODEL_NAME}.safetensors"

Table = dict[str, dict[str, float]]
"""Accuracy by view ("crop", "full"), then by group ("seen things", "unseen things", "seen stuff", "unseen stuff")."""


@dataclass(frozen=True)
class MicroClip:
    """The tiny CLIP, its preprocessing (PIL image to (3, 48, 48) float32) and tokenizer (n texts to (n, 24) int64)."""

    model: Any
    preprocess: Callable[[Image.Image], Tensor]
    tokenize: Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class CheckViews:
    """Segments to name: `pixels` (n, 3, 48, 48) float32 preprocessed, `categories` (n,) int64, `crops` (n,) bool."""

    pixels: Tensor
    categories: Tensor
    crops: Tensor


def open_micro_clip(weights: Path | None = WEIGHTS) -> MicroClip:
    """Build the tiny CLIP by open_clip from its config, with `weights` or, if None, random ones; in eval mode."""
    open_clip.add_model_config(CONFIG)
    model, _, preprocess = open_clip.create_model_and_transforms(
        MODEL_NAME, pretrained=None if weights is None else str(weights)
    )
    return MicroClip(model.eval(), preprocess, open_clip.get_tokenizer(MODEL_NAME))


def check_views(clip: MicroClip, *, scenes: int, seed: int) -> CheckViews:
    """Both views of every segment (crowds aside) of scenes that no training stage and no data set draws."""
    views: list[SegmentView] = []
    for index in range(scenes):
        views += segment_views(render_scene(scene_rng(seed, "clip-check", index)))
    return CheckViews(
        pixels=torch.stack([clip.preprocess(view.image) for view in views]),
        categories=torch.tensor([view.category for view in views]),
        crops=torch.tensor([view.kind == "crop" for view in views]),
    )


@torch.no_grad()
def class_embeddings(clip: MicroClip) -> Tensor:
    """(36, C) unit vectors: the mean over the prompts of every category's unit text embedding, normalised again."""
    names = [category.name for category in MICROCOCO_CATEGORIES]
    texts = [clip.tokenize([prompt.format(name) for name in names]) for prompt in PROMPTS["micrococo"]]
    embeddings = torch.stack([clip.model.encode_text(text, normalize=True) for text in texts])
    return F.normalize(embeddings.mean(0), dim=-1)


@torch.no_grad()
def accuracy_table(clip: MicroClip, views: CheckViews) -> Table:
    """Share of segments whose nearest name among all 36 is their own."""
    text = class_embeddings(clip)
    images = torch.cat([clip.model.encode_image(chunk, normalize=True) for chunk in views.pixels.split(256)])
    correct = (images @ text.T).argmax(1) == views.categories
    return {
        kind: {group: _share(correct, of_kind & members) for group, members in _groups(views.categories).items()}
        for kind, of_kind in (("crop", views.crops), ("full", ~views.crops))
    }


def _groups(categories: Tensor) -> dict[str, Tensor]:
    isthing = torch.tensor([category.isthing for category in MICROCOCO_CATEGORIES])[categories]
    unseen = torch.tensor([category.unseen for category in MICROCOCO_CATEGORIES])[categories]
    return {
        "seen things": isthing & ~unseen,
        "unseen things": isthing & unseen,
        "seen stuff": ~isthing & ~unseen,
        "unseen stuff": ~isthing & unseen,
    }


def _share(correct: Tensor, members: Tensor) -> float:
    return round(correct[members].float().mean().item(), 4)


def text_cosines(clip: MicroClip) -> Tensor:
    """(36, 36) cosine between the categories' embeddings, 0 on the diagonal: how far the names stand apart."""
    text = class_embeddings(clip)
    return (text @ text.T).fill_diagonal_(0)

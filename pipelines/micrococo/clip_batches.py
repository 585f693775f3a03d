"""Batches for the tiny CLIP: scenes, cut-out segments and crops, each with a caption."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.clip.prompts import PROMPTS as PROMPT_SETS
from pipelines.micrococo.clip_settings import MicroClipSettings
from pipelines.micrococo.clip_views import segment_views
from pipelines.micrococo.render import Scene, render_scene, scene_rng
from pipelines.micrococo.turns import WAYS, turned
from pipelines.micrococo.world import MICROCOCO_CATEGORIES

SIDE: Final = 48
"""Input side of the image tower, px."""
MAX_CROP_MARGIN: Final = 6
"""Black px round a segment's box in training crops are drawn from 0 to this; the crops that are measured have none."""
PROMPTS: Final = PROMPT_SETS["micrococo"]
# OpenAI's statistics, which open_clip's own preprocessing takes when a config names none.
_MEAN: Final = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(1, 3, 1, 1)
_STD: Final = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(1, 3, 1, 1)


@dataclass(frozen=True)
class TrainingViews:
    """What batches are drawn from; images are uint8 (n, 48, 48, 3).

    Attributes:
        whole: the scenes.
        contents: the categories in each scene (indices in `MICROCOCO_CATEGORIES`), as its caption may name them.
        full, crop: the segments' views, in one order.
        categories: (n,) int64 category of each segment.
    """

    whole: Tensor
    contents: list[tuple[int, ...]]
    full: Tensor
    crop: Tensor
    categories: NDArray[np.int64]


@dataclass(frozen=True)
class _SceneViews:
    whole: NDArray[np.uint8]
    contents: tuple[int, ...]
    full: list[NDArray[np.uint8]]
    crop: list[NDArray[np.uint8]]
    categories: list[int]


def _shrink(image: Image.Image) -> NDArray[np.uint8]:
    """(48, 48, 3), resized as open_clip's preprocessing does."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _scene_views(index: int, *, seed: int) -> _SceneViews:
    rng = scene_rng(seed, "clip-train", index)
    scene: Scene = render_scene(rng)
    views = list(segment_views(scene, crowds=True, margin=MAX_CROP_MARGIN, rng=rng))
    return _SceneViews(
        whole=_shrink(Image.fromarray(scene.image)),
        contents=tuple(dict.fromkeys(scene.categories)),
        full=[_shrink(view.image) for view in views if view.kind == "full"],
        crop=[_shrink(view.image) for view in views if view.kind == "crop"],
        categories=[view.category for view in views if view.kind == "full"],
    )


def render_training_views(settings: MicroClipSettings) -> TrainingViews:
    """Render all training scenes and cut them up; the same for any number of workers."""
    render = partial(_scene_views, seed=settings.seed)
    if settings.workers > 1:
        with ProcessPoolExecutor(settings.workers) as pool:
            rendered = list(pool.map(render, range(settings.scenes), chunksize=64))
    else:
        rendered = [render(index) for index in range(settings.scenes)]
    return TrainingViews(
        whole=torch.from_numpy(np.stack([views.whole for views in rendered])),
        contents=[views.contents for views in rendered],
        full=torch.from_numpy(np.stack([image for views in rendered for image in views.full])),
        crop=torch.from_numpy(np.stack([image for views in rendered for image in views.crop])),
        categories=np.array([category for views in rendered for category in views.categories]),
    )


def scene_caption(contents: tuple[int, ...], rng: np.random.Generator) -> str:
    """As "red circle and blue ring on plain green ground": up to three things and two grounds, in random order."""
    categories = [MICROCOCO_CATEGORIES[k] for k in rng.permutation(contents)]
    things = [category.name for category in categories if category.isthing][:3]
    grounds = [category.name for category in categories if not category.isthing][:2]
    return " on ".join(part for part in (" and ".join(things), " and ".join(grounds)) if part)


@dataclass(frozen=True)
class Batch:
    """`pixels` (B, 3, 48, 48) float32 ; `texts` all different; `captions` (B,) int64 index there."""

    pixels: Tensor
    texts: list[str]
    captions: Tensor


def draw_batches(views: TrainingViews, settings: MicroClipSettings) -> Iterator[Batch]:
    """Endless random batches; a category has one prompt a batch, so that like segments share a caption."""
    rng = np.random.default_rng((settings.seed, 1))
    while True:
        whole = rng.integers(len(views.whole), size=settings.whole_scenes)
        full = rng.integers(len(views.full), size=settings.full_frames)
        crop = rng.integers(len(views.crop), size=settings.crops)
        prompts = rng.integers(len(PROMPTS), size=len(MICROCOCO_CATEGORIES))
        captions = [scene_caption(views.contents[k], rng) for k in whole]
        for category in views.categories[np.concatenate((full, crop))]:
            captions.append(PROMPTS[prompts[category]].format(MICROCOCO_CATEGORIES[category].name))
        texts = list(dict.fromkeys(captions))
        place = {text: k for k, text in enumerate(texts)}
        chosen = (views.whole[whole], views.full[full], views.crop[crop])
        images = [turned(images, int(rng.integers(WAYS))) for images in chosen]
        yield Batch(_normalise(torch.cat(images)), texts, torch.tensor([place[caption] for caption in captions]))


def _normalise(images: Tensor) -> Tensor:
    """uint8 (n, S, S, 3) -> float32 (n, 3, S, S), channels last in memory, where CPU kernels are half again as fast."""
    return (images.permute(0, 3, 1, 2).float() / 255 - _MEAN) / _STD

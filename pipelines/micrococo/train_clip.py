"""Train the tiny CLIP of micrococo: `python -m pipelines.micrococo.train_clip --out DIR --seed 0`.

As the CLIP of the large world has seen every kind of thing at image level, this one sees scenes, cut-out segments and
crops of all compositions with captions. It is trained once and shipped; this command makes the shipped files again (one
CPU core, about 30 minutes, deterministic for one machine and number of threads).
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.base.files import atomic_path, write_json
from pipelines.clip.prompts import PROMPTS as PROMPT_SETS
from pipelines.micrococo.clip_accuracy import (
    CONFIG,
    MODEL_NAME,
    CheckViews,
    MicroClip,
    Table,
    accuracy_table,
    check_views,
    open_micro_clip,
    text_cosines,
)
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
class MicroClipSettings:
    """How the tiny CLIP is trained.

    Attributes:
        seed: of weights, scenes and batches.
        scenes: training scenes held in memory (about 80 kB each).
        iterations: optimiser steps.
        whole_scenes, full_frames, crops: images of each kind in a batch.
        learning_rate: the top of the one-cycle schedule.
        weight_decay: of matrices and kernels; the token table, biases and norms have none.
        logit_scale_cap: the largest factor on cosines; a low one drives the names' embeddings apart.
        check_every: iterations between two checks, each of which writes the weights.
        check_scenes: scenes of the last check (the ones between take a quarter).
        threads: CPU threads of torch; results are repeated with the same number only.
        workers: processes that render.
    """

    seed: int = 0
    scenes: int = 9000
    iterations: int = 3600
    whole_scenes: int = 32
    full_frames: int = 128
    crops: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    logit_scale_cap: float = 12.0
    check_every: int = 450
    check_scenes: int = 800
    threads: int = 1
    workers: int = 1


# --- data ---


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


# --- the token table ---


class TokenTable:
    """Trains only the rows of the token table that captions use: some 30 of 49,408, so the optimiser has less to do.

    While training, the model's table has only those rows and `tokenize` gives their places. Places keep the order of
    token ids, so the end-of-text token stays the largest one, by which open_clip finds the text's end.
    """

    def __init__(self, clip: MicroClip) -> None:
        self._tokenize = clip.tokenize
        texts = [prompt.format(category.name) for prompt in PROMPTS for category in MICROCOCO_CATEGORIES]
        self.ids = torch.unique(clip.tokenize([*texts, "and on"]))
        self._whole: nn.Embedding = clip.model.token_embedding
        small = nn.Embedding(len(self.ids), self._whole.embedding_dim)
        small.weight.data.copy_(self._whole.weight.data[self.ids])
        clip.model.token_embedding = small

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(n, 24) int64 places in the small table."""
        return torch.searchsorted(self.ids, self._tokenize(list(texts)))

    def whole_table(self, small: Tensor) -> Tensor:
        """(49408, width): trained rows in their places, zeros elsewhere, so a word never met changes nothing."""
        table = torch.zeros_like(self._whole.weight.data)
        table[self.ids] = small
        return table


# --- training ---


def contrastive_loss(images: Tensor, texts: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss where several images may share one text.

    Args:
        images: (B, C) unit vectors.
        texts: (U, C) unit vectors of the different captions.
        captions: (B,) int64, each image's text.
        scale: factor on the cosines.
    """
    logits = scale * images @ texts.T  # (B, U)
    positives = F.one_hot(captions, len(texts)).T.float()  # (U, B)
    to_image = -(F.log_softmax(logits.T, 1) * positives).sum(1) / positives.sum(1)
    return (F.cross_entropy(logits, captions) + to_image.mean()) / 2


def _optimiser(model: nn.Module, settings: MicroClipSettings) -> torch.optim.AdamW:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (decayed if parameter.ndim > 1 and name != "token_embedding.weight" else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def train(settings: MicroClipSettings, out: Path) -> Table:
    """Train, check, and write config, weights and accuracy into `out` at every check.

    Returns:
        Accuracy of the weights as they lie on disk, loaded by open_clip.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    clip = open_micro_clip(weights=None)
    checks = check_views(clip, scenes=settings.check_scenes // 4, seed=settings.seed)
    views = render_training_views(settings)
    print(f"{len(views.whole)} scenes, {len(views.full)} segments: {time.perf_counter() - started:.0f} s", flush=True)

    model = clip.model.to(memory_format=torch.channels_last)
    tokens = TokenTable(clip)
    small_clip = MicroClip(model, clip.preprocess, tokens.tokenize)
    optimiser = _optimiser(model, settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.iterations, pct_start=0.1
    )
    batches = draw_batches(views, settings)
    for iteration in range(1, settings.iterations + 1):
        loss = _step(small_clip, next(batches), optimiser, settings)
        schedule.step()
        if iteration % settings.check_every == 0:
            _report(small_clip, checks, iteration, loss, time.perf_counter() - started)
            save_weights(model, tokens, settings, out)
    return measure(settings, out, seconds=time.perf_counter() - started)


def _step(clip: MicroClip, batch: Batch, optimiser: torch.optim.Optimizer, settings: MicroClipSettings) -> float:
    clip.model.train()
    images = clip.model.encode_image(batch.pixels, normalize=True)
    texts = clip.model.encode_text(clip.tokenize(batch.texts), normalize=True)
    scale = clip.model.logit_scale.exp().clamp(max=settings.logit_scale_cap)
    loss = contrastive_loss(images, texts, batch.captions, scale)
    if not torch.isfinite(loss):
        raise FloatingPointError("the loss of the tiny CLIP is not finite")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(clip.model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def _report(clip: MicroClip, checks: CheckViews, iteration: int, loss: float, seconds: float) -> None:
    clip.model.eval()
    table = accuracy_table(clip, checks)
    cosines = text_cosines(clip)
    print(
        json.dumps(
            {
                "iteration": iteration,
                "loss": round(loss, 4),
                "seconds": round(seconds),
                "scale": round(clip.model.logit_scale.exp().item(), 2),
                "text_cosine_max": round(cosines.max().item(), 3),
                **table,
            }
        ),
        flush=True,
    )


# --- files ---


def save_weights(model: nn.Module, tokens: TokenTable, settings: MicroClipSettings, out: Path) -> None:
    """Write every weight as float16 (open_clip loads them as float32), the logit scale capped, and the config."""
    state = dict(model.state_dict())
    state["token_embedding.weight"] = tokens.whole_table(state["token_embedding.weight"])
    state["logit_scale"] = state["logit_scale"].clamp(max=float(np.log(settings.logit_scale_cap)))
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    contiguous = {name: value.contiguous() for name, value in halves.items()}
    with atomic_path(out / f"{MODEL_NAME}.safetensors") as path:
        save_file(
            contiguous, path, metadata={"format": "pt"}
        )  # one key: with more, their order in the file is by chance
    if out.resolve() != CONFIG.parent.resolve():
        (out / CONFIG.name).write_bytes(CONFIG.read_bytes())


def measure(settings: MicroClipSettings, out: Path, *, seconds: float) -> Table:
    """Measure the weights in `out` on all check scenes and write the accuracy file beside them."""
    clip = open_micro_clip(out / f"{MODEL_NAME}.safetensors")
    table = accuracy_table(clip, check_views(clip, scenes=settings.check_scenes, seed=settings.seed))
    cosines = text_cosines(clip)
    record = {
        "accuracy": table,
        "text_cosine": {"max": round(cosines.max().item(), 4), "mean": round(cosines.mean().item(), 4)},
        "settings": asdict(settings),
        "samples": settings.iterations * (settings.whole_scenes + settings.full_frames + settings.crops),
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    write_json(out / f"{MODEL_NAME}.accuracy.json", record, indent=2)
    return table


def main() -> None:
    """Read the command line, train, print the accuracy."""
    defaults = MicroClipSettings()
    parser = argparse.ArgumentParser(description="Train the tiny CLIP of micrococo.")
    parser.add_argument("--out", type=Path, required=True, help="folder for config, weights and accuracy")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--scenes", type=int, default=defaults.scenes)
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    parser.add_argument("--check-every", type=int, default=defaults.check_every)
    parser.add_argument("--workers", type=int, default=defaults.workers, help="processes that render")
    given = parser.parse_args()
    settings = MicroClipSettings(
        seed=given.seed,
        scenes=given.scenes,
        iterations=given.iterations,
        check_every=given.check_every,
        workers=given.workers,
    )
    print(json.dumps(train(settings, given.out), indent=2))


if __name__ == "__main__":
    main()

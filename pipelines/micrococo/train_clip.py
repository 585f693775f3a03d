"""Train the tiny CLIP of micrococo: `python -m pipelines.micrococo.train_clip --out DIR --seed 0`.

As the CLIP of the large world has seen every kind of thing at image level, this one sees scenes, cut-out segments and
crops of all compositions with captions. It is trained once and shipped; this command makes the shipped files again (one
CPU core, about 30 minutes, deterministic for one machine and number of threads).
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.micrococo.clip_accuracy import (
    CheckViews,
    MicroClip,
    Table,
    accuracy_table,
    check_views,
    open_micro_clip,
    text_cosines,
)
from pipelines.micrococo.clip_batches import Batch, draw_batches, render_training_views
from pipelines.micrococo.clip_files import measure, save_weights
from pipelines.micrococo.clip_settings import MicroClipSettings
from pipelines.micrococo.clip_token_table import TokenTable


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

"""Train the start of the tiny extractor: `python -m pipelines.micrococo.train_backbone --out FILE --seed 0`.

The extractor must not start from the tiny CLIP's image tower, which has seen captioned unseen things. It starts from a
classifier of windows of micrococo scenes that hold seen categories alone, into the 27 seen names. Half the windows are
at the extractor's own scale, half are about one segment and resized. About 11 minutes on one CPU core.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.base.errors import NonFiniteLossError
from pipelines.base.files import atomic_path
from pipelines.micrococo.render import Scene, render_scene, scene_rng
from pipelines.micrococo.turns import WAYS, turned
from pipelines.micrococo.world import MICROCOCO_CATEGORIES, SEEN_CATEGORIES

ARCHITECTURE: Final = "test_resnet"
SHIPPED: Final = Path(__file__).parent / "weights/micrococo-backbone.safetensors"
ORIGIN: Final = "classifier of seen-only context crops of micrococo scenes"
IMAGE_MEAN: Final = (0.485, 0.456, 0.406)
IMAGE_STD: Final = (0.229, 0.224, 0.225)
"""ImageNet's statistics, as the extractor normalises with."""
SIDE: Final = 48
"""Side of the windows that are classified, px."""
_MARGINS: Final = (2, 9)  # context px round a thing's box; from, below
_GROUND_SIDES: Final = (24, SIDE + 1)  # px of a ground that a context window shows; from, below
_GROUND_TRIES: Final = 8
_JITTER: Final = 4  # px by which a window may miss a thing's middle

Pixel = TypeVar("Pixel", np.uint8, np.bool_)
Stream = Literal["backbone-train", "backbone-check"]


@dataclass(frozen=True)
class MicroBackboneSettings:
    """How the backbone is trained.

    Attributes:
        seed: of weights, scenes and batches.
        scenes: training scenes, all of seen categories (about 80 kB each).
        iterations: optimiser steps.
        batch: windows a step.
        learning_rate: the top of the one-cycle schedule.
        weight_decay: of all weights.
        check_scenes: scenes of the accuracy that is stored.
        threads: CPU threads of torch; results are repeated with the same number only.
    """

    seed: int = 0
    scenes: int = 6000
    iterations: int = 3000
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    check_scenes: int = 400
    threads: int = 1


@dataclass(frozen=True)
class Windows:
    """`images` (n, 48, 48, 3) uint8, native and context in turn; `labels` (n,) int64, index in `SEEN_CATEGORIES`."""

    images: Tensor
    labels: Tensor


# --- data ---


def render_windows(stream: Stream, *, scenes: int, seed: int) -> Windows:
    """Two windows of every segment of scenes in which nothing unseen occurs."""
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for index in range(scenes):
        rng = scene_rng(seed, stream, index)
        scene = render_scene(rng, allowed=SEEN_CATEGORIES)
        for segment, category in enumerate(scene.categories):
            images += [_native_window(scene, segment, rng), _context_window(scene, segment, rng)]
            labels += [SEEN_CATEGORIES.index(category)] * 2
    return Windows(torch.from_numpy(np.stack(images)), torch.tensor(labels))


def _native_window(scene: Scene, segment: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(48, 48, 3) at the image's own scale."""
    return _window(scene.image, *_anchor(scene, segment, SIDE, rng), SIDE)


def _context_window(scene: Scene, segment: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(48, 48, 3) resized from a square about a thing with its surroundings, or from a small square of a ground."""
    if MICROCOCO_CATEGORIES[scene.categories[segment]].isthing:
        extent = max(int(np.ptp(axis)) + 1 for axis in np.nonzero(scene.segments == segment))
        side = min(extent + 2 * int(rng.integers(*_MARGINS)), len(scene.image))
    else:
        side = int(rng.integers(*_GROUND_SIDES))
    window = _window(scene.image, *_anchor(scene, segment, side, rng), side)
    return np.asarray(Image.fromarray(window).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _anchor(scene: Scene, segment: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a window: near a thing's middle, or at that of some of a ground's pixels about which it shows most.

    A window about any pixel of a ground shows its neighbours as much; then the label would be a guess.
    """
    mask = scene.segments == segment
    rows, columns = np.nonzero(mask)
    if MICROCOCO_CATEGORIES[scene.categories[segment]].isthing:
        jitter = rng.integers(-_JITTER, _JITTER + 1, 2)
        return int((rows.min() + rows.max()) // 2 + jitter[0]), int((columns.min() + columns.max()) // 2 + jitter[1])
    tried = [(int(rows[k]), int(columns[k])) for k in rng.integers(len(rows), size=_GROUND_TRIES)]
    shown = [int(_window(mask, y, x, side).sum()) for y, x in tried]
    return tried[int(np.argmax(shown))]


def _window(image: NDArray[Pixel], y: int, x: int, side: int) -> NDArray[Pixel]:
    """(side, side, …) about (y, x), moved inwards where it would leave the image."""
    top = min(max(y - side // 2, 0), image.shape[0] - side)
    left = min(max(x - side // 2, 0), image.shape[1] - side)
    return image[top : top + side, left : left + side]


def normalised(images: Tensor) -> Tensor:
    """uint8 (n, S, S, 3) -> float32 (n, 3, S, S), channels last in memory, where CPU kernels are half again as fast."""
    mean, std = torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), torch.tensor(IMAGE_STD).view(1, 3, 1, 1)
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


def _draw_batches(windows: Windows, settings: MicroBackboneSettings) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng((settings.seed, 1))
    while True:
        chosen = torch.from_numpy(rng.integers(len(windows.labels), size=settings.batch))
        yield normalised(turned(windows.images[chosen], int(rng.integers(WAYS)))), windows.labels[chosen]


# --- training ---


def train(settings: MicroBackboneSettings, out: Path) -> dict[str, float]:
    """Train, then write the weights without the classifier's last layer into the safetensors file `out`.

    Returns:
        Accuracy on other seen-only scenes: things and stuff, in native and in context windows.

    Raises:
        NonFiniteLossError: the loss is not finite.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    started = time.perf_counter()
    windows = render_windows("backbone-train", scenes=settings.scenes, seed=settings.seed)
    print(f"{len(windows.labels)} windows: {time.perf_counter() - started:.0f} s", flush=True)

    model: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(SEEN_CATEGORIES))
    model = model.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.iterations, pct_start=0.1
    )
    batches = _draw_batches(windows, settings)
    for iteration in range(1, settings.iterations + 1):
        loss = _step(model, next(batches), optimiser)
        schedule.step()
        if iteration % 250 == 0:
            seconds = round(time.perf_counter() - started)
            print(json.dumps({"iteration": iteration, "loss": round(loss, 4), "seconds": seconds}), flush=True)
    accuracy = measure(model.eval(), scenes=settings.check_scenes, seed=settings.seed)
    save_backbone(model, settings, accuracy, out)
    return accuracy


def _step(model: nn.Module, batch: tuple[Tensor, Tensor], optimiser: torch.optim.Optimizer) -> float:
    images, labels = batch
    loss = F.cross_entropy(model(images), labels)
    if not torch.isfinite(loss):
        raise NonFiniteLossError("The loss of the tiny backbone is not finite.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.no_grad()
def measure(model: nn.Module, *, scenes: int, seed: int) -> dict[str, float]:
    """Accuracy of the classifier on scenes that nothing is trained on."""
    windows = render_windows("backbone-check", scenes=scenes, seed=seed)
    guesses = torch.cat([model(normalised(chunk)).argmax(1) for chunk in windows.images.split(256)])
    correct = (guesses == windows.labels).float()
    things = torch.tensor([MICROCOCO_CATEGORIES[k].isthing for k in SEEN_CATEGORIES])[windows.labels]
    native = torch.arange(len(correct)) % 2 == 0
    groups = {
        "things, native": things & native,
        "things, context": things & ~native,
        "stuff, native": ~things & native,
        "stuff, context": ~things & ~native,
    }
    return {group: round(correct[members].mean().item(), 4) for group, members in groups.items()}


def save_backbone(model: nn.Module, settings: MicroBackboneSettings, accuracy: dict[str, float], out: Path) -> None:
    """Write float32 weights under timm's names and, as metadata, where they come from."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if not name.startswith("fc.")}
    metadata = {
        "origin": ORIGIN,
        "architecture": ARCHITECTURE,
        "training_labels": json.dumps([MICROCOCO_CATEGORIES[k].name for k in SEEN_CATEGORIES]),
        "seed": str(settings.seed),
        "iterations": str(settings.iterations),
        "accuracy": json.dumps(accuracy),
        "mean": json.dumps(IMAGE_MEAN),
        "std": json.dumps(IMAGE_STD),
    }
    with atomic_path(out) as path:
        save_file(weights, path, metadata=metadata)


def main() -> None:
    """Read the command line, train, print the accuracy."""
    defaults = MicroBackboneSettings()
    parser = argparse.ArgumentParser(description="Train the seen-only start of micrococo's extractor.")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--scenes", type=int, default=defaults.scenes)
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    given = parser.parse_args()
    settings = MicroBackboneSettings(seed=given.seed, scenes=given.scenes, iterations=given.iterations)
    print(json.dumps(train(settings, given.out), indent=2))


if __name__ == "__main__":
    main()

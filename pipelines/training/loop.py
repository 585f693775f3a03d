"""The one training loop: lightning-fabric, checkpoints, exact resume, logs, non-finite guard."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.base.errors import CorruptFileError, NonFiniteLossError
from pipelines.base.files import atomic_path
from pipelines.base.progress import Reporter, StepFigures
from pipelines.training.devices import peak_memory
from pipelines.training.log import TrainingLog
from pipelines.training.settings import OptimiserSettings

Batch = TypeVar("Batch")
Losses = dict[str, Tensor]
PAGES: Final = 10
"""Pages of sample panels a training draws at most; TensorBoard shows no more of one tag."""


@dataclass
class Training:
    """Everything that changes while training, and so everything a checkpoint holds.

    Attributes:
        modules: by name; what trains and what only has buffers (the token bank).
        model: what trains, as fabric set it up; its gradients are clipped together.
        optimiser, schedule: one of each.
    """

    modules: dict[str, nn.Module]
    model: nn.Module
    optimiser: Optimizer
    schedule: LambdaLR
    step: int = 0

    def save(self, path: Path) -> None:
        """Writes a checkpoint atomically."""
        state = {
            "step": self.step,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        content = io.BytesIO()  # composed in memory: torch hides a full disk behind an error of its own
        torch.save(state, content)
        with atomic_path(path) as partial:
            partial.write_bytes(content.getbuffer())

    def load(self, path: Path) -> None:
        """Continues from a checkpoint.

        Raises:
            CorruptFileError: the file is no checkpoint of these modules.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            self.optimiser.load_state_dict(state["optimiser"])
            self.schedule.load_state_dict(state["schedule"])
            torch.set_rng_state(state["random"])
            if torch.cuda.is_available() and state["random_cuda"]:
                torch.cuda.set_rng_state_all(state["random_cuda"])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, EOFError, OSError, UnpicklingError) as error:
            detail = (str(error).splitlines() or ["it ends too early"])[0]
            raise CorruptFileError(
                f"Not a checkpoint of this training: {detail}",
                file=path,
                mend="Delete it, or use --force, to train from the start.",
            ) from error


def make_optimiser(
    groups: list[dict[str, Any]], settings: OptimiserSettings, iterations: int
) -> tuple[Optimizer, LambdaLR]:
    """AdamW on `groups` (each with `params` and `lr`) and its schedule over `iterations` steps."""
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    factor = {"constant": _constant, "steps": _steps, "one-cycle": _one_cycle}[settings.schedule]
    return optimiser, LambdaLR(optimiser, lambda step: factor(step / max(iterations, 1)))


def _constant(_: float) -> float:
    return 1.0


def _steps(progress: float) -> float:
    """×0.1 at 90 % and again at 95 % (Mask2Former's schedule on COCO)."""
    return 0.1 ** ((progress >= 0.9) + (progress >= 0.95))


def _one_cycle(progress: float, warm_up: float = 0.08, start: float = 0.1, end: float = 1e-3) -> float:
    """Cosine from a tenth up to 1 within the warm-up, then cosine down to a thousandth."""
    if progress < warm_up:
        return start + (1 - start) * (1 - math.cos(math.pi * progress / warm_up)) / 2
    rest = min((progress - warm_up) / (1 - warm_up), 1.0)
    return end + (1 - end) * (1 + math.cos(math.pi * rest)) / 2


def train(
    training: Training,
    batches: Iterable[Batch],
    losses_of: Callable[[int, Batch], Losses],
    *,
    fabric: Fabric,
    folder: Path,
    iterations: int,
    batch_size: int,
    clip_norm: float,
    checkpoint_every: int,
    log_every: int,
    reporter: Reporter,
    description: str,
    after_step: Callable[[int], None] | None = None,
    draw_page: Callable[[], NDArray[np.uint8]] | None = None,
) -> dict[str, float]:
    """Optimises the sum of the losses from `training.step` to `iterations`.

    Args:
        batches: the batches of the steps still to come, in order.
        losses_of: step and batch → weighted losses by name, to be summed.
        folder: takes `checkpoint.pt`, `metrics.jsonl` and TensorBoard's event files.
        batch_size: images a step, from which the logs tell images a second.
        after_step: called with the number of steps done, after each of them.
        draw_page: what the model now makes of some samples (uint8, H×W×3), for TensorBoard; called at up to ten of
            the checkpoints and at the end. It must leave the random state and the modules as they are.

    Returns:
        the means of the last logged losses by name, `loss` being their sum.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; the last checkpoint is kept.
    """
    log = TrainingLog(folder, first_step=training.step, batch_size=batch_size)
    checkpoint, logged, memory = folder / "checkpoint.pt", {}, peak_memory(fabric.device)
    try:
        with reporter.training(description, iterations, training.step, batch_size) as task:
            for batch in batches:
                losses, values = _finite(losses_of, training.step, batch, checkpoint)
                log.add(values, _step(training, losses, fabric, clip_norm))
                rates = _learning_rates(training.optimiser)
                if training.step % log_every == 0 or training.step == iterations:
                    memory = peak_memory(fabric.device)
                    logged = log.write(training.step, rates, memory)
                if after_step:
                    after_step(training.step)
                if draw_page and _page_due(training.step, checkpoint_every, iterations):
                    log.show_page(training.step, draw_page())
                if training.step % checkpoint_every == 0 and training.step < iterations:
                    training.save(checkpoint)
                task.step(StepFigures(values, max(rates.values()), memory))
    finally:
        log.close()
    return logged


def _page_due(step: int, checkpoint_every: int, iterations: int) -> bool:
    """Whether `step` is a checkpoint, or the end, and the first one in its tenth of the training."""
    if step % checkpoint_every and step != iterations:
        return False
    before = (step - 1) // checkpoint_every * checkpoint_every
    return step * PAGES // iterations > before * PAGES // iterations


def _learning_rates(optimiser: Optimizer) -> dict[str, float]:
    """The learning rate of `all`, or of the first group at each rate where parts learn at different ones."""
    rates: dict[float, str] = {}
    for number, group in enumerate(optimiser.param_groups):
        rates.setdefault(float(group["lr"]), group.get("name", f"group {number}"))
    return {name: rate for rate, name in rates.items()} if len(rates) > 1 else dict.fromkeys(["all"], *rates)


def _finite(
    losses_of: Callable[[int, Batch], Losses], step: int, batch: Batch, checkpoint: Path
) -> tuple[Losses, dict[str, float]]:
    """The losses of a step and their values, all finite; a loss may itself refuse others (the matching cost does)."""
    try:
        losses = losses_of(step, batch)
        numbers = torch.stack([value.detach() for value in losses.values()]).tolist()  # waits for the device once
        if all(map(math.isfinite, numbers)):
            return losses, dict(zip(losses, numbers, strict=True))
        said = ", ".join(f"{name} {number:.3g}" for name, number in zip(losses, numbers, strict=True))
    except NonFiniteLossError as error:
        said = error.message
    kept = "The last checkpoint is kept" if checkpoint.exists() else "No checkpoint was written yet"
    raise NonFiniteLossError(
        f"The loss of step {step} is not finite ({said.rstrip('.')}). {kept}.",
        file=checkpoint,
        mend="Lower the learning rate, or set runtime.precision=32-true.",
    )


def _step(training: Training, losses: Losses, fabric: Fabric, clip_norm: float) -> Tensor:
    """One step of the optimiser; returns the norm that the gradients had before they were clipped."""
    loss = torch.stack(list(losses.values())).sum()
    training.optimiser.zero_grad()
    fabric.backward(loss)
    if clip_norm > 0:
        norm = fabric.clip_gradients(training.model, training.optimiser, max_norm=clip_norm, error_if_nonfinite=False)
    else:
        norm = get_total_norm([p.grad for p in training.model.parameters() if p.grad is not None])
    training.optimiser.step()
    training.schedule.step()
    training.step += 1
    return norm

"""The one training loop: lightning-fabric, checkpoints, exact resume, metrics.jsonl, TensorBoard, non-finite guard."""

import io
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.errors import CorruptFileError, NonFiniteLossError
from pipelines.files import atomic_path
from pipelines.progress import Reporter
from pipelines.recipe import OptimiserSettings

Batch = TypeVar("Batch")
Losses = dict[str, Tensor]


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
    clip_norm: float,
    checkpoint_every: int,
    log_every: int,
    reporter: Reporter,
    description: str,
    after_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Optimises the sum of the losses from `training.step` to `iterations`.

    Args:
        batches: the batches of the steps still to come, in order.
        losses_of: step and batch → weighted losses by name, to be summed.
        folder: takes `checkpoint.pt`, `metrics.jsonl` and TensorBoard's event files.
        after_step: called with the number of steps done, after each of them.

    Returns:
        the means of the last logged losses by name, `loss` being their sum.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; the last checkpoint is kept.
    """
    log = MetricsLog(folder, first_step=training.step)
    checkpoint, logged = folder / "checkpoint.pt", {}
    try:
        with reporter.task(description, iterations, training.step, unit="step") as task:
            for batch in batches:
                losses = _finite(losses_of, training.step, batch, checkpoint)
                _step(training, losses, fabric, clip_norm)
                log.add(losses)
                if training.step % log_every == 0 or training.step == iterations:
                    logged = log.write(training.step, float(training.schedule.get_last_lr()[0]))
                if after_step:
                    after_step(training.step)
                if training.step % checkpoint_every == 0 and training.step < iterations:
                    training.save(checkpoint)
                task.advance(1, **({"loss": logged["loss"]} if logged else {}))
    finally:
        log.close()
    return logged


def _finite(losses_of: Callable[[int, Batch], Losses], step: int, batch: Batch, checkpoint: Path) -> Losses:
    """The losses of a step, all finite; a loss may itself refuse values that are not (the matching cost does)."""
    try:
        losses = losses_of(step, batch)
        bad = not all(bool(torch.isfinite(value)) for value in losses.values())
        values = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items()) if bad else ""
    except NonFiniteLossError as error:
        bad, values = True, error.message
    if not bad:
        return losses
    kept = "The last checkpoint is kept" if checkpoint.exists() else "No checkpoint was written yet"
    raise NonFiniteLossError(
        f"The loss of step {step} is not finite ({values.rstrip('.')}). {kept}.",
        file=checkpoint,
        mend="Lower the learning rate, or set runtime.precision=32-true.",
    )


def _step(training: Training, losses: Losses, fabric: Fabric, clip_norm: float) -> None:
    loss = torch.stack(list(losses.values())).sum()
    training.optimiser.zero_grad()
    fabric.backward(loss)
    if clip_norm > 0:
        fabric.clip_gradients(training.model, training.optimiser, max_norm=clip_norm, error_if_nonfinite=False)
    training.optimiser.step()
    training.schedule.step()
    training.step += 1


class MetricsLog:
    """Means of the losses, as lines of `metrics.jsonl` and as TensorBoard scalars.

    Lines of steps that an interrupted run logged after its last checkpoint are dropped, so that every step stands once.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, wanted only here

        self.path = folder / "metrics.jsonl"
        kept = []
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= first_step]
        self.path.write_text("".join(kept), encoding="utf-8")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
        self.sums: dict[str, Tensor] = {}
        self.count, self.clock = 0, time.monotonic()

    def add(self, losses: Losses) -> None:
        """Adds one step's losses; nothing waits for a device here."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self.count += 1

    def write(self, step: int, learning_rate: float) -> dict[str, float]:
        """Writes the means since the last line and returns them."""
        means = {name: value.item() / self.count for name, value in self.sums.items()}
        means["loss"] = sum(means.values())
        seconds = (time.monotonic() - self.clock) / self.count
        line = {"step": step, **means, "learning_rate": learning_rate, "seconds_per_step": seconds}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, figure in line.items():
            if name != "step":
                self.board.add_scalar(name, figure, step)
        self.sums, self.count, self.clock = {}, 0, time.monotonic()
        return means

    def close(self) -> None:
        """Closes the event file."""
        self.board.close()

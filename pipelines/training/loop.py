"""The one training loop: lightning-fabric, steps in parts, checkpoints, exact resume, logs, non-finite guard."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.base.errors import ConcatError, CorruptFileError, NonFiniteLossError
from pipelines.base.files import atomic_path
from pipelines.base.progress import Reporter, StepFigures
from pipelines.base.seeding import derive_seed
from pipelines.training.devices import peak_memory
from pipelines.training.log import SilentLog, TrainingLog
from pipelines.training.part_size import until_it_fits
from pipelines.training.settings import OptimiserSettings

Batch = TypeVar("Batch")
Losses = dict[str, Tensor]
PAGES: Final = 10
"""Pages of sample panels a training draws at most; TensorBoard shows no more of one tag."""


class Stateful(Protocol):
    """Whatever a checkpoint can hold: a module, fabric's precision, the size of a step's parts."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values by name."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Takes up what `state_dict` gave."""


@dataclass
class Training:
    """Everything that changes while training, and so everything a checkpoint holds.

    Attributes:
        modules: by name; what trains, what only has buffers (the token bank), and whatever else has a state.
        model: what trains, as fabric set it up; its gradients are clipped together.
        optimiser, schedule: one of each.
    """

    modules: dict[str, Stateful]
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
            **_random_state(),
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
            _set_random_state(state)
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
    factors: dict[str, Callable[[float], float]] = {
        "constant": _constant,
        "steps": partial(_steps, milestones=settings.milestones),
        "one-cycle": _one_cycle,
    }
    factor = factors[settings.schedule]
    return optimiser, LambdaLR(optimiser, lambda step: factor(step / max(iterations, 1)))


def _constant(_: float) -> float:
    return 1.0


def _steps(progress: float, milestones: tuple[float, ...]) -> float:
    """×0.1 at each milestone, a share of all steps."""
    return 0.1 ** sum(progress >= milestone for milestone in milestones)


def _one_cycle(progress: float, warm_up: float = 0.08, start: float = 0.1, end: float = 1e-3) -> float:
    """Cosine from a tenth up to 1 within the warm-up, then cosine down to a thousandth."""
    if progress < warm_up:
        return start + (1 - start) * (1 - math.cos(math.pi * progress / warm_up)) / 2
    rest = min((progress - warm_up) / (1 - warm_up), 1.0)
    return end + (1 - end) * (1 + math.cos(math.pi * rest)) / 2


def train(
    training: Training,
    batches: Iterable[Batch],
    losses_of: Callable[[int, Batch], Iterable[Losses]],
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
    smaller_parts: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Optimises the sum of the losses from `training.step` to `iterations`.

    Args:
        batches: the batches of the steps still to come, in order.
        losses_of: step and batch → weighted losses by name, to be summed, of each part of the step; a part's gradients
            are computed before the next part is asked for.
        folder: takes `checkpoint.pt`, `metrics.jsonl` and TensorBoard's event files.
        batch_size: images a step, from which the logs tell images a second.
        after_step: called with the number of steps done, after each of them.
        draw_page: what the model now makes of some samples (uint8, H×W×3), for TensorBoard; called at up to ten of
            the checkpoints and at the end. It must leave the random state and the modules as they are.
        smaller_parts: called when a device has no memory left for a step; whether `losses_of` will now make smaller
            parts of it, so that it is tried again.

    Returns:
        the means of the last logged losses by name, `loss` being their sum.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; the last checkpoint is kept.
        ConcatError: the device has too little memory.
    """
    first, seed = fabric.is_global_zero, torch.initial_seed()
    log = TrainingLog(folder, first_step=training.step, batch_size=batch_size) if first else SilentLog()
    checkpoint, logged, memory = folder / "checkpoint.pt", {}, peak_memory(fabric.device)
    try:
        with reporter.training(description, iterations, training.step, batch_size) as task:
            for batch in batches:
                if fabric.world_size > 1:  # a checkpoint holds the random state of one process
                    torch.manual_seed(derive_seed(seed, "step", training.step, fabric.global_rank))
                values, norm = take_step(
                    training, losses_of, batch, fabric, clip_norm=clip_norm, smaller_parts=smaller_parts
                )
                log.add(values, norm)
                rates = _learning_rates(training.optimiser)
                if training.step % log_every == 0 or training.step == iterations:
                    memory = peak_memory(fabric.device)
                    logged = log.write(training.step, rates, memory)
                if after_step:
                    after_step(training.step)
                if draw_page and first and _page_due(training.step, checkpoint_every, iterations):
                    log.show_page(training.step, draw_page())
                if first and training.step % checkpoint_every == 0 and training.step < iterations:
                    training.save(checkpoint)
                task.step(StepFigures(values, max(rates.values()), memory))
    except NonFiniteLossError as error:
        kept = "The last checkpoint is kept" if checkpoint.exists() else "No checkpoint was written yet"
        raise NonFiniteLossError(f"{error.message} {kept}.", file=checkpoint, mend=error.mend) from None
    except torch.OutOfMemoryError:
        raise ConcatError(
            f"The device has too little memory for step {training.step}.",
            mend="Lower con.images_per_forward, set con.checkpointing=true, or use a smaller crop.",
        ) from None
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


def take_step(
    training: Training,
    losses_of: Callable[[int, Batch], Iterable[Losses]],
    batch: Batch,
    fabric: Fabric,
    *,
    clip_norm: float,
    smaller_parts: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, float], Tensor]:
    """One step of the optimiser; arguments as `train`.

    Returns:
        the values of its losses by name, and the norm that the gradients had before they were clipped.

    Raises:
        NonFiniteLossError: a value is not finite; a loss may itself refuse what is not (the matching cost does).
        torch.OutOfMemoryError: the device has too little memory.
    """
    random = _random_state()

    def smaller() -> bool:
        _set_random_state(random)
        return smaller_parts()

    try:
        values = until_it_fits(lambda: _gradients(training, losses_of, batch, fabric), smaller)
    except NonFiniteLossError as error:
        raise _not_finite(training.step, error.message) from None
    if not all(map(math.isfinite, values.values())):
        raise _not_finite(training.step, ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    return values, _step(training, fabric, clip_norm)


def _gradients(
    training: Training, losses_of: Callable[[int, Batch], Iterable[Losses]], batch: Batch, fabric: Fabric
) -> dict[str, float]:
    """Leaves the gradients of a step; the values of its losses, summed over its parts and over all processes."""
    training.optimiser.zero_grad()
    sums: Losses = {}
    for losses in losses_of(training.step, batch):
        # Processes' gradients are averaged by fabric, but each has only its share of the sum.
        fabric.backward(torch.stack(list(losses.values())).sum() * fabric.world_size)
        sums = {name: sums.get(name, 0) + value.detach() for name, value in losses.items()}
    values = fabric.all_reduce(torch.stack(list(sums.values())), reduce_op="sum").tolist()  # waits for the device
    return dict(zip(sums, values, strict=True))


def _not_finite(step: int, said: str) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"The loss of step {step} is not finite ({said.rstrip('.')}).",
        mend="Lower the learning rate, or set runtime.precision=32-true.",
    )


def _step(training: Training, fabric: Fabric, clip_norm: float) -> Tensor:
    if clip_norm > 0:
        norm = fabric.clip_gradients(training.model, training.optimiser, max_norm=clip_norm, error_if_nonfinite=False)
    else:
        norm = get_total_norm([p.grad for p in training.model.parameters() if p.grad is not None])
    training.optimiser.step()
    training.schedule.step()
    training.step += 1
    return norm


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["random"])
    if torch.cuda.is_available() and state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])

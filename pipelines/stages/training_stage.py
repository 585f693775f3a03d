"""What the stages that train share: how they begin, and how the one training loop is run and reported."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.base.seeding import derive_seed
from pipelines.clip.text import open_text
from pipelines.runs.run import StageContext
from pipelines.training.devices import make_fabric, precision_of, seed_everything
from pipelines.training.loop import Losses, Training, make_optimiser, train
from pipelines.training.processes import Processes, join_processes
from pipelines.training.settings import OptimiserSettings
from pipelines.vocabularies.vocabulary import Vocabulary, open_seen

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Beginning:
    """Where a stage computes, and the seen names with their text embeddings (N×C, on its device)."""

    fabric: Fabric
    processes: Processes
    seen: Vocabulary
    text: Tensor


def begin(context: StageContext) -> Beginning:
    """Chooses the device, seeds everything for this stage, and opens the seen names."""
    fabric = make_fabric(context.recipe.runtime)
    seed_everything(derive_seed(context.recipe.seed, context.stage))
    seen = open_seen(context.input("seen.json"))
    text = open_text(context.input("text_seen"), seen.names, stage=context.stage).to(fabric.device)
    context.device, context.precision = str(fabric.device), precision_of(fabric)
    return Beginning(fabric, join_processes(), seen, text)


class LoopSettings(Protocol):
    """What the section of every stage that trains says."""

    @property
    def iterations(self) -> int:
        """Optimisation steps."""

    @property
    def optimiser(self) -> OptimiserSettings:
        """AdamW and its schedule."""

    @property
    def log_every(self) -> int:
        """Steps between lines of the log."""


def prepared(
    fabric: Fabric, module: nn.Module, groups: list[dict[str, Any]], settings: LoopSettings
) -> tuple[nn.Module, Optimizer, LambdaLR]:
    """The module and AdamW on its parameter groups as fabric sets them up, and the schedule."""
    optimiser, schedule = make_optimiser(groups, settings.optimiser, settings.iterations)
    model, optimiser = fabric.setup(module, optimiser)
    return model, optimiser, schedule


def run_training(
    context: StageContext,
    fabric: Fabric,
    training: Training,
    batches_from: Callable[[int], Iterable[Batch]],
    losses_of: Callable[[int, Batch], Iterable[Losses]],
    settings: LoopSettings,
    *,
    batch_size: int,
    checkpoint_every: int,
    after_step: Callable[[int], None] | None = None,
    draw_page: Callable[[], NDArray[np.uint8]] | None = None,
    smaller_parts: Callable[[], bool] = lambda: False,
) -> None:
    """Trains from the checkpoint that an interrupted run left, if it did, and puts what came out into the context.

    Args:
        batches_from: number of steps done → the batches of the steps still to come.
        losses_of, batch_size, checkpoint_every, after_step, draw_page, smaller_parts: see `train`.
    """
    checkpoint = context.out / "checkpoint.pt"
    training.modules["precision"] = fabric.strategy.precision  # the scaler of 16-mixed
    if checkpoint.exists():
        training.load(checkpoint)
    context.metrics |= train(
        training,
        batches_from(training.step),
        losses_of,
        fabric=fabric,
        folder=context.out,
        iterations=settings.iterations,
        batch_size=batch_size,
        clip_norm=settings.optimiser.clip_norm,
        checkpoint_every=checkpoint_every,
        log_every=settings.log_every,
        reporter=context.reporter,
        description=context.stage,
        after_step=after_step,
        draw_page=draw_page,
        smaller_parts=smaller_parts,
    )
    context.effective_batch_size = batch_size

"""How a stage tells what it is doing, without knowing who listens."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepFigures:
    """What a training tells of one step.

    Attributes:
        losses: weighted losses by name.
        learning_rate: the largest one, where parts learn at different rates.
        peak_memory: in bytes, as `devices.peak_memory` last measured it.
    """

    losses: Mapping[str, float]
    learning_rate: float
    peak_memory: int


class Task(Protocol):
    """One progress bar."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves on by `n` units; `figures` (a loss, a rate) are shown beside the bar."""


class TrainingTask(Protocol):
    """The progress of a training."""

    def step(self, figures: StepFigures) -> None:
        """One more step is done."""


class Reporter(Protocol):
    """Receives progress and one-line remarks."""

    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> AbstractContextManager[Task]:
        """Opens a bar of `total` units of which `done` were finished by an earlier run."""

    def training(
        self, description: str, total: int, done: int, images_per_step: int
    ) -> AbstractContextManager[TrainingTask]:
        """Opens the view of a training of `total` steps of which `done` were finished by an earlier run."""

    def say(self, text: str) -> None:
        """Shows one remark."""


class SilentTask:
    """A bar nobody sees."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Does nothing."""

    def step(self, figures: StepFigures) -> None:
        """Does nothing."""


class SilentReporter:
    """Listens to nothing; the default for library use and tests."""

    @contextmanager
    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> Iterator[Task]:
        """A bar nobody sees."""
        yield SilentTask()

    @contextmanager
    def training(self, description: str, total: int, done: int, images_per_step: int) -> Iterator[TrainingTask]:
        """A training nobody watches."""
        yield SilentTask()

    def say(self, text: str) -> None:
        """Does nothing."""

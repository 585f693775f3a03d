"""How a stage tells what it is doing, without knowing who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One progress bar."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves on by `n` units; `figures` (a loss, a rate) are shown beside the bar."""


class Reporter(Protocol):
    """Receives progress and one-line remarks."""

    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> AbstractContextManager[Task]:
        """Opens a bar of `total` units of which `done` were finished by an earlier run."""

    def say(self, text: str) -> None:
        """Shows one remark."""


class SilentTask:
    """A bar nobody sees."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Does nothing."""


class SilentReporter:
    """Listens to nothing; the default for library use and tests."""

    @contextmanager
    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> Iterator[Task]:
        """A bar nobody sees."""
        yield SilentTask()

    def say(self, text: str) -> None:
        """Does nothing."""

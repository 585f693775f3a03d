"""Progress where the output is no terminal: lines now and then."""

import time
from collections.abc import Mapping

from rich.console import Console

from concat_cli.loss_trace import TOTAL, LossTrace, memory_text
from pipelines.base.progress import StepFigures


def figures_text(figures: Mapping[str, float]) -> str:
    """Figures with their names, to four digits."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


class PlainTask:
    """Prints a line every half minute; none for what is done in two seconds.

    Args:
        images: those of each unit, where it is another one than an image; images a second are then told too.
    """

    def __init__(
        self,
        console: Console,
        description: str,
        total: int,
        done: int,
        unit: str,
        *,
        every: float = 30.0,
        images: int | None = None,
    ) -> None:
        self.console, self.every, self.images = console, every, images
        self.description, self.total, self.done, self.unit = description, total, done, unit
        self.first, self.start = done, time.monotonic()
        self.last, self.figures = self.start, ""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Counts, and prints a line when `every` seconds have passed."""
        self.move(n, figures_text(figures))

    def move(self, n: int, figures: str) -> None:
        """As `advance`, the figures already written."""
        self.done += n
        self.figures = figures or self.figures
        if time.monotonic() - self.last >= self.every and self.done < self.total:
            self.last = time.monotonic()
            self.line()

    def finish(self) -> None:
        """Prints the last line."""
        if time.monotonic() - self.start >= 2.0:
            self.line()

    def line(self) -> None:
        """Prints where the task stands."""
        seconds = time.monotonic() - self.start
        rate = (self.done - self.first) / max(seconds, 1e-9)
        images = "" if self.images is None else f"{self.images * rate:.1f} img/s, "
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        self.console.print(
            f"  {self.description}: {self.done}/{self.total} {self.unit}, {rate:.1f} {self.unit}/s, {images}"
            f"{seconds:.0f} s{left}  {self.figures}".rstrip(),
            soft_wrap=True,
        )


class PlainTraining:
    """A training in such lines, with the smoothed total loss, the learning rate and peak memory."""

    def __init__(
        self, console: Console, description: str, total: int, done: int, images_per_step: int, every: float = 30.0
    ) -> None:
        self.task = PlainTask(console, description, total, done, "step", every=every, images=images_per_step)
        self.trace = LossTrace()

    def step(self, figures: StepFigures) -> None:
        """Takes in one step."""
        self.trace.add(figures)
        self.task.move(
            1,
            f"{TOTAL} {self.trace.smoothed[TOTAL]:.4g}  learning rate {figures.learning_rate:.2e}  "
            f"peak memory {memory_text(figures.peak_memory)}",
        )

    def finish(self) -> None:
        """Prints the last line."""
        self.task.finish()

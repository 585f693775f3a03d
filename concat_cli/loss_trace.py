"""What a training said so far, as little of it as is shown: losses now and smoothed, and the course of their total."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pipelines.base.progress import StepFigures

TOTAL = "loss"
_MEMORY = 0.95  # of the smoothed losses: about the last 20 steps
_POINTS = 256  # of the total loss that are kept; where there are more, neighbours are averaged
_BLOCKS = "▁▂▃▄▅▆▇█"


class LossTrace:
    """What became of the losses: their last values, those smoothed, and the course of their total."""

    def __init__(self) -> None:
        self.now: Mapping[str, float] = {}
        self.smoothed: Mapping[str, float] = {}
        self.learning_rate, self.peak_memory = 0.0, 0
        self.course: list[float] = []
        self._sums: dict[str, float] = {}
        self._weight, self._block, self._waiting = 0.0, 1, list[float]()

    def add(self, figures: StepFigures) -> None:
        """Takes in one step. What is shown is replaced and never changed, since another thread draws it."""
        self.now = {TOTAL: sum(figures.losses.values()), **figures.losses}
        self.learning_rate, self.peak_memory = figures.learning_rate, figures.peak_memory
        self._weight = _MEMORY * self._weight + 1 - _MEMORY
        for name, value in self.now.items():
            self._sums[name] = _MEMORY * self._sums.get(name, 0.0) + (1 - _MEMORY) * value
        self.smoothed = {name: self._sums[name] / self._weight for name in self.now}
        self._waiting.append(self.now[TOTAL])
        if len(self._waiting) == self._block:
            self.course = [*self.course, _mean(self._waiting)]
            self._waiting = []
        if len(self.course) == _POINTS:
            self.course, self._block = resampled(self.course, _POINTS // 2), 2 * self._block


def resampled(values: Sequence[float], points: int) -> list[float]:
    """At most `points` means over even stretches of `values`."""
    if len(values) <= points:
        return list(values)
    edges = [index * len(values) // points for index in range(points + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as blocks of eight heights, from the lowest to the highest of them; at most `width` characters."""
    shown = resampled(values, width)
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_BLOCKS[round((value - low) / span * 7) if span else 0] for value in shown)


def memory_text(size: int) -> str:
    """Bytes as MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

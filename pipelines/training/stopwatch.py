"""Time and memory of a piece of work that a stage repeats."""

import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from pipelines.training.devices import peak_memory, reset_peak_memory

Work = Callable[[], object]


class Measured(NamedTuple):
    """Seconds of one repetition (the median), and the peak of memory, in bytes, of the device."""

    seconds: float
    peak: int


def measured(make: Callable[[], Work], *, steps: int, device: torch.device) -> Measured | None:
    """Repeats a piece of work `steps` times after a first time or more that warms up; None: memory does not suffice.

    Args:
        make: makes the work; what it needs is let go of at the end.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    reset_peak_memory(device)
    warm_up = 1 + steps // 3
    try:
        work = make()
        seconds = [_seconds(work, device) for _ in range(warm_up + steps)][warm_up:]
    except torch.OutOfMemoryError:
        return None
    return Measured(sorted(seconds)[len(seconds) // 2], peak_memory(device))


def _seconds(work: Work, device: torch.device) -> float:
    _wait(device)
    begun = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

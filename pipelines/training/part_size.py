"""How many images one device holds at once."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch

from pipelines.training.processes import Processes

_Made = TypeVar("_Made")


def until_it_fits(run: Callable[[], _Made], smaller: Callable[[], bool]) -> _Made:
    """What `run` returns, tried again in smaller parts as long as the device has no memory left for it.

    Args:
        smaller: has `run` make smaller parts from now on, if it can; whether it does.

    Raises:
        torch.OutOfMemoryError: parts cannot be made smaller.
    """
    while True:
        try:
            return run()
        except torch.OutOfMemoryError:
            if not smaller():
                raise
        torch.cuda.empty_cache()  # only now, when what `run` held is let go of


class PartSize:
    """The size of a step's parts; part of a checkpoint, since the last bits of sums depend on it.

    Args:
        size: images of a part.
        fixed: whether it stays as it is.
        say: told when it is halved.
    """

    def __init__(self, size: int, *, fixed: bool, say: Callable[[str], None]) -> None:
        self.size, self._fixed, self._say = size, fixed, say

    def halve(self) -> bool:
        """Makes parts half as large, if they can be."""
        if self._fixed or self.size == 1:
            return False
        self.size = (self.size + 1) // 2
        self._say(f"out of memory: from now on {self.size} image{'s' if self.size > 1 else ''} at once")
        return True

    def settle(self, trial: Callable[[int], None], processes: Processes) -> None:
        """Finds the size that every process can hold, where a step cannot be tried again: gradients are being summed.

        Args:
            trial: computes made-up images, so many at once, without a word to the other processes.
            processes: each must ask.
        """
        if not self._fixed:
            with suppress(torch.OutOfMemoryError):  # the first step says it
                until_it_fits(lambda: trial(self.size), self.halve)
        self.size, self._fixed = min(processes.gather(self.size)), True

    def state_dict(self) -> dict[str, Any]:
        """The size."""
        return {"size": self.size}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Goes on with the size of a checkpoint, unless one was asked for."""
        if not self._fixed:
            self.size = min(self.size, int(state["size"]))

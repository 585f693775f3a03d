"""How many images one device holds at once."""

from collections.abc import Callable
from typing import Any

import torch

from pipelines.training.processes import Processes


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
        while not self._fixed:
            try:
                trial(self.size)
                break
            except torch.OutOfMemoryError:
                pass  # what the trial held is let go of here
            torch.cuda.empty_cache()
            if not self.halve():
                break
        self.size, self._fixed = min(processes.gather(self.size)), True

    def state_dict(self) -> dict[str, Any]:
        """The size."""
        return {"size": self.size}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Goes on with the size of a checkpoint, unless one was asked for."""
        if not self._fixed:
            self.size = min(self.size, int(state["size"]))

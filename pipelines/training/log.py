"""What a training leaves to be read by people: `metrics.jsonl` and TensorBoard's event files. No stage reads them."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG = "metrics.jsonl"
BOARD = "tensorboard"
GIB = 1 << 30


def open_board(folder: Path, *, first_step: int = 0) -> "SummaryWriter":
    """TensorBoard's event files of a stage that writes to `folder`; what they hold from `first_step` on is void."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import, wanted only here

    return SummaryWriter(str(folder / BOARD), purge_step=first_step)


class TrainingLog:
    """Means of the losses and of the gradient norm, rates and memory, as lines of JSON and as TensorBoard scalars.

    Lines of steps that an interrupted run logged after its last checkpoint are dropped, so that every step stands once.

    Args:
        batch_size: images a step.
    """

    def __init__(self, folder: Path, *, first_step: int, batch_size: int) -> None:
        self.path, self.batch_size = folder / LOG, batch_size
        kept = []
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= first_step]
        self.path.write_text("".join(kept), encoding="utf-8")
        self.board = open_board(folder, first_step=first_step + 1)
        self.sums: dict[str, float] = {}
        self.norms, self.count, self.clock = torch.zeros(()), 0, time.monotonic()

    def add(self, losses: Mapping[str, float], gradient_norm: Tensor) -> None:
        """Adds one step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.norms = self.norms.to(gradient_norm.device) + gradient_norm  # nothing waits for a device here
        self.count += 1

    def write(self, step: int, learning_rates: Mapping[str, float], peak_memory: int) -> dict[str, float]:
        """Writes the means since the last line.

        Args:
            learning_rates: by the name of what learns so fast.
            peak_memory: in bytes.

        Returns:
            the means of the losses by name, `loss` being their sum.
        """
        means = {name: value / self.count for name, value in self.sums.items()}
        total, norm = sum(means.values()), self.norms.item() / self.count
        seconds = (time.monotonic() - self.clock) / self.count
        line: dict[str, Any] = {"step": step, **means, "loss": total, "learning_rate": max(learning_rates.values())}
        line |= {"gradient_norm": norm, "seconds_per_step": seconds, "images_per_second": self.batch_size / seconds}
        line |= {"peak_memory_bytes": peak_memory}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        scalars = {f"loss/{name}": value for name, value in means.items()} | {"loss/total": total}
        scalars |= {f"learning_rate/{name}": rate for name, rate in learning_rates.items()}
        scalars |= {"gradient_norm": norm, "images_per_second": self.batch_size / seconds}
        for name, figure in (scalars | {"peak_memory_GiB": peak_memory / GIB}).items():
            self.board.add_scalar(name, figure, step)
        self.board.flush()  # to be seen now, and there after a kill
        self.sums, self.norms, self.count, self.clock = {}, torch.zeros(()), 0, time.monotonic()
        return {**means, "loss": total}

    def show_page(self, step: int, page: NDArray[np.uint8]) -> None:
        """Adds a page of sample panels (H×W×3) to TensorBoard."""
        self.board.add_image("panels", page, step, dataformats="HWC")
        self.board.flush()

    def close(self) -> None:
        """Closes the event file."""
        self.board.close()


class SilentLog:
    """The log of a process that is not the first one: nothing."""

    def add(self, losses: Mapping[str, float], gradient_norm: Tensor) -> None:
        """Does nothing."""

    def write(self, step: int, learning_rates: Mapping[str, float], peak_memory: int) -> dict[str, float]:
        """Does nothing."""
        return {}

    def show_page(self, step: int, page: NDArray[np.uint8]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""

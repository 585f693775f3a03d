"""The batches of a training, made ahead of its steps by loader processes."""

import sys
from collections.abc import Iterator
from typing import Literal

import torch
from torch.utils.data import DataLoader

from pipelines.base.errors import ConcatError
from pipelines.base.parallel import allow_open_files, end_with_parent, interrupts_held_back
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.step_batches import StepBatches

StartMethod = Literal["fork", "spawn"]
_AHEAD = 2  # batches that each process makes before they are asked for; 16 images of 1024² px take 0.2 GB


def load_ahead(
    batches: StepBatches, *, workers: int, pinned: bool, start: StartMethod | None = None
) -> Iterator[list[Sample]]:
    """The batches, in their order.

    The processes never hear Ctrl-C, which this one does, and end with it however it ends.

    Args:
        batches: can be pickled.
        workers: number of processes; 0: each batch is made here when it is asked for.
        pinned: whether samples come in memory from which a CUDA device copies while the host goes on.
        start: how processes are started; None: `start_method()`.

    Raises:
        ConcatError: what is wrong with a batch.
    """
    if workers:
        allow_open_files()  # every tensor that is on its way is an open file
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_is,
        generator=torch.Generator(),  # else it draws from the random state that a checkpoint restores
        prefetch_factor=_AHEAD if workers else None,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        multiprocessing_context=(start or start_method()) if workers else None,
        worker_init_fn=_attend,
    )
    with interrupts_held_back():  # processes are started here
        made = iter(loader)
    for samples in made:
        if isinstance(samples, ConcatError):
            raise samples
        yield samples


def start_method() -> StartMethod:
    """Fork where that is safe, since it takes no time: on Linux, and as long as CUDA is not in use."""
    return "fork" if sys.platform == "linux" and not torch.cuda.is_initialized() else "spawn"


def _as_is(samples: list[Sample] | ConcatError) -> list[Sample] | ConcatError:
    return samples


def _attend(_worker: int) -> None:
    end_with_parent()

"""The processes that share the work of a run, as torchrun, SLURM or `--devices` start them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from pipelines.base.ranks import process_count, process_rank

_Said = TypeVar("_Said")
_PATIENCE: Final = timedelta(days=7)  # others wait while one process runs a stage alone; a lost one ends all at once


@dataclass(frozen=True)
class Processes:
    """One process among all of a run.

    Attributes:
        rank: its number, from 0; the first one writes what others read.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def gather(self, said: _Said) -> list[_Said]:
        """What every process says, in the order of their ranks; each must ask, and gets the same."""
        if self.count == 1:
            return [said]
        import torch.distributed as dist

        heard: list[_Said | None] = [None] * self.count
        dist.all_gather_object(heard, said)
        return heard  # type: ignore[return-value]

    def from_first(self, said: _Said) -> _Said:
        """What the first process says."""
        if self.count == 1:
            return said
        import torch.distributed as dist

        heard = [said]
        dist.broadcast_object_list(heard)
        return heard[0]

    def share(self, items: Sequence[_Said]) -> Sequence[_Said]:
        """The items of this process, a run of neighbours; the shares of all, one after another, are the items."""
        bounds = [len(items) * rank // self.count for rank in (self.rank, self.rank + 1)]
        return items[bounds[0] : bounds[1]]

    def turns(self, items: Sequence[_Said]) -> Sequence[_Said]:
        """The items of this process where they are dealt out in turn."""
        return items[self.rank :: self.count]


def join_processes() -> Processes:
    """Where this process stands among those that the environment speaks of; they are connected at the first call."""
    processes = Processes(process_rank(), process_count())
    if processes.count > 1:
        _connect(processes)
    return processes


def _connect(processes: Processes) -> None:
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        return
    if "MASTER_ADDR" not in os.environ:  # torchrun gives it; under SLURM it is told from the job
        from lightning_fabric.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment(auto_requeue=False)
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, rank=processes.rank, world_size=processes.count, timeout=_PATIENCE)

"""Which process of how many this is, as torchrun or SLURM's srun tell it; no torch, so that it is known at once."""

import os
from typing import Final

COMMAND: Final = "CONCAT_COMMAND"
"""Of the environment: what the user typed, where that is not what this process was started with."""


def process_count() -> int:
    """How many processes share the work; 1 unless torchrun or srun started several."""
    return int(os.environ.get("WORLD_SIZE") or _of_step("SLURM_NTASKS", "1"))


def process_rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK") or _of_step("SLURM_PROCID", "0"))


def local_process_count() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or _of_step("SLURM_NTASKS_PER_NODE", "") or process_count())


def _of_step(name: str, otherwise: str) -> str:
    """What srun says; a batch script itself, and a shell, are no steps of a job."""
    started = "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    return os.environ.get(name, otherwise) if started else otherwise

"""Which process of how many this is, as torchrun or SLURM's srun tell it; no torch, so that it is known at once."""

import os


def process_count() -> int:
    """How many processes share the work; 1 unless torchrun or srun started several."""
    return int(os.environ.get("WORLD_SIZE") or _of_step("SLURM_NTASKS", "1"))


def process_rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK") or _of_step("SLURM_PROCID", "0"))


def _of_step(name: str, otherwise: str) -> str:
    """What srun says; a batch script itself, and a shell, are no steps of a job."""
    started = "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    return os.environ.get(name, otherwise) if started else otherwise

"""Devices, precision, threads, randomness and memory: the one place that knows where and how a run computes."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import lightning_fabric
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from pipelines.base.errors import ConcatError
from pipelines.base.memory import peak_resident, reset_peak_resident
from pipelines.base.parallel import usable_cores
from pipelines.training.processes import join_processes
from pipelines.training.settings import RuntimeSettings


def make_fabric(runtime: RuntimeSettings) -> Fabric:
    """A Fabric on the device of the settings, with algorithms that repeat bit for bit.

    Of several processes each has a device, and fabric sums their gradients. On CUDA a few operations (the backward pass
    of `grid_sample` among them) have no deterministic form and are used nevertheless.

    Raises:
        ConcatError: no such device here.
    """
    processes = join_processes()
    device = choose_device(runtime.device)
    set_threads(runtime.threads)
    _use_deterministic_algorithms(device)
    precision: Any = choose_precision(runtime.precision, device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.allow_tf32 = True
    with _silence():
        if processes.count == 1:
            devices = 1 if device.type == "cpu" else [device.index]
            return Fabric(accelerator=device.type, devices=devices, precision=precision)
        local = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or processes.count)
        strategy = DDPStrategy(broadcast_buffers=False)  # none but the frozen ones differ from rank to rank
        nodes = processes.count // local
        fabric = Fabric(accelerator=device.type, devices=local, num_nodes=nodes, strategy=strategy, precision=precision)
        fabric.launch()
        return fabric


def choose_precision(name: str, device: torch.device) -> str:
    """The precision that a setting stands for on a device.

    Raises:
        ConcatError: the device has no such precision.
    """
    halves = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return "bf16-mixed" if halves else "32-true"
    if name == "16-mixed" and device.type == "cpu":
        raise ConcatError("A CPU has no precision 16-mixed.", mend="Set runtime.precision=auto.")
    return name


def precision_of(fabric: Fabric) -> str:
    """What a manifest says: 32-true, bf16-mixed or 16-mixed."""
    return str(fabric.strategy.precision.precision)


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` stands for; `auto` is the first CUDA device, else the CPU.

    Raises:
        ConcatError: it is none of these, or not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, index = name.partition(":")
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    if name not in ("auto", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise ConcatError(f"Unknown device {name!r}.", mend="Use auto, cpu, cuda or cuda:N.")
    number = int(index or 0)
    if number >= count:
        there = f"only {count} CUDA device(s)" if count else "no CUDA device"
        raise ConcatError(f"The device {name!r} is asked for, but {there} can be used here.", mend="Use --device cpu.")
    return torch.device("cuda", number)


def set_threads(threads: int) -> None:
    """Sets torch's CPU threads; 0: one for each core this process may use."""
    torch.set_num_threads(threads or usable_cores())


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch (all devices) with the lowest 32 bits of `seed` (numpy takes no more)."""
    lightning_fabric.seed_everything(seed % 2**32, workers=True, verbose=False)


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of the peak; on a CPU other than Linux's this is not possible and nothing happens."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    reset_peak_resident()


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on a CUDA device, else resident of this process."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else peak_resident()


def _use_deterministic_algorithms(device: torch.device) -> None:
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # Filling fresh memory would only help to find reads of uninitialised values, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first CUDA handle is made
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
        warnings.filterwarnings("ignore", message=".*defaults to a non-deterministic algorithm.*")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps lightning-fabric's remarks on devices and precision from the console."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

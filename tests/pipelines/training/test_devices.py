"""Devices: choice, errors, threads, seeds, memory, silence."""

import mmap
import random

import numpy as np
import pytest
import torch

from pipelines.base.errors import ConcatError
from pipelines.base.ranks import local_process_count, process_count, process_rank
from pipelines.training import devices
from pipelines.training.devices import (
    choose_device,
    make_fabric,
    peak_memory,
    reset_peak_memory,
    seed_everything,
    set_threads,
)
from pipelines.training.processes import Processes
from pipelines.training.settings import RuntimeSettings


@pytest.fixture(autouse=True)
def _restore():
    threads, fill = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def cuda_devices(monkeypatch, count):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda:0"), ("cpu", 2, "cpu"), ("cuda", 1, "cuda:0"), ("cuda:1", 2, "cuda:1")],
)
def test_choice(monkeypatch, name, count, expected):
    cuda_devices(monkeypatch, count)
    assert str(choose_device(name)) == expected


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda", 0, "no CUDA device"), ("cuda:3", 2, "only 2 CUDA"), ("gpu", 0, "Unknown device"),
        ("cuda:x", 2, "Unknown device"), ("cpu:1", 0, "Unknown device"), ("auto:0", 1, "Unknown device"),
    ],
)  # fmt: skip
def test_devices_that_are_not_there_are_refused(monkeypatch, name, count, message):
    cuda_devices(monkeypatch, count)
    with pytest.raises(ConcatError, match=message):
        choose_device(name)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fabric_is_one_silent_deterministic_process(capfd, recwarn, precision):
    fabric = make_fabric(RuntimeSettings(device="cpu", threads=1, precision=precision))
    assert (str(fabric.device), fabric.world_size, torch.get_num_threads()) == ("cpu", 1, 1)
    assert torch.are_deterministic_algorithms_enabled()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_threads():
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(0)
    assert torch.get_num_threads() >= 1


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 11])
def test_seeding_repeats_all_three(capfd, seed):
    def draw():
        seed_everything(seed)
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    assert draw() == draw()
    assert capfd.readouterr() == ("", "")


def test_peak_memory_sees_an_allocation_and_starts_anew():
    cpu = torch.device("cpu")
    reset_peak_memory(cpu)
    before = peak_memory(cpu)
    block = mmap.mmap(-1, 64 * 2**20)  # new pages, whatever earlier tests left to be used again
    block.write(bytes(64 * 2**20))
    assert peak_memory(cpu) >= before + 60 * 2**20
    del block
    reset_peak_memory(cpu)
    assert peak_memory(cpu) < before + 60 * 2**20


def test_precisions_of_a_cpu():
    cpu = torch.device("cpu")
    assert devices.choose_precision("auto", cpu) == "32-true"
    assert devices.choose_precision("bf16-mixed", cpu) == "bf16-mixed"
    with pytest.raises(ConcatError, match="no precision 16-mixed"):
        devices.choose_precision("16-mixed", cpu)


def test_processes_share_images_and_turns():
    shares = [Processes(rank, 3).share(range(8)) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert [list(Processes(rank, 3).turns(range(5))) for rank in range(3)] == [[0, 3], [1, 4], [2]]
    assert Processes().gather("said") == ["said"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (0, 1, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, (3, 8, 4)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2"}, (0, 1, 1)),  # a batch script is no step of its job
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "2"}, (2, 4, 2)),
    ],
)
def test_which_process_of_how_many(told, expected, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert (process_rank(), process_count(), local_process_count()) == expected

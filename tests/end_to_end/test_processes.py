"""Several processes on one run: the numbers of one, the same bytes, a lost one, and what another layout takes up."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from concat_command import CONCAT, FinishedRun, Shown, environment, refused, run_concat

from pipelines.base.files import sha256
from pipelines.runs.manifest import read_manifest

# The paper's optimiser: a fast one would carry differences of the last bit into other matchings within a few steps.
SETTINGS = (
    "con.segmentor.batch_norm=frozen",
    "con.optimiser.learning_rate=1e-4",
    "con.optimiser.schedule=steps",
    "con.optimiser.clip_norm=0.01",
    "con.iterations=20",
    "con.log_every=1",
    "con.checkpoint_every=4",
    "con.panels=0",
    "dump.shard=40",
    "runtime.threads=1",
)
SET = [part for setting in SETTINGS for part in ("--set", setting)]
LOSSES = ("class", "mask", "dice", "cga", "cia", "gradient_norm")


@pytest.fixture(scope="module")
def alone(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A training by one process."""
    root = tmp_path_factory.mktemp("alone")
    run = smoke.copy(root, "con", "dump", "cat", "finetune", "eval")
    shown = run_concat("train-con", "--run", run, *SET, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    return FinishedRun(run, smoke.cache, shown)


def _said(shown: Shown) -> tuple[list[str], list[str]]:
    """What a command said, and its lines of progress apart."""
    lines = shown.stdout.splitlines()
    return [line for line in lines if "step/s" not in line], [line for line in lines if "step/s" in line]


def _steps(run: Path) -> dict[int, list[float]]:
    lines = [json.loads(line) for line in (run / "con/metrics.jsonl").read_text().splitlines()]
    return {line["step"]: [line[name] for name in LOSSES] for line in lines}


def _equal(run: Path, other: Path) -> None:
    ours, theirs = _steps(run), _steps(other)
    assert list(ours) == list(theirs) == list(range(1, 21))
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=1e-5), step


def test_two_processes_train_as_one_and_say_nothing_twice(
    smoke: FinishedRun, alone: FinishedRun, tmp_path: Path
) -> None:
    run = smoke.copy(tmp_path, "con", "dump", "cat", "finetune", "eval")
    command = ("train-con", "--run", run, *SET, "--set", "con.images_per_forward=3", "--devices", 2)
    shown = run_concat(*command, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    lines, progress = _said(shown)
    assert lines == _said(alone.shown)[0]
    assert len(progress) <= 1  # there is none of a training that took less than two seconds
    _equal(run, alone.folder)
    manifest = read_manifest(run / "con/manifest.json")
    assert (manifest.notes["devices"], manifest.effective_batch_size) == (2, 8)
    assert manifest.command.endswith("--devices 2")


def test_stores_and_dumps_of_two_processes_are_those_of_one(alone: FinishedRun, tmp_path: Path) -> None:
    caches = []
    for devices in (1, 2):
        root = tmp_path / str(devices)
        root.mkdir()
        run, cache = alone.copy(root, "precompute"), alone.copy_scenes(root)
        shown = run_concat("dump-queries", "--run", run, *SET, "--devices", devices, cache=cache)
        assert shown.returncode == 0, shown.stderr
        caches.append(cache)
    for stored in ("clip/*.zarr", "queries/*"):
        one, two = (next(path for path in sorted(cache.glob(stored)) if path.is_dir()) for cache in caches)
        assert one.name == two.name
        assert sha256(one) == sha256(two)


def test_a_lost_process_ends_all_and_another_layout_goes_on(
    smoke: FinishedRun, alone: FinishedRun, tmp_path: Path
) -> None:
    run = smoke.copy(tmp_path, "con", "dump", "cat", "finetune", "eval")
    command = [CONCAT, "train-con", "--run", str(run), *SET]
    process = subprocess.Popen(
        [*command, "--devices", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(smoke.cache),
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while not (run / ".con.partial/checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ranks = _ranks(run)
    os.kill(ranks[1], signal.SIGKILL)
    killed = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    refused(subprocess.CompletedProcess(command, process.returncode, out, err), "Process 1 of 2 ended with signal 9")
    assert re.search(r"`.*--devices 2` resumes; nothing finished is lost", err)
    assert _ranks(run) == {}  # no orphan
    shown = run_concat(*command[1:], cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "resuming" in shown.stdout
    _equal(run, alone.folder)


def _ranks(run: Path) -> dict[int, int]:
    """Rank → process, of those that work on a run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments, told = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        rank = re.search(rb"(?:^|\0)RANK=(\d+)", told)
        if rank and str(run).encode() in arguments:
            found[int(rank[1])] = int(folder.name)
    return found


def test_what_is_wrong_with_the_settings_is_said_once(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "con", "dump", "cat", "finetune", "eval")
    shown = run_concat("train-con", "--run", run, "--set", "con.batch_size=1", "--devices", 2, cache=smoke.cache)
    refused(shown, "2 processes cannot share steps of 1 images")
    again = ("--set", "con.batch_size=8", "--devices", 2)
    trained = run_concat("train-con", "--run", run, *again, cache=smoke.cache)
    refused(trained, "batch norms learn from the images that are together", "con.segmentor.batch_norm=frozen")

"""Batches that a seed decides, whoever makes them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from panoptic_world import THING, VOCABULARY, segment, write_world

from pipelines.base.errors import CorruptFileError
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.ahead import StartMethod, load_ahead, start_method
from pipelines.data.loading.settings import InputSettings
from pipelines.data.loading.step_batches import StepBatches
from pipelines.data.loading.transforms import TrainTransform
from pipelines.training.processes import Processes

INPUT = InputSettings(crop=32, min_scale=0.5, max_scale=2.0, flip=0.5)


@pytest.fixture
def many(tmp_path: Path) -> LabelledImages:
    noise = np.random.default_rng(1)
    scenes = {}
    for image_id in range(1, 8):
        ids = np.sort(noise.integers(1, 4, (20, 30)), axis=1).astype(np.int32)
        scenes[image_id] = (ids, [segment(int(i), THING) for i in np.unique(ids)])
    world = write_world(tmp_path / "many", scenes)
    return open_panoptic_images(world.annotations, world.images, world.png, VOCABULARY.seen)


def _steps(
    data: LabelledImages,
    *,
    first_step: int = 0,
    iterations: int = 6,
    seed: int = 3,
    share: Callable[[Sequence[int]], Sequence[int]] | None = None,
) -> StepBatches:
    return StepBatches(data, batch_size=3, first_step=first_step, iterations=iterations, seed=seed,
                       transform=TrainTransform(INPUT), share=share)  # fmt: skip


def _flat(batches: list[list[Sample]]) -> list[tuple[int, bytes, bytes, bytes]]:
    return [
        (s.image_id, s.image.numpy().tobytes(), s.masks.numpy().tobytes(), s.segment_ids.numpy().tobytes())
        for batch in batches
        for s in batch
    ]


def _load(steps: StepBatches, workers: int, start: StartMethod | None = None) -> list[list[Sample]]:
    return list(load_ahead(steps, workers=workers, pinned=False, start=start))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_two_workers_make_the_batches_of_none(many: LabelledImages, start: StartMethod) -> None:
    alone = _load(_steps(many, share=Processes(1, 2).share), 0)
    assert [len(batch) for batch in alone] == [2] * 6
    assert _flat(_load(_steps(many, share=Processes(1, 2).share), 2, start)) == _flat(alone)
    assert active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_batch_arrives_whole(tmp_path: Path, workers: int) -> None:
    ids = np.full((20, 30), 1, np.int32)
    world = write_world(tmp_path, {1: (ids, [segment(1, THING)])})
    data = open_panoptic_images(world.annotations, world.images, world.png, VOCABULARY.seen)
    (world.images / "0001.jpg").write_bytes(b"no picture")
    with pytest.raises(CorruptFileError) as caught:
        _load(_steps(data), workers)
    assert caught.value.file == world.images / "0001.jpg"
    assert caught.value.mend == "Copy or unpack the file again."


def test_no_process_is_forked_once_cuda_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert start_method() == "fork"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert start_method() == "spawn"


ENDLESS = """
import os, sys, time
from pathlib import Path
from pipelines.data.loading.ahead import load_ahead

class Slow:
    def __len__(self):
        return 10**6

    def __getitem__(self, item):
        Path(f"loader-{os.getpid()}").touch()
        time.sleep(0.1)
        return []

if __name__ == "__main__":
    for number, _ in enumerate(load_ahead(Slow(), workers=2, pinned=False, start=sys.argv[1])):
        if number == 3:
            Path("loading").touch()
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_loader_outlives_an_interrupted_or_killed_training(
    tmp_path: Path, start: StartMethod, how: signal.Signals
) -> None:
    (tmp_path / "load.py").write_text(ENDLESS)
    process = subprocess.Popen(
        [sys.executable, "load.py", start],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "loading").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to all of them
        else:
            process.kill()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert said.count("KeyboardInterrupt") == (how is signal.SIGINT), said
    loaders = [int(path.name.removeprefix("loader-")) for path in tmp_path.glob("loader-*")]
    assert len(loaders) == 2
    deadline = time.monotonic() + 3  # sooner than torch would notice
    while alive := [loader for loader in loaders if Path(f"/proc/{loader}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


def test_resuming_goes_on_with_the_same_batches(many: LabelledImages) -> None:
    assert _flat(_load(_steps(many, first_step=4), 0)) == _flat(_load(_steps(many), 0)[4:])


def test_a_step_is_augmented_anew_and_a_seed_decides(many: LabelledImages) -> None:
    first, again, other = (_flat(_load(_steps(many, seed=seed), 0)) for seed in (3, 3, 4))
    assert first == again != other
    assert len({image for _, image, _, _ in first}) == len(first)


def test_a_finished_run_has_no_batches(many: LabelledImages) -> None:
    assert _load(_steps(many, first_step=6), 0) == []

"""Batches that a seed decides, whoever makes them."""

from pathlib import Path

import numpy as np
import pytest
from panoptic_world import THING, VOCABULARY, segment, write_world
from torch.utils.data import DataLoader

from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.settings import InputSettings
from pipelines.data.loading.step_batches import StepBatches
from pipelines.data.loading.transforms import TrainTransform

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


def _steps(data: LabelledImages, *, first_step: int = 0, iterations: int = 6, seed: int = 3) -> StepBatches:
    return StepBatches(data, batch_size=3, first_step=first_step, iterations=iterations, seed=seed,
                       transform=TrainTransform(INPUT))  # fmt: skip


def _flat(batches: list[list[Sample]]) -> list[tuple[int, bytes, bytes, bytes]]:
    return [
        (s.image_id, s.image.numpy().tobytes(), s.masks.numpy().tobytes(), s.segment_ids.numpy().tobytes())
        for batch in batches
        for s in batch
    ]


def _same_list(samples: list[Sample]) -> list[Sample]:
    return samples


def _load(steps: StepBatches, workers: int) -> list[list[Sample]]:
    return list(DataLoader(steps, batch_size=None, num_workers=workers, collate_fn=_same_list))


def test_two_workers_make_the_batches_of_none(many: LabelledImages) -> None:
    alone = _load(_steps(many), 0)
    assert [len(batch) for batch in alone] == [3] * 6
    assert _flat(_load(_steps(many), 2)) == _flat(alone)


def test_resuming_goes_on_with_the_same_batches(many: LabelledImages) -> None:
    assert _flat(_load(_steps(many, first_step=4), 0)) == _flat(_load(_steps(many), 0)[4:])


def test_a_step_is_augmented_anew_and_a_seed_decides(many: LabelledImages) -> None:
    first, again, other = (_flat(_load(_steps(many, seed=seed), 0)) for seed in (3, 3, 4))
    assert first == again != other
    assert len({image for _, image, _, _ in first}) == len(first)


def test_a_finished_run_has_no_batches(many: LabelledImages) -> None:
    assert _load(_steps(many, first_step=6), 0) == []

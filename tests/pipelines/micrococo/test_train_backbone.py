"""Tests of the tiny extractor's seen-only start: the shipped weights and the windows they are trained on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipelines.micrococo.train_backbone import (
    ARCHITECTURE,
    SHIPPED,
    MicroBackboneSettings,
    render_windows,
    train,
)
from pipelines.micrococo.world import MICROCOCO_CATEGORIES

TINY = MicroBackboneSettings(scenes=4, iterations=2, batch=16, check_scenes=8)


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_shipped_weights_are_timms_without_the_last_layer() -> None:
    model = timm.create_model(ARCHITECTURE, num_classes=0)
    model.load_state_dict(load_file(SHIPPED))


def test_shipped_weights_know_seen_names_alone() -> None:
    with safe_open(SHIPPED, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["training_labels"]) == [c.name for c in MICROCOCO_CATEGORIES if not c.unseen]
    assert metadata["architecture"] == ARCHITECTURE
    assert "seen-only" in metadata["origin"]
    accuracy = json.loads(metadata["accuracy"])
    assert min(accuracy.values()) > 0.7  # several things share a native window: its label is not always clear
    assert accuracy["things, context"] > 0.85
    assert accuracy["stuff, context"] > 0.9
    assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["std"])) == 3


def test_windows_come_in_pairs_of_one_label() -> None:
    windows = render_windows("backbone-check", scenes=5, seed=3)
    assert windows.images.shape[1:] == (48, 48, 3)
    assert len(windows.images) == len(windows.labels)
    assert torch.equal(windows.labels[::2], windows.labels[1::2])
    assert windows.labels.max() < 27


def test_training_repeats_itself(tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(TINY, tmp_path / f"{name}.safetensors")
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not any(key.startswith("fc.") for key in one)

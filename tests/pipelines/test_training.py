"""The training loop: exact resume, schedules, logs and the guard against non-finite losses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipelines.errors import CorruptFileError, NonFiniteLossError
from pipelines.progress import SilentReporter
from pipelines.recipe import OptimiserSettings
from pipelines.training import Training, make_optimiser, train


class Interrupted(Exception):
    """Stands for a kill."""


def _training(iterations: int = 10, schedule: str = "one-cycle") -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    settings = OptimiserSettings(learning_rate=0.05, schedule=schedule)
    parameters = list(model.parameters())
    optimiser, scheduler = make_optimiser([{"params": parameters, "lr": 0.05}], settings, iterations)
    return Training({"model": model}, model, optimiser, scheduler)


def _batches(first: int, iterations: int) -> Iterator[Tensor]:
    for step in range(first, iterations):
        yield torch.randn(6, 4, generator=torch.Generator().manual_seed(step))


def _go(training: Training, folder: Path, iterations: int = 10, stop_at: int | None = None) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    model = training.modules["model"]

    def losses_of(step: int, batch: Tensor) -> dict[str, Tensor]:
        noise = torch.randn(6, 1)
        return {"square": (model(batch) - 1 - 0.1 * noise).square().mean(), "size": 0.01 * model(batch).abs().mean()}

    def after_step(step: int) -> None:
        if step == stop_at:
            raise Interrupted

    return train(
        training,
        _batches(training.step, iterations),
        losses_of,
        fabric=Fabric(accelerator="cpu", devices=1),
        folder=folder,
        iterations=iterations,
        batch_size=6,
        clip_norm=1.0,
        checkpoint_every=3,
        log_every=2,
        reporter=SilentReporter(),
        description="test",
        after_step=after_step,
    )


@pytest.mark.parametrize("stop_at", [3, 4, 8])
def test_a_resumed_training_equals_an_undisturbed_one_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    whole = _training()
    figures = _go(whole, tmp_path / "whole")
    with pytest.raises(Interrupted):
        _go(_training(), tmp_path / "cut", stop_at=stop_at)
    resumed = _training()
    if (tmp_path / "cut/checkpoint.pt").exists():
        resumed.load(tmp_path / "cut/checkpoint.pt")
        assert resumed.step == 3 * ((stop_at - 1) // 3)
    assert _go(resumed, tmp_path / "cut") == figures
    for key, tensor in whole.modules["model"].state_dict().items():
        assert torch.equal(tensor, resumed.modules["model"].state_dict()[key]), key


def test_every_step_is_logged_once_even_after_a_cut(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _go(_training(), tmp_path, stop_at=8)
    resumed = _training()
    resumed.load(tmp_path / "checkpoint.pt")
    _go(resumed, tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10]


def test_a_non_finite_loss_stops_with_step_and_checkpoint(tmp_path: Path) -> None:
    training = _training()

    def losses_of(step: int, batch: Tensor) -> dict[str, Tensor]:
        loss = training.modules["model"](batch).mean()
        return {"good": loss, "bad": loss * (float("nan") if step == 4 else 1.0)}

    with pytest.raises(NonFiniteLossError, match=r"step 4 is not finite \(good .*, bad nan\).*last checkpoint is kept"):
        train(
            training,
            _batches(0, 10),
            losses_of,
            fabric=Fabric(accelerator="cpu", devices=1),
            folder=tmp_path,
            iterations=10,
            batch_size=6,
            clip_norm=0.0,
            checkpoint_every=3,
            log_every=2,
            reporter=SilentReporter(),
            description="t",
        )
    fresh = _training()
    fresh.load(tmp_path / "checkpoint.pt")
    assert fresh.step == 3


@pytest.mark.parametrize("damage", [b"", b"PK not a zip", None])
def test_a_damaged_checkpoint_is_one_message(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "checkpoint.pt"
    _training().save(path)
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(CorruptFileError, match="Not a checkpoint"):
        _training().load(path)


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        training = _training(100, schedule)
        found = []
        for _ in range(100):
            found.append(training.schedule.get_last_lr()[0] / 0.05)
            training.optimiser.step()
            training.schedule.step()
        return found

    assert rates("constant") == [1.0] * 100
    steps = rates("steps")
    assert steps[:90] == [1.0] * 90
    assert steps[90] == pytest.approx(0.1)
    assert steps[95] == pytest.approx(0.01)
    cycle = rates("one-cycle")
    assert cycle[0] == pytest.approx(0.1)
    assert cycle[8] == pytest.approx(1.0)
    assert cycle[-1] < 0.01
    assert max(cycle) <= 1.0


def test_weight_decay_of_a_group_is_its_own() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimiser, _ = make_optimiser([{"params": [parameter], "lr": 0.1, "weight_decay": 0.0}], OptimiserSettings(), 10)
    parameter.grad = torch.zeros(2)
    optimiser.step()
    assert torch.equal(parameter.detach(), torch.ones(2))

"""The training loop: exact resume, schedules, logs and the guard against non-finite losses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from pipelines.base.errors import ConcatError, CorruptFileError, NonFiniteLossError
from pipelines.base.progress import SilentReporter
from pipelines.training.loop import PAGES, Training, _page_due, make_optimiser, train
from pipelines.training.part_size import PartSize
from pipelines.training.processes import Processes
from pipelines.training.settings import OptimiserSettings


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


def _train(training: Training, batches, losses_of, folder: Path, **how) -> dict[str, float]:
    usual = {"batch_size": 6, "clip_norm": 0.0, "checkpoint_every": 3, "log_every": 2}
    quiet = {"fabric": Fabric(accelerator="cpu", devices=1), "reporter": SilentReporter(), "description": "test"}
    return train(training, batches, losses_of, folder=folder, **quiet, **(usual | how))


def _go(
    training: Training,
    folder: Path,
    iterations: int = 10,
    stop_at: int | None = None,
    draw_page: Callable[[], NDArray[np.uint8]] | None = None,
) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    model = training.modules["model"]

    def losses_of(step: int, batch: Tensor) -> Iterator[dict[str, Tensor]]:
        noise = torch.randn(6, 1)
        yield {"square": (model(batch) - 1 - 0.1 * noise).square().mean(), "size": 0.01 * model(batch).abs().mean()}

    def after_step(step: int) -> None:
        if step == stop_at:
            raise Interrupted

    how = {"clip_norm": 1.0, "after_step": after_step, "draw_page": draw_page}
    return _train(training, _batches(training.step, iterations), losses_of, folder, iterations=iterations, **how)


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


def _board(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return board.Reload()


def test_a_cut_training_shows_every_step_once_and_every_figure_in_tensorboard(tmp_path: Path) -> None:
    def page() -> NDArray[np.uint8]:
        return np.full((4, 6, 3), 128, np.uint8)

    with pytest.raises(Interrupted):
        _go(_training(), tmp_path, stop_at=8, draw_page=page)
    resumed = _training()
    resumed.load(tmp_path / "checkpoint.pt")
    _go(resumed, tmp_path, draw_page=page)
    board = _board(tmp_path)
    figures = ["learning_rate/all", "gradient_norm", "images_per_second", "peak_memory_GiB"]
    assert set(board.Tags()["scalars"]) == {"loss/square", "loss/size", "loss/total", *figures}
    for tag in board.Tags()["scalars"]:
        assert [event.step for event in board.Scalars(tag)] == [2, 4, 6, 8, 10], tag
        assert all(np.isfinite(event.value) and event.value > 0 for event in board.Scalars(tag)), tag
    images = board.Images("panels")
    assert [(image.step, image.width, image.height) for image in images] == [(s, 6, 4) for s in (3, 6, 9, 10)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line, event in zip(lines, board.Scalars("loss/total"), strict=True):
        assert line["loss"] == pytest.approx(line["square"] + line["size"]) == pytest.approx(event.value)
        assert line["images_per_second"] == pytest.approx(6 / line["seconds_per_step"])


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_the_logged_gradient_norm_is_that_before_clipping(tmp_path: Path, clip_norm: float) -> None:
    model = nn.Linear(2, 1, bias=False)
    optimiser, schedule = make_optimiser([{"params": model.parameters(), "lr": 0.1}], OptimiserSettings(), 1)
    _train(
        Training({"model": model}, model, optimiser, schedule),
        [torch.tensor([[3.0, 4.0]])],
        lambda _, batch: [{"loss": model(batch).sum()}],
        tmp_path,
        iterations=1,
        batch_size=1,
        clip_norm=clip_norm,
        log_every=1,
    )
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["gradient_norm"] == pytest.approx(5.0)


@pytest.mark.parametrize(("every", "iterations"), [(20, 60), (500, 140350), (3, 10), (100, 7), (1, 1000)])
def test_pages_are_drawn_at_checkpoints_and_the_end_and_seldom(every: int, iterations: int) -> None:
    due = [step for step in range(1, iterations + 1) if _page_due(step, every, iterations)]
    assert due[-1] == iterations
    assert all(step % every == 0 for step in due[:-1])
    assert len(due) == min(PAGES, -(-iterations // every))


def test_parts_that_learn_at_different_rates_are_named(tmp_path: Path) -> None:
    training = _training()
    first, *rest = training.model.parameters()
    groups = [{"params": [first], "lr": 0.01, "name": "backbone"}, {"params": rest, "lr": 0.1, "name": "heads"}]
    training.optimiser, training.schedule = make_optimiser(groups, OptimiserSettings(schedule="constant"), 10)
    _go(training, tmp_path)
    board = _board(tmp_path)
    rates = {tag: board.Scalars(tag)[-1].value for tag in board.Tags()["scalars"] if "rate" in tag}
    assert rates == pytest.approx({"learning_rate/backbone": 0.01, "learning_rate/heads": 0.1})
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["learning_rate"] == pytest.approx(0.1)


def test_a_non_finite_loss_stops_with_step_and_checkpoint(tmp_path: Path) -> None:
    training = _training()

    def losses_of(step: int, batch: Tensor) -> Iterator[dict[str, Tensor]]:
        loss = training.modules["model"](batch).mean()
        yield {"good": loss, "bad": loss * (float("nan") if step == 4 else 1.0)}

    with pytest.raises(NonFiniteLossError, match=r"step 4 is not finite \(good .*, bad nan\).*last checkpoint is kept"):
        _train(training, _batches(0, 10), losses_of, tmp_path, iterations=10)
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


def _trained(folder: Path, losses_of: Callable[[int, Tensor], Iterator[dict[str, Tensor]]], training: Training, **how):
    folder.mkdir()
    _train(training, _batches(0, 6), losses_of, folder, iterations=6, log_every=1, **how)
    return [json.loads(line)["square"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _linear() -> Training:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimiser, schedule = make_optimiser([{"params": model.parameters(), "lr": 0.05}], OptimiserSettings(), 6)
    return Training({"model": model}, model, optimiser, schedule)


def test_a_step_that_runs_out_of_memory_is_tried_again_in_smaller_parts(tmp_path: Path) -> None:
    said: list[str] = []
    size = PartSize(6, fixed=False, say=said.append)
    training = _linear()
    training.modules["part size"] = size

    def losses_of(step: int, batch: Tensor) -> Iterator[dict[str, Tensor]]:
        for part in batch.split(size.size):
            yield {"square": (training.model(part) - 1 + 0 * torch.rand(1)).square().sum() / len(batch)}
            if size.size > 2 and step >= 2:
                raise torch.OutOfMemoryError

    whole = _linear()
    plain = _trained(tmp_path / "whole", lambda _, b: [{"square": (whole.model(b) - 1).square().mean()}], whole)
    assert _trained(tmp_path / "parts", losses_of, training, smaller_parts=size.halve) == pytest.approx(plain, rel=1e-5)
    assert said == ["out of memory: from now on 3 images at once", "out of memory: from now on 2 images at once"]
    resumed = PartSize(6, fixed=False, say=said.append)
    later = _linear()
    later.modules["part size"] = resumed
    later.load(tmp_path / "parts/checkpoint.pt")
    assert resumed.size == 2


def test_a_device_too_small_for_one_image_is_one_message(tmp_path: Path) -> None:
    def losses_of(step: int, batch: Tensor) -> Iterator[dict[str, Tensor]]:
        raise torch.OutOfMemoryError
        yield {}

    with pytest.raises(ConcatError, match="too little memory for step 0") as caught:
        _trained(tmp_path / "a", losses_of, _linear(), smaller_parts=PartSize(1, fixed=False, say=print).halve)
    assert "con.checkpointing" in str(caught.value.mend)


def test_a_size_that_was_asked_for_stays() -> None:
    size = PartSize(4, fixed=True, say=print)
    assert not size.halve()
    size.load_state_dict({"size": 1})
    assert size.size == 4


def test_the_scale_of_16_mixed_stands_in_the_checkpoint(tmp_path: Path) -> None:
    def scaling() -> MixedPrecision:
        return MixedPrecision("16-mixed", "cpu")

    training, precision = _linear(), scaling()
    training.modules["precision"] = precision
    assert precision.scaler is not None
    precision.scaler.scale(torch.ones(1))  # it begins with the first one
    precision.scaler.update(new_scale=512.0)
    training.save(tmp_path / "checkpoint.pt")
    later = _linear()
    later.modules["precision"] = scaling()
    later.load(tmp_path / "checkpoint.pt")
    assert later.modules["precision"].scaler.state_dict()["scale"] == 512.0


def test_milestones_are_shares_of_all_steps() -> None:
    settings = OptimiserSettings(schedule="steps", milestones=(0.5, 0.75))
    model = nn.Linear(1, 1)
    optimiser, schedule = make_optimiser([{"params": model.parameters(), "lr": 1.0}], settings, 8)
    rates = []
    for _ in range(8):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_several_processes_settle_on_what_each_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "gather", lambda self, own: [own, 2])  # another one holds two
    tried: list[int] = []

    def trial(images: int) -> None:
        tried.append(images)
        if images > 4:
            raise torch.OutOfMemoryError

    size = PartSize(8, fixed=False, say=lambda _: None)
    size.settle(trial, Processes(0, 2))
    assert (tried, size.size, size.halve()) == ([8, 4], 2, False)

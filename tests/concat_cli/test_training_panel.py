"""The live panel: what it says, and that it fits."""

import io
import re
from itertools import count

import pytest
from rich.console import Console
from rich.live import Live

from concat_cli.training_panel import TrainingPanel
from pipelines.base.progress import StepFigures

LOSSES = {"class": 7.431, "mask": 5.4, "dice": 10.609, "cga": 0.9622, "cia": 4.0361}


def _console(width: int, height: int = 40) -> Console:
    clock = count(step=0.02)  # seconds, at every look
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        color_system=None,
        get_time=lambda: next(clock),
    )


def _screen(console: Console, panel: TrainingPanel) -> list[str]:
    console.print(panel)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _panel(console: Console, steps: int) -> TrainingPanel:
    panel = TrainingPanel(console, "train-con", 60, 0, 16)
    for step in range(steps):
        panel.step(StepFigures({name: value + 10 / (step + 1) for name, value in LOSSES.items()}, 2.3e-4, 812 << 20))
    return panel


def test_at_80_columns_everything_is_said_in_whole_lines() -> None:
    console = _console(80)
    lines = _screen(console, _panel(console, 30))
    assert {len(line) for line in lines} == {80}
    assert len(lines) == 11
    text = "\n".join(lines)
    assert "…" not in text
    assert lines[0].startswith("╭─ train-con ─")
    assert re.search(r" 50% 30/60 steps \d:\d\d:\d\d left ", lines[1])
    assert re.search(r"│ \d+ img/s · \d\d\.\d steps/s · learning rate 2\.30e-04 · peak memory 812 MiB", lines[2])
    assert re.search(r"loss +30\.10 +\d\d\.\d\d  █[▁-█]{29} ", text)
    for name, value in LOSSES.items():
        assert re.search(rf"│ {name} +{re.escape(f'{value + 1 / 3:#.4g}')} +\d", text), name


@pytest.mark.parametrize("width", [30, 60, 120, 200])
def test_no_width_is_too_small_or_too_large(width: int) -> None:
    console = _console(width)
    lines = _screen(console, _panel(console, 30))
    assert {len(line) for line in lines} == {min(width, 100)}


@pytest.mark.parametrize("steps", [0, 1, 60])
def test_before_the_first_step_and_after_the_last(steps: int) -> None:
    console = _console(80)
    text = "\n".join(_screen(console, _panel(console, steps)))
    assert f" {steps}/60 steps" in text
    assert ("smoothed" in text) == (steps > 0)


def test_a_training_that_is_broken_off_gives_the_cursor_back() -> None:
    console = _console(80, height=8)
    with pytest.raises(KeyboardInterrupt), Live(_panel(console, 5), console=console):
        raise KeyboardInterrupt
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")

"""What is printed where the output is no terminal."""

import pytest

from concat_cli.console import RichReporter, out, show_error, table
from concat_cli.plain_progress import PlainTask, PlainTraining
from pipelines.base.errors import ConcatError
from pipelines.base.progress import StepFigures

LONG = "/" + "folder/" * 30 + "file.json"


def test_an_error_is_message_file_and_mend_in_lines_that_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(ConcatError("It is [broken].", file=LONG, mend="Use --set a=[1]."))
    assert capsys.readouterr().err.splitlines() == [
        "Error  It is [broken].",
        f"File   {LONG}",
        "Mend   Use --set a=[1].",
    ]


def test_a_quick_task_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with RichReporter().task("quick", 3) as task:
        task.advance(3)
    assert capsys.readouterr().out == ""


def test_a_slow_task_prints_rate_time_left_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    task = PlainTask(out, "train", total=8, done=2, unit="step", every=0.0)
    task.start -= 4
    task.advance(2, loss=0.51234)
    task.start += 1
    task.advance(4)
    task.finish()
    assert capsys.readouterr().out.splitlines() == [
        "  train: 4/8 step, 0.5 step/s, 4 s, 8 s left  loss 0.5123",
        "  train: 8/8 step, 2.0 step/s, 3 s  loss 0.5123",
    ]


def test_a_slow_training_prints_loss_learning_rate_images_a_second_and_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = PlainTraining(out, "train-con", total=8, done=2, images_per_step=16, every=0.0)
    training.task.start -= 4
    for total in (0.5, 0.7):
        training.step(StepFigures({"mask": total - 0.1, "dice": 0.1}, 2e-4, 812 << 20))
    assert capsys.readouterr().out.splitlines() == [
        "  train-con: 3/8 step, 0.2 step/s, 4.0 img/s, 4 s, 20 s left"
        "  loss 0.5  learning rate 2.00e-04  peak memory 812 MiB",
        "  train-con: 4/8 step, 0.5 step/s, 8.0 img/s, 4 s, 8 s left"
        "  loss 0.6026  learning rate 2.00e-04  peak memory 812 MiB",
    ]


def test_a_quick_training_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with RichReporter().training("quick", 1, 0, 16) as task:
        task.step(StepFigures({"mask": 1.0}, 1e-3, 0))
    assert capsys.readouterr().out == ""


def test_a_remark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    RichReporter().say(f"see {LONG} [now]")
    assert capsys.readouterr().out == f"› see {LONG} [now]\n"


def test_a_table_sets_texts_left_and_figures_right(capsys: pytest.CaptureFixture[str]) -> None:
    table("Title", ["name", "why", "pq"], [["a", "b", "1"], ["long", "longer", "10.0"]], texts=2)
    assert "│ a    │ b      │    1 │" in capsys.readouterr().out

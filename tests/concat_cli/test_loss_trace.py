"""What is kept of the losses: last, smoothed, and a course of bounded length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concat_cli.loss_trace import LossTrace, memory_text, resampled, sparkline
from pipelines.base.progress import StepFigures

VALUES = st.lists(st.floats(-1e6, 1e6), max_size=300)


def _trace(*totals: float) -> LossTrace:
    trace = LossTrace()
    for total in totals:
        trace.add(StepFigures({"mask": 0.75 * total, "dice": 0.25 * total}, 1e-3, 5 << 20))
    return trace


def test_losses_now_and_smoothed() -> None:
    trace = _trace(4.0, 8.0)
    assert trace.now == {"loss": 8.0, "mask": 6.0, "dice": 2.0}
    assert trace.smoothed["loss"] == pytest.approx((0.95 * 4 + 8) / 1.95)
    assert trace.smoothed["mask"] == pytest.approx(0.75 * trace.smoothed["loss"])
    assert trace.course == [4.0, 8.0]


def test_a_constant_loss_is_its_own_mean_from_the_first_step() -> None:
    assert _trace(3.0).smoothed["loss"] == pytest.approx(3.0)
    assert _trace(*[3.0] * 50).smoothed["loss"] == pytest.approx(3.0)


def test_the_course_of_a_long_training_stays_short_and_keeps_its_shape() -> None:
    trace = _trace(*[float(n) for n in range(5000)])
    assert len(trace.course) < 256
    assert trace.course == sorted(trace.course)
    assert trace.course[0] < 50
    assert trace.course[-1] > 4900


def test_a_sparkline_by_hand() -> None:
    assert sparkline([0, 7, 3, 4], 10) == "▁█▄▅"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([5.0, 5.0], 10) == "▁▁"
    assert sparkline([], 10) == ""


@given(VALUES, st.integers(1, 80))
def test_a_sparkline_fits_and_resampling_keeps_within_the_values(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(len(values), width)
    assert all(min(values) - 1e-6 <= mean <= max(values) + 1e-6 for mean in resampled(values, width))


def test_memory() -> None:
    assert memory_text(812 << 20) == "812 MiB"
    assert memory_text(3 << 29) == "1.5 GiB"

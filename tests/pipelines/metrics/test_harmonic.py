import pytest

from pipelines.metrics.harmonic import harmonic_mean


@pytest.mark.parametrize(
    ("seen", "unseen", "expected"),
    [
        (40.5, 14.0, 20.8),  # CONCAT, table 1
        (39.2, 21.2, 27.5),
        (50.0, 50.0, 50.0),
        (0.0, 60.0, 0.0),
        (0.0, 0.0, 0.0),
        (None, 60.0, None),
        (60.0, None, None),
    ],
)
def test_harmonic_mean(seen: float | None, unseen: float | None, expected: float | None) -> None:
    assert harmonic_mean(seen, unseen) == (expected if expected is None else pytest.approx(expected, abs=0.05))

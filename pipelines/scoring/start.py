"""Whether predictions are of a zero-shot model, where the evaluation that they lie in says so."""

from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.files import read_json


def zero_shot_of(predictions: Path) -> bool | None:
    """Looks into `metrics.json` beside predictions, as `eval` leaves them; None: nothing is said."""
    try:
        metrics = read_json(predictions.resolve().parent / "metrics.json")
    except (ConcatError, OSError):
        return None
    said = metrics.get("zero_shot") if isinstance(metrics, dict) else None
    return said if isinstance(said, bool) else None

"""Whether predictions are of a zero-shot model, where the evaluation that they lie in says so."""

from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.files import read_json


def zero_shot_of(predictions: Path) -> bool | None:
    """Looks for `metrics.json` beside predictions, as `eval` leaves them; None: there is none, anyone's may be."""
    try:
        metrics = read_json(predictions.resolve().parent / "metrics.json")
    except (ConcatError, OSError):
        return None
    if not isinstance(metrics, dict) or "inductive" not in metrics:
        return None
    return metrics.get("zero_shot") is not False

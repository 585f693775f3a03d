"""The losses that a training stage logged, thinned out to what a chart can show."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.base.errors import ConcatError, CorruptFileError

_NO_LOSSES: Final = (
    "step",
    "learning_rate",
    "gradient_norm",
    "seconds_per_step",
    "peak_memory_bytes",
    "images_per_second",
)
_SHOWN: Final = 240  # points a chart


@dataclass(frozen=True)
class LossCurves:
    """Means of the losses between two logged steps; `terms` holds the sum `loss` first."""

    steps: list[int]
    terms: dict[str, list[float]]


def read_losses(path: Path) -> LossCurves:
    """Reads `metrics.jsonl`; of many lines, blocks are averaged.

    Raises:
        ConcatError: it is missing.
        CorruptFileError: a line is no logged step.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        steps = [int(line["step"]) for line in lines]
        names = [name for name in lines[-1] if name not in _NO_LOSSES] if lines else []
        values = np.array([[float(line[name]) for name in names] for line in lines]).reshape(len(lines), len(names))
    except FileNotFoundError:
        raise ConcatError("The log of this training is missing.", file=path, mend="Train again with --force.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"Not a log of losses: {error}.", file=path, mend="Train again with --force.") from None
    if not np.isfinite(values).all():
        raise CorruptFileError("A logged loss is not finite.", file=path, mend="Train again with --force.")
    block = math.ceil(len(lines) / _SHOWN) or 1
    starts = np.arange(0, len(lines), block)
    means = np.add.reduceat(values, starts, axis=0) / np.diff(starts, append=len(lines))[:, None] if lines else values
    ends = [steps[min(start + block, len(steps)) - 1] for start in starts.tolist()]
    ordered = sorted(names, key=lambda name: name != "loss")
    return LossCurves(ends, {name: means[:, names.index(name)].tolist() for name in ordered})

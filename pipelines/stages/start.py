"""Whether results are zero-shot, as the split, which alone knows the unseen names, tells the stages after it."""

from pathlib import Path
from typing import Final

from pipelines.base.files import read_json, write_json
from pipelines.runs.run import StageContext

START: Final = "start.json"
"""Is there only where the segmentor starts from weights that know, or may know, unseen categories; it names none."""


def write_not_zero_shot(folder: Path) -> None:
    """Says that results are not zero-shot."""
    write_json(folder / START, {"zero_shot": False})


def is_zero_shot(context: StageContext) -> bool:
    """Whether the split found nothing that speaks against it."""
    return START not in context.inputs or bool(read_json(context.input(START))["zero_shot"])

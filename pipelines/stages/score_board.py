"""The scores of an evaluation as TensorBoard shows them: curves over increments and iterates, and the panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from pipelines.base.files import remove
from pipelines.base.terms import Task
from pipelines.training.log import BOARD, open_board

PER_INCREMENT: Final = 1000
"""TensorBoard's steps are whole numbers, increments are not: the step of an increment is a thousand times it."""


def write_board(folder: Path, metrics: Mapping[str, Any], task: Task, figure: str, panels: Path) -> None:
    """Writes the event files of an evaluation anew.

    Args:
        folder: the stage's; it takes the folder `tensorboard`.
        metrics: what `metrics.json` holds.
        figure: the score that is shown, of every group.
        panels: the page of panels; shown if it is there.
    """
    remove(folder / BOARD)
    board = open_board(folder)
    sweep = {round(PER_INCREMENT * float(value)): scores for value, scores in metrics["inductive_sweep"].items()}
    path = {int(step): scores for step, scores in metrics.get("finetune_path", {}).items()}
    for curve, points in ((f"inductive_{figure}_at_increment_x{PER_INCREMENT}", sweep), (f"finetune_{figure}", path)):
        for step, scores in points.items():
            for group, figures in scores[task].items():
                if figures[figure] is not None:
                    board.add_scalar(f"{curve}/{group}", figures[figure], step)
    if panels.exists():
        with Image.open(panels) as page:
            board.add_image("panels", np.asarray(page.convert("RGB")), max(path, default=0), dataformats="HWC")
    board.close()

"""Runs all stages in one process after the other, each killed (SIGKILL) within another stage: RUN CACHE.

Prints what every process says and where each of its tasks began.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pipelines.base.progress import StepFigures
from pipelines.recipes.load import load_recipe
from pipelines.runs.run import Run
from pipelines.runs.runner import bring_up_to_date
from pipelines.stages.chain import chain

MOMENTS = (
    ("CLIP tokens", 70),
    ("train-con", 25),
    ("train-con", 47),
    ("dump-queries", 60),
    ("train-cat", 33),
    ("finetune", 15),
    ("eval", 20),
    ("", 0),
)


class Deadly:
    """A reporter under which the process dies once the task `description` has done `moment` of its units."""

    def __init__(self, description: str, moment: int) -> None:
        self.description, self.moment = description, moment
        self.task_now, self.done = "", 0

    @contextmanager
    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> Iterator["Deadly"]:
        self.say(f"{description} begins at {done} of {total} {unit}")
        self.task_now, self.done = description, done
        yield self

    def training(
        self, description: str, total: int, done: int, images_per_step: int
    ) -> AbstractContextManager["Deadly"]:
        return self.task(description, total, done, unit="step")

    def step(self, figures: StepFigures) -> None:
        self.advance()

    def advance(self, n: int = 1, **_: float) -> None:
        self.done += n
        if (self.task_now, self.done) == (self.description, self.moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, text: str) -> None:
        print(text, flush=True)


def main(folder: Path, cache: Path) -> None:
    recipe = load_recipe(str(folder / "recipe.toml"))
    for description, moment in MOMENTS:
        child = os.fork()  # importing takes longer than most stages do
        if child == 0:
            bring_up_to_date(Run(folder, recipe, cache, Deadly(description, moment)), chain(recipe), "eval")
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == (-signal.SIGKILL if description else 0), (description, ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

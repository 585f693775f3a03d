"""Runs stages one after the other and prints, as json, which files each of them opened: RUN CACHE STAGE…

Python reports every file it opens, zarr's and numpy's among them; HDF5 and safetensors open theirs unreported.
"""

import json
import os
import sys
from pathlib import Path

from pipelines.base.progress import SilentReporter
from pipelines.recipes.load import load_recipe
from pipelines.runs.run import Run
from pipelines.runs.runner import bring_up_to_date
from pipelines.stages.chain import chain


def main(folder: Path, cache: Path, stages: list[str]) -> None:
    recipe = load_recipe(str(folder / "recipe.toml"))
    run, opened = Run(folder, recipe, cache, SilentReporter()), dict[str, set[str]]()
    now = ""

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and now and isinstance(arguments[0], str | bytes | os.PathLike):
            opened[now].add(os.path.abspath(os.fsdecode(arguments[0])))

    sys.addaudithook(hear)
    for stage in stages:
        opened[stage] = set()
        now = stage
        ran = bring_up_to_date(run, chain(recipe), stage)
        now = ""
        assert ran == [stage], ran
    print(json.dumps({stage: sorted(paths) for stage, paths in opened.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

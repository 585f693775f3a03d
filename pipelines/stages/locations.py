"""Where the images and labels of a run lie: where its recipe says, or in the cache, for rendered scenes."""

from typing import Final

from pipelines.data.sets.locations import Locations, locate, micrococo_folder
from pipelines.runs.manifest import read_manifest
from pipelines.runs.run import Run

SCENES: Final = "data"
"""The folder in a run of the stage that renders micrococo."""
SCENES_VERSION: Final = 2


def locations_of(run: Run) -> Locations:
    """The locations of a run's training and validation set; rendered scenes lie where their manifest says."""
    manifest = run.folder / SCENES / "manifest.json"
    scenes = micrococo_folder(run.recipe.data.micrococo, run.cache, SCENES_VERSION)
    if run.recipe.data.micrococo.render and manifest.exists():
        scenes = (run.folder / read_manifest(manifest).outputs["annotations"].path).parent
    return locate(run.recipe.data, run.recipe.task, scenes)

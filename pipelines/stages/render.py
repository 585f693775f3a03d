"""make-micrococo as a stage: the embedded world, rendered once into the cache for all runs and seeds."""

from pipelines.base.files import alone
from pipelines.base.parallel import usable_cores
from pipelines.data.sets.locations import Locations, locate, micrococo_folder
from pipelines.micrococo.dataset import make_micrococo
from pipelines.runs.freshness import output_path
from pipelines.runs.run import Run, Stage, StageContext

VERSION = 2


def locations_of(run: Run) -> Locations:
    """Where the images and annotations of a run lie; rendered scenes lie where its manifest says."""
    manifest = run.folder / STAGE.folder / "manifest.json"
    if run.recipe.data.micrococo.render and manifest.exists():
        return locate(run.recipe.data, run.recipe.task, output_path(run, STAGE, "annotations").parent)
    scenes = micrococo_folder(run.recipe.data.micrococo, run.cache, VERSION)
    return locate(run.recipe.data, run.recipe.task, scenes)


def execute(context: StageContext) -> None:
    """Renders the scenes unless the cache has them."""
    settings = context.recipe.data.micrococo
    root = micrococo_folder(settings, context.run.cache, VERSION)
    total = settings.train + settings.val + settings.tune
    with alone(root):
        if not root.exists():
            with context.reporter.task("render", total) as task:
                make_micrococo(
                    root,
                    train=settings.train,
                    val=settings.val,
                    tune=settings.tune,
                    size=settings.size,
                    seed=settings.seed,
                    workers=usable_cores(),
                    progress=task.advance,
                )
    context.cached["annotations"] = root / "annotations"
    context.notes["images"] = total


STAGE = Stage(
    name="make-micrococo",
    folder="data",
    version=VERSION,
    reads={},
    sources=lambda _: {},
    execute=execute,
    settings=lambda recipe: recipe.data.micrococo.model_dump(exclude={"evaluate_on"}),
    knows_unseen_names=True,
)

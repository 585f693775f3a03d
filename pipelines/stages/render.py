"""make-micrococo as a stage: the embedded world, rendered once into the cache for all runs and seeds."""

from pipelines.base.files import alone
from pipelines.base.parallel import usable_cores
from pipelines.data.sets.locations import micrococo_folder
from pipelines.micrococo.dataset import make_micrococo
from pipelines.runs.run import StageContext
from pipelines.stages.locations import SCENES_VERSION


def execute(context: StageContext) -> None:
    """Renders the scenes unless the cache has them."""
    settings = context.recipe.data.micrococo
    root = micrococo_folder(settings, context.run.cache, SCENES_VERSION)
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

"""The stages of a recipe, in order."""

from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Stage
from pipelines.stages import dump_queries, evaluate, finetune, precompute, render, split, train_cat, train_con

STAGES = (
    split.STAGE,
    precompute.STAGE,
    train_con.STAGE,
    dump_queries.STAGE,
    train_cat.STAGE,
    finetune.STAGE,
    evaluate.STAGE,
)


def chain(recipe: Recipe) -> list[Stage]:
    """The stages that a run of this recipe consists of; an inductive one has nothing to finetune for."""
    teaches = recipe.finetune.unseen or recipe.finetune.taught
    stages = [stage for stage in STAGES if teaches or stage is not finetune.STAGE]
    return [render.STAGE, *stages] if recipe.data.micrococo.render else stages

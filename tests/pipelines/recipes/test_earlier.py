"""Recipes and manifests of version 0.1 mean what they meant."""

from pipelines.base.settings import Settings
from pipelines.recipes.load import load_recipe, override
from pipelines.recipes.recipe import Recipe
from pipelines.runs.earlier import settings_as_now
from pipelines.runs.freshness import plain
from pipelines.stages.chain import EVAL, TRAIN_CAT, TRAIN_CON

MASKFORMER = {"kind": "maskformer", "queries": 7, "encoder_layers": 6, "encoder_feedforward_dim": 1024}
SAID_THEN = {
    "con": {"segmentor": MASKFORMER, "cga": {"gamma": 0.0}, "cia": {"negatives": "batch"}},
    "cat": {"generator": "gmmn", "hidden_dim": 32, "latent_dim": 5, "condition_scale": 0.0, "mmd_weight": 2.0},
}
SAID_NOW = {
    "con": {
        "segmentor": {"kind": "maskformer", "queries": 7},
        "alignment": {"cga": {"gamma": 0.0}, "cia": {"negatives": "batch"}},
    },
    "cat": {
        "generator": {"kind": "gmmn", "hidden_dim": 32, "noise_dim": 5, "condition_scale": 0.0},
        "mmd_weight": 2.0,
    },
}


def test_a_recipe_of_then_is_the_recipe_of_now() -> None:
    assert Recipe.model_validate(SAID_THEN) == Recipe.model_validate(SAID_NOW)
    assert Recipe.model_validate(SAID_NOW) != Recipe()


def test_settings_of_then_can_still_be_typed() -> None:
    then = override(load_recipe("smoke"), ("con.cga.gamma=0", "cat.generator=gmmn", "cat.hidden_dim=8"))
    now = override(
        load_recipe("smoke"), ("con.alignment.cga.gamma=0", "cat.generator.kind=gmmn", "cat.generator.hidden_dim=8")
    )
    assert then == now
    assert now.con.alignment["cga"].weight == load_recipe("smoke").con.alignment["cga"].weight


def _then(section: Settings, **moved: object) -> dict[str, object]:
    return {**section.that_matter(), **moved}


def test_manifests_of_then_state_what_stages_state_now() -> None:
    recipe = load_recipe("smoke")
    segmentor, head = recipe.con.segmentor.that_matter(), recipe.con.classifier.that_matter()
    bare = {name: value for name, value in head.items() if name != "kind"}
    alignments = {n: {k: v for k, v in a.that_matter().items() if k != "kind"} for n, a in recipe.con.alignment.items()}
    con = _then(recipe.con, classifier=bare, **alignments)
    del con["alignment"]
    cat = _then(recipe.cat, **recipe.cat.generator.that_matter(), generator="cvae")
    del cat["kind"]
    for stage, then in (
        (TRAIN_CON, {**TRAIN_CON.settings(recipe), "con": con}),
        (TRAIN_CAT, {**TRAIN_CAT.settings(recipe), "cat": cat, "classifier": bare}),
        (EVAL, {**EVAL.settings(recipe), "con": segmentor | bare}),
    ):
        assert plain(then) != plain(stage.settings(recipe))
        assert plain(settings_as_now(then)) == plain(stage.settings(recipe))
        assert settings_as_now(stage.settings(recipe)) == stage.settings(recipe)


def test_a_recipe_written_whole_before_the_originals_ways_goes_on_as_it_was() -> None:
    now = load_recipe("smoke").model_dump(mode="json")
    then = load_recipe("concat_zps").model_dump(mode="json")
    for name in ("images_per_forward", "checkpointing", "cuda_graphs"):
        del then["con"][name]
    for name in ("batch_norm", "initialisation", "last_stage_dilation", "weights"):
        del then["con"]["segmentor"][name]
    for name in ("decay_biases", "milestones"):
        del then["con"]["optimiser"][name]
    recipe = Recipe.model_validate(then)
    assert (recipe.con.segmentor.batch_norm, recipe.con.optimiser.decay_biases) == ("trained", False)
    assert recipe.con.segmentor.initialisation == "transformers"
    assert Recipe.model_validate(now) == load_recipe("smoke")
    assert load_recipe("concat_zps").con.segmentor.batch_norm == "frozen"

"""The stages in order: what each reads, on which settings and files its results depend, and what does its work.

A stage's work is imported when it runs, so that to tell what is stale takes no torch.
"""

from pathlib import Path
from typing import Any

from pipelines.base.parts import outside_code
from pipelines.clip.model_files import model_files
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Run, Stage
from pipelines.segmentors.weights_file import starting_files
from pipelines.stages.locations import SCENES, SCENES_VERSION, locations_of
from pipelines.stages.start import START
from pipelines.vocabularies.shipped import vocabulary_path


def _starting_weights(recipe: Recipe) -> dict[str, Path]:
    segmentor = recipe.con.segmentor
    return starting_files(segmentor.backbone_weights, segmentor.weights)


def _split_sources(run: Run) -> dict[str, Path]:
    where, recipe = locations_of(run), run.recipe
    sources = where.train.lists() | where.val.lists("val ")
    if recipe.task == "semantic":  # the lists are made from the label maps
        sources |= where.train.pixels() | where.val.pixels("val ")
    sources["vocabulary"] = vocabulary_path(recipe.data.vocabulary)
    if recipe.clip.text_embeddings:
        sources |= {"text embeddings": Path(recipe.clip.text_embeddings), "text names": Path(recipe.clip.text_names)}
    return sources | _starting_weights(recipe)  # its labels are checked here, and only here


def _head_settings(recipe: Recipe) -> dict[str, Any]:
    """What the second and the third loss know of the first stage."""
    matching = recipe.con.matching
    return {"classifier": recipe.con.classifier.that_matter(), "focal": [matching.focal_alpha, matching.focal_gamma]}


def _head_code(recipe: Recipe) -> dict[str, Path]:
    return outside_code(recipe.con.classifier, "con.classifier") | outside_code(recipe.cat, "cat")


def eval_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that results of an evaluation depend on; those of the model come with its weights."""
    return {
        "task": recipe.task,
        "eval": recipe.eval.that_matter(),
        "input": recipe.con.input.that_matter(),
        "precision": recipe.runtime.precision,
    }


RENDER = Stage(
    name="make-micrococo",
    about="Render the embedded world.",
    folder=SCENES,
    version=SCENES_VERSION,
    work="pipelines.stages.render:execute",
    reads={},
    sources=lambda _: {},
    settings=lambda recipe: recipe.data.micrococo.model_dump(exclude={"evaluate_on"}),
    knows_unseen_names=True,
)
SPLIT = Stage(
    name="split-coco",
    about="Make the seen-only training list.",
    sections=("data",),
    folder="split",
    version=2,
    work="pipelines.stages.split:execute",
    reads={"make-micrococo": ("annotations",)},
    sources=_split_sources,
    settings=lambda recipe: {
        "task": recipe.task,
        "protocol": recipe.data.protocol,
        "unseen": recipe.data.unseen,
        "ignored": recipe.data.ignored,
        "backbone": recipe.con.segmentor.backbone,
        "backbone_weights": recipe.con.segmentor.backbone_weights,
        "weights": recipe.con.segmentor.weights or None,  # None: as manifests from before have it
        "allow_seen_unseen": recipe.data.allow_seen_unseen or None,
    },
    knows_unseen_names=True,
)
PRECOMPUTE = Stage(
    name="precompute",
    shared=True,
    about="Cache what CLIP sees: CLS tokens of complete and of masked images, and the seen names' embeddings.",
    sections=("clip",),
    folder="precompute",
    version=1,
    work="pipelines.stages.precompute:execute",
    reads={"split-coco": ("train.json", "seen.json", "text_seen.npy")},
    sources=lambda run: locations_of(run).train.pixels("train ") | model_files(run.recipe.clip),
    settings=lambda recipe: {"clip": recipe.clip.that_matter()},
)
TRAIN_CON = Stage(
    name="train-con",
    shared=True,
    about="CON: train the extractor, its queries aligned with CLIP. Runs precompute first where it must.",
    sections=("con",),
    folder="con",
    version=2,
    work="pipelines.stages.train_con:execute",
    reads={"split-coco": ("train.json", "seen.json", START), "precompute": ("images", "text_seen")},
    sources=lambda run: (
        locations_of(run).train.pixels("train ") | _starting_weights(run.recipe) | outside_code(run.recipe.con, "con")
    ),
    settings=lambda recipe: {"con": recipe.con.that_matter(), "precision": recipe.runtime.precision},
)
DUMP_QUERIES = Stage(
    name="dump-queries",
    shared=True,
    about="Write all queries of every training image, with their labels, to HDF5.",
    sections=("dump",),
    folder="dump",
    version=1,
    work="pipelines.stages.dump_queries:execute",
    reads={
        "split-coco": ("train.json", "seen.json"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
    },
    sources=lambda run: locations_of(run).train.pixels("train "),
    settings=lambda recipe: {
        "dump": recipe.dump.that_matter(),
        "input": recipe.con.input.that_matter(),
        "matching": recipe.con.matching.that_matter(),
        "precision": recipe.runtime.precision,
    },
)
TRAIN_CAT = Stage(
    name="train-cat",
    about="CAT: train the generator of queries, from the dump alone. Runs dump-queries first where it must.",
    sections=("cat",),
    folder="cat",
    version=1,
    work="pipelines.stages.train_cat:execute",
    reads={
        "split-coco": ("seen.json",),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "dump-queries": ("queries",),
    },
    sources=lambda run: _head_code(run.recipe),
    settings=lambda recipe: {"cat": recipe.cat.that_matter(), **_head_settings(recipe)},
)
FINETUNE = Stage(
    name="finetune",
    about="Finetune the projector on real seen and generated unseen queries; no image is opened.",
    sections=("finetune",),
    folder="finetune",
    version=2,
    work="pipelines.stages.finetune:execute",
    reads={
        "split-coco": ("seen.json", "unseen.json", "text_unseen.npy"),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "dump-queries": ("queries",),
        "train-cat": ("generator.safetensors",),
    },
    sources=lambda run: _head_code(run.recipe),
    settings=lambda recipe: {
        "finetune": recipe.finetune.that_matter(),
        "cat": recipe.cat.that_matter(),
        "clip": recipe.clip.that_matter(),
        **_head_settings(recipe),
    },
    knows_unseen_names=True,
)
EVAL = Stage(
    name="eval",
    shared=True,
    about="Score the validation images, inductive and transductive.",
    sections=("eval",),
    folder="eval",
    version=3,
    work="pipelines.stages.evaluate:execute",
    reads={
        "split-coco": ("val.json", "seen.json", "unseen.json", "text_unseen.npy", START),
        "precompute": ("text_seen",),
        "train-con": ("model.safetensors",),
        "finetune": ("iterates", "taught.json"),
    },
    sources=lambda run: locations_of(run).val.pixels("val "),
    settings=eval_settings,
    knows_unseen_names=True,
)

STAGES = (SPLIT, PRECOMPUTE, TRAIN_CON, DUMP_QUERIES, TRAIN_CAT, FINETUNE, EVAL)


def chain(recipe: Recipe) -> list[Stage]:
    """The stages that a run of this recipe consists of; an inductive one has nothing to finetune for."""
    teaches = recipe.finetune.unseen or recipe.finetune.taught
    stages = [stage for stage in STAGES if teaches or stage is not FINETUNE]
    return [RENDER, *stages] if recipe.data.micrococo.render else stages

"""teach: a run that knows more names, from the dump and the generator of another alone, without one image."""

import os
import shutil
from pathlib import Path

import torch

from pipelines.base.errors import ConcatError
from pipelines.base.files import remove, replace_folder
from pipelines.clip.context import check_context
from pipelines.clip.encoder import load_clip
from pipelines.recipes.load import write_recipe
from pipelines.recipes.recipe import Recipe
from pipelines.runs.freshness import output_path
from pipelines.runs.run import Run
from pipelines.stages.chain import DUMP_QUERIES, PRECOMPUTE, RENDER, SPLIT, TRAIN_CAT, TRAIN_CON
from pipelines.vocabularies.taught import taught_vocabulary
from pipelines.vocabularies.vocabulary import Vocabulary, open_seen, open_unseen

BEFORE = (RENDER, SPLIT, PRECOMPUTE, TRAIN_CON, DUMP_QUERIES, TRAIN_CAT)
"""The stages that a taught run shares with the one it comes from."""


def teach_run(run: Run, names: tuple[str, ...], folder: Path) -> None:
    """Makes a run in `folder` that shares all of `run` but its finetuning, which is to teach `names` besides.

    Names that `run` was taught are taught again. Nothing is trained yet: the stage finetune of the new run is stale.

    Raises:
        ConcatError: the folder holds something, `run` has no generator yet, or a name was trained on or stands twice.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConcatError("The folder for the taught run is not empty.", file=folder, mend="Name another with --out.")
    recipe = taught_recipe(run.recipe, names)
    shared = [stage for stage in BEFORE if (run.folder / stage.folder / "manifest.json").exists()]
    if TRAIN_CAT not in shared:
        raise ConcatError(
            "This run has no generator yet, and without one nothing can be taught.",
            file=run.folder,
            mend=f"Run `concat train-cat --run {run.folder}` first.",
        )
    check_names(run, recipe)
    partial = folder.with_name(f".{folder.name}.partial")
    remove(partial)
    partial.mkdir(parents=True)
    for stage in shared:
        shutil.copytree(run.folder / stage.folder, partial / stage.folder, copy_function=_link_or_copy)
    write_recipe(partial / "recipe.toml", recipe)
    replace_folder(partial, folder)


def taught_recipe(recipe: Recipe, names: tuple[str, ...]) -> Recipe:
    """The recipe of a run that is taught `names` besides what its recipe teaches already."""
    finetune = recipe.finetune.model_copy(update={"taught": (*recipe.finetune.taught, *names)})
    return recipe.model_copy(update={"finetune": finetune})


def check_names(run: Run, recipe: Recipe) -> None:
    """Refuses names that cannot be taught before anything is copied.

    Raises:
        ConcatError: a name was trained on, stands twice, or the run has no text encoder for it.
    """
    seen = open_seen(output_path(run, SPLIT, "seen.json"))
    unseen = open_unseen(output_path(run, SPLIT, "unseen.json"), stage="finetune")
    taught = taught_vocabulary(recipe.finetune.taught, seen, unseen, unseen_too=recipe.finetune.unseen)
    new = Vocabulary(name=taught.name, categories=tuple(c for c in taught.categories if c.id not in unseen.ids))
    if not new.categories:
        return
    if recipe.clip.text_embeddings:
        raise ConcatError(
            f"This run was made from given text embeddings, so {new.names[0]!r} cannot be embedded and taught.",
            file=recipe.clip.text_embeddings,
            mend="Make a run with a text encoder (clip.model, clip.pretrained).",
        )
    check_context(load_clip(recipe.clip, torch.device("cpu")), new, recipe.clip.prompts)


def _link_or_copy(source: str, target: str) -> None:
    """A hard link where the file system allows: outputs are never written to again, only replaced."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

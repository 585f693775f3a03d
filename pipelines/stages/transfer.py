"""eval on another data set: the vocabulary is swapped, its names embedded as in precompute, and nothing is trained.

This is the open-vocabulary setting of CONCAT's table 5: a model of COCO-Stuff's seen names, scored on VOC, Context and
ADE20K. A name is unseen if training never met it, so that the increment is added to it in the inductive setting.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.base.errors import ConcatError
from pipelines.base.files import atomic_path
from pipelines.base.terms import Task
from pipelines.data.sets.locations import Location
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Stage, StageContext
from pipelines.stages.chain import eval_settings
from pipelines.stages.start import START
from pipelines.vocabularies.shipped import vocabulary_path
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary, open_seen


@dataclass(frozen=True)
class GivenText:
    """Text embeddings (.npy) and the names of their rows (.txt or .json)."""

    embeddings: Path
    names: Path


@dataclass(frozen=True)
class Target:
    """A data set to score a finished run on.

    Attributes:
        name: of the results' folder, `eval-NAME`.
        task: what is predicted; the form of the labels goes with it.
        where: its images and labels.
        vocabulary: shipped vocabulary or path of one's own.
        ignored: values of label maps that mean nothing.
        text: embeddings of its names, for a run that was made from given ones; None: CLIP embeds them.
    """

    name: str
    task: Task
    where: Location
    vocabulary: str
    ignored: tuple[int, ...] = (0, 255)
    text: GivenText | None = None


def transfer_stage(target: Target) -> Stage:
    """The stage that scores a run on `target`."""
    name = f"eval-{target.name}"
    return Stage(
        name=name,
        about=f"Score a finished run on {target.name}.",
        folder=name,
        version=2,
        work=partial(_execute, target),
        sources=lambda _: _sources(target),
        shared=True,
        knows_unseen_names=True,
        reads={
            "split-coco": ("seen.json", START),
            "train-con": ("model.safetensors",),
            "finetune": ("iterates",),
        },
        settings=partial(_settings, target),
    )


def _execute(target: Target, context: StageContext) -> None:
    from pipelines.clip.text import open_text  # torch, which to describe a stage must not wait for
    from pipelines.stages.evaluate import evaluate
    from pipelines.stages.images import labelled_images
    from pipelines.stages.lists import write_validation_list
    from pipelines.stages.text import text_store
    from pipelines.training.devices import make_fabric

    vocabulary = load_vocabulary(target.vocabulary)
    vocabulary = vocabulary.things if target.task == "instance" else vocabulary
    vocabulary = vocabulary.unseen_relative_to(open_seen(context.input("seen.json")))
    given = _given_text(context, target, vocabulary)
    context.cached["text"] = text_store(
        context, vocabulary, given, make_fabric(context.recipe.runtime, context.processes).device
    )
    text = open_text(context.cached["text"], vocabulary.names, stage=context.stage)
    listing = context.out / "list.json"
    if not listing.exists():
        write_validation_list(context, target.task, target.where, vocabulary, listing, ignored=target.ignored)
    data = labelled_images(target.task, target.where, listing, vocabulary)
    evaluate(context, target.task, data, vocabulary, text, listing)
    context.notes |= {"vocabulary": vocabulary.name, "names": len(vocabulary), "unseen": vocabulary.unseen.names}


def _given_text(context: StageContext, target: Target, vocabulary: Vocabulary) -> Path | None:
    """A file with the rows of the vocabulary's names; None where CLIP embeds them.

    Raises:
        ConcatError: the run knows no encoder and no embeddings are given.
    """
    if target.text is None:
        if context.recipe.clip.text_embeddings:
            raise ConcatError(
                "This run was made from given text embeddings, so other names cannot be embedded.",
                file=context.recipe.clip.text_embeddings,
                mend="Give theirs with --text-embeddings FILE.npy --text-names NAMES.txt.",
            )
        return None
    from pipelines.clip.text import given_embeddings

    path = context.out / "text.npy"
    rows = given_embeddings(target.text.embeddings, target.text.names, vocabulary)
    with atomic_path(path) as partial_path, open(partial_path, "wb") as file:
        np.save(file, rows.numpy())
    return path


def _sources(target: Target) -> dict[str, Path]:
    sources = target.where.pixels() | target.where.lists()
    sources["vocabulary"] = vocabulary_path(target.vocabulary)
    if target.text is not None:
        sources |= {"text embeddings": target.text.embeddings, "text names": target.text.names}
    return sources


def _settings(target: Target, recipe: Recipe) -> dict[str, Any]:
    return eval_settings(recipe) | {
        "task": target.task,
        "ignored": target.ignored,
        "clip": recipe.clip.that_matter(),
    }

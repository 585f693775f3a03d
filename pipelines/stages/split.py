"""split-coco: the seen-only training list, the validation list, the two halves of the vocabulary, counts and pictures.

The only stage before finetuning that knows the unseen categories: their ids decide which images are dropped (ZPS), their
names go into a file of their own.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.clip.text import given_embeddings
from pipelines.data.coco_panoptic import read_panoptic
from pipelines.data.dataset import PanopticFolder
from pipelines.data.locations import Locations
from pipelines.data.split import SplitResult, split_panoptic
from pipelines.files import atomic_path
from pipelines.panels import contact_sheet, overlay, save_png
from pipelines.recipe import Recipe
from pipelines.runner import Run, Stage, StageContext
from pipelines.segmentors.backbone import check_training_labels, read_origin
from pipelines.stages.render import locations_of
from pipelines.vocabulary import SHIPPED, Vocabulary, load_vocabulary, write_part

OVERLAYS = 12


def execute(context: StageContext) -> None:
    """Splits the data set of the recipe."""
    recipe, where, out = context.recipe, locations_of(context.run), context.out
    vocabulary = _vocabulary(recipe)
    segmentor = recipe.con.segmentor
    origin = read_origin(segmentor.backbone, segmentor.backbone_weights)
    check_training_labels(origin, unseen_names=vocabulary.unseen.names)
    write_part(out / "seen.json", vocabulary.seen)
    write_part(out / "unseen.json", vocabulary.unseen)
    if recipe.clip.text_embeddings:
        _split_text(recipe, vocabulary, out)
    if where.validates_on_training_images:
        context.reporter.say("no val2017 sibling and no --val-annotations: eval scores the given set itself")
    result = split_panoptic(where.annotations, out / "train.json", vocabulary=vocabulary)
    _write_val(where, vocabulary, out / "val.json")
    _write_counts(out / "counts.csv", vocabulary, result)
    _write_dropped(out / "dropped.csv", vocabulary, result)
    _write_overlay(out / "overlay_train.png", out / "train.json", where.images, where.png, vocabulary.seen)
    _write_overlay(out / "overlay_val.png", out / "val.json", where.val_images, where.val_png, vocabulary)
    context.notes |= {"images_kept": result.kept, "images_dropped": len(result.dropped), "backbone": origin.as_dict(),
                      "seen": len(vocabulary.seen), "unseen": len(vocabulary.unseen),
                      "validates_on_training_images": where.validates_on_training_images}
    context.reporter.say(f"kept {result.kept} training images, dropped {len(result.dropped)} with unseen pixels; "
                         f"look at {context.run.folder / 'split/overlay_train.png'}")


def _vocabulary(recipe: Recipe) -> Vocabulary:
    vocabulary = load_vocabulary(recipe.data.vocabulary)
    return vocabulary.with_unseen(recipe.data.unseen) if recipe.data.unseen else vocabulary

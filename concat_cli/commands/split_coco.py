"""split-coco: the first stage on COCO's data, which also writes the run's recipe."""

from typing import Annotated

import typer

from concat_cli.data_options import (
    AllowSeenUnseen,
    Annotations,
    Images,
    Labels,
    ProtocolOption,
    RecipeName,
    TextEmbeddings,
    TextNames,
    Unseen,
    ValAnnotations,
    ValImages,
    ValLabels,
    VocabularyName,
)
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, DryRun, Force, RunDir, Seed, Set
from concat_cli.preparation import prepare
from pipelines.base.terms import Task

RECIPES: dict[Task, str] = {"panoptic": "concat_zps", "semantic": "concat_zss", "instance": "concat_gzsi"}


@guarded
def split_coco(
    run: RunDir,
    task: Annotated[
        Task | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="panoptic (--annotations panoptic_*.json), semantic (--labels stuffthingmaps) or instance "
            "(--annotations instances_*.json).",
            show_default="the recipe's; panoptic",
        ),
    ] = None,
    images: Images = None,
    annotations: Annotations = None,
    labels: Labels = None,
    val_images: ValImages = None,
    val_annotations: ValAnnotations = None,
    val_labels: ValLabels = None,
    vocabulary: VocabularyName = None,
    unseen: Unseen = None,
    protocol: ProtocolOption = None,
    allow_seen_unseen: AllowSeenUnseen = False,
    text_embeddings: TextEmbeddings = None,
    text_names: TextNames = None,
    recipe: RecipeName = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    cache: Cache = None,
    force: Force = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Make the seen-only training list of COCO panoptic, COCO-Stuff or COCO instances; write counts and pictures.

    Folders may be zips, as published: --images train2017.zip --annotations panoptic_annotations_trainval2017.zip.
    """
    prepare(
        run,
        recipe=recipe,
        otherwise=RECIPES[task or "panoptic"],
        given={
            "data.images": images,
            "data.annotations": annotations,
            "data.labels": labels,
            "data.val_images": val_images,
            "data.val_annotations": val_annotations,
            "data.val_labels": val_labels,
            "clip.text_embeddings": text_embeddings,
            "clip.text_names": text_names,
            "task": task,
            "data.vocabulary": vocabulary,
            "data.protocol": protocol,
        },
        unseen=unseen,
        allow_seen_unseen=allow_seen_unseen,
        settings=settings,
        seed=seed,
        device=device,
        cache=cache,
        force=force,
        dry_run=dry_run,
    )

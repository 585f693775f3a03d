"""split-data: the first stage on data sets of label maps, published ones or one's own."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.completion import data_sets
from concat_cli.data_options import (
    AllowSeenUnseen,
    Images,
    Labels,
    Listing,
    ProtocolOption,
    RecipeName,
    Root,
    TextEmbeddings,
    TextNames,
    Unseen,
    ValImages,
    ValLabels,
    ValListing,
    VocabularyName,
)
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, DryRun, Force, RunDir, Seed, Set
from concat_cli.pixel_values import Ignore, pixel_values
from concat_cli.preparation import prepare
from pipelines.base.errors import ConcatError


@guarded
def split_data(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A published data set, or own: images, label maps and a vocabulary file.",
            autocompletion=data_sets,
        ),
    ],
    run: RunDir,
    root: Root = None,
    images: Images = None,
    labels: Labels = None,
    listing: Listing = None,
    val_images: ValImages = None,
    val_labels: ValLabels = None,
    val_listing: ValListing = None,
    vocabulary: VocabularyName = None,
    unseen: Unseen = None,
    ignore: Ignore = None,
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
    """Make the training list of VOC 2012 (15/5), Context 59 (49/10), COCO-Stuff (156/15) or your own label maps.

    ADE20K has no unseen split of its own: name one with --unseen, or evaluate on it with concat eval.

    Under zss, the default, images with unseen pixels stay and those pixels are ignored.
    """
    paths = {
        "data.images": images,
        "data.labels": labels,
        "data.listing": listing,
        "data.val_images": val_images,
        "data.val_labels": val_labels,
        "data.val_listing": val_listing,
    }
    ignored, shipped = None, None
    if root is not None:
        ignored, shipped, found = _found(name, root)
        paths = {key: given or found.get(key) for key, given in paths.items()}
    if name == "ade20k" and unseen is None:
        raise ConcatError(
            "ADE20K has no unseen split: it serves to evaluate models trained elsewhere.",
            mend="Use `concat eval --run DIR --dataset ade20k --root FOLDER`, or name unseen categories with --unseen.",
        )
    if name == "own" and vocabulary is None and recipe is None and not (run / "recipe.toml").exists():
        raise ConcatError(
            "Your own data need a vocabulary.",
            mend="Give --vocabulary FILE.toml with the id, name and isthing of every category.",
        )
    prepare(
        run,
        recipe=recipe,
        otherwise="concat_zss",
        given={
            **paths,
            "clip.text_embeddings": text_embeddings,
            "clip.text_names": text_names,
            "task": "semantic",
            "data.vocabulary": vocabulary or shipped,
            "data.protocol": protocol,
        },
        unseen=unseen,
        allow_seen_unseen=allow_seen_unseen,
        ignored=ignored if ignore is None else pixel_values(ignore),
        settings=settings,
        seed=seed,
        device=device,
        cache=cache,
        force=force,
        dry_run=dry_run,
    )


def _found(name: str, root: Path) -> tuple[tuple[int, ...], str, dict[str, Path]]:
    """Ignored values, vocabulary and places of a published data set below `root`."""
    from pipelines.data.sets.build import find_data_set

    if name == "own":
        raise ConcatError("--root is for published data sets.", mend="Give --images and --labels.")
    layout = find_data_set(name, root)
    train, val = layout.train or layout.val, layout.val
    places = {
        "data.images": train.images,
        "data.labels": train.labels,
        "data.listing": train.listing,
        "data.val_images": val.images,
        "data.val_labels": val.labels,
        "data.val_listing": val.listing,
    }
    return layout.ignored, layout.vocabulary, {key: path for key, path in places.items() if path is not None}

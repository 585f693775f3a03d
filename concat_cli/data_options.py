"""Options that say where images and labels lie and what their categories are, each described once."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.completion import recipes, vocabularies
from pipelines.base.terms import Protocol

ALLOWED = "data.allow_seen_unseen=true"
"""What --allow-seen-unseen says in a recipe."""

_Option = typer.Option
Root = Annotated[Path | None, _Option("--root", help="Folder of the data set as it is published (VOCdevkit, coco, …).")]
Images = Annotated[Path | None, _Option("--images", help="Folder or zip of the images.")]
Annotations = Annotated[
    Path | None,
    _Option(
        "--annotations",
        help="Their json: COCO-panoptic, its PNG folder beside it, or COCO-instances; the official zip will do.",
    ),
]
Labels = Annotated[
    Path | None, _Option("--labels", help="Folder or zip of their label maps, PNGs named as the images.")
]
Listing = Annotated[
    Path | None, _Option("--list", help="Text file that names the images, one a line.", show_default="all")
]
ValImages = Annotated[
    Path | None, _Option("--val-images", help="Validation images.", show_default="the val2017 sibling, else --images")
]
ValAnnotations = Annotated[
    Path | None,
    _Option("--val-annotations", help="Their json.", show_default="the val2017 sibling, else --annotations"),
]
ValLabels = Annotated[
    Path | None, _Option("--val-labels", help="Their label maps.", show_default="the val2017 sibling, else --labels")
]
ValListing = Annotated[
    Path | None, _Option("--val-list", help="Text file that names the validation images.", show_default="all")
]
VocabularyName = Annotated[
    str | None,
    _Option(
        "--vocabulary",
        help="Shipped vocabulary or a .toml/.json of one's own; of label maps, its ids are the pixel values.",
        show_default="the data's own",
        autocompletion=vocabularies,
    ),
]
Unseen = Annotated[
    str | None,
    _Option(
        "--unseen",
        help="Names of the unseen categories, comma-separated.",
        show_default="the vocabulary's own split",
    ),
]
ProtocolOption = Annotated[
    Protocol | None,
    _Option(
        "--protocol",
        help="zps drops training images with unseen pixels; zss keeps them and ignores those pixels.",
        show_default="zss for label maps, else zps",
    ),
]
AllowSeenUnseen = Annotated[
    bool,
    _Option(
        "--allow-seen-unseen",
        help="Start from weights that were taught unseen categories, or do not say what they were taught; results are "
        "then not zero-shot, and say so.",
    ),
]
TextEmbeddings = Annotated[
    Path | None,
    _Option("--text-embeddings", help="Given text embeddings (.npy) in place of a text encoder."),
]
TextNames = Annotated[Path | None, _Option("--text-names", help="Names of their rows (.txt or .json).")]
RecipeName = Annotated[
    str | None,
    _Option(
        "--recipe",
        help="Recipe to begin with.",
        show_default="the run's recipe.toml, else that of the task",
        autocompletion=recipes,
    ),
]

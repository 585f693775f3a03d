"""split-coco: the first stage, which also writes the run's recipe."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, Force, RunDir, Seed, Set
from concat_cli.runs import bring_up_to_date, open_run

File = typer.Option


@guarded
def split_coco(
    run: RunDir,
    images: Annotated[Path | None, File("--images", help="Folder of training images (train2017).")] = None,
    annotations: Annotated[
        Path | None,
        File("--annotations", help="COCO-panoptic json; its folder of PNGs lies beside it, named as the json."),
    ] = None,
    val_images: Annotated[
        Path | None,
        File("--val-images", help="Folder of validation images.", show_default="the val2017 sibling, else --images"),
    ] = None,
    val_annotations: Annotated[
        Path | None,
        File("--val-annotations", help="Their json.", show_default="the val2017 sibling, else --annotations"),
    ] = None,
    vocabulary: Annotated[
        str | None,
        File(
            "--vocabulary",
            help="Shipped vocabulary or a .toml/.json of one's own.",
            show_default="the recipe's; coco_panoptic, 119/14",
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        File(
            "--unseen",
            help="Names of the unseen categories, comma-separated.",
            show_default="the vocabulary's own split",
        ),
    ] = None,
    text_embeddings: Annotated[
        Path | None, File("--text-embeddings", help="Given text embeddings (.npy) in place of a text encoder.")
    ] = None,
    text_names: Annotated[Path | None, File("--text-names", help="Names of their rows (.txt or .json).")] = None,
    recipe: Annotated[
        str | None,
        File("--recipe", help="Recipe to begin with.", show_default="the run's recipe.toml, else concat_zps"),
    ] = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    cache: Cache = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Keep the training images without an unseen pixel; write lists, counts and pictures to check by eye."""
    given = {"images": images, "annotations": annotations, "val_images": val_images, "val_annotations": val_annotations}
    assignments = [f"data.{name}={_quoted(path.resolve())}" for name, path in given.items() if path is not None]
    if vocabulary is not None:
        assignments.append(f"data.vocabulary={_quoted(_vocabulary(vocabulary))}")
    if unseen is not None:
        names = ", ".join(_quoted(name.strip()) for name in unseen.split(",") if name.strip())
        assignments.append(f"data.unseen=[{names}]")
    for key, path in (("text_embeddings", text_embeddings), ("text_names", text_names)):
        if path is not None:
            assignments.append(f"clip.{key}={_quoted(path.resolve())}")
    begin = recipe or (None if (run / "recipe.toml").exists() else "concat_zps")
    opened = open_run(
        run, cache=cache, recipe=begin, settings=assignments + list(settings or []), seed=seed, device=device
    )
    bring_up_to_date(opened, "split-coco", force=force)


def _vocabulary(name_or_path: str) -> str:
    path = Path(name_or_path)
    return str(path.resolve()) if path.suffix else name_or_path


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

"""Where a recipe's images and labels lie."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Task
from pipelines.data.sets.settings import DataSettings, MicrococoSettings


@dataclass(frozen=True)
class Location:
    """Where one set of images lies; any path may be a zip or lead through one.

    Attributes:
        images: folder of images.
        annotations: json, COCO-panoptic or COCO-instances; None for the semantic task.
        labels: folder of panoptic PNGs or of label maps; None for the instance task.
        listing: text file that names the images, for the semantic task; None: all that have a label map.
    """

    images: Path
    annotations: Path | None = None
    labels: Path | None = None
    listing: Path | None = None

    def pixels(self, prefix: str = "") -> dict[str, Path]:
        """The folders of images and label PNGs, by name."""
        named = {"images": self.images, "labels": self.labels}
        return {f"{prefix}{name}": path for name, path in named.items() if path is not None}

    def lists(self, prefix: str = "") -> dict[str, Path]:
        """The files that say what the folders hold, by name."""
        named = {"annotations": self.annotations, "list": self.listing}
        return {f"{prefix}{name}": path for name, path in named.items() if path is not None}


@dataclass(frozen=True)
class Locations:
    """The training and the validation set of a recipe."""

    train: Location
    val: Location

    @property
    def validates_on_training_images(self) -> bool:
        """True when no validation set was given or found."""
        return self.val == self.train


def micrococo_folder(settings: MicrococoSettings, cache: Path, version: int) -> Path:
    """Where the scenes of these settings are kept, so that runs and seeds share them."""
    what = settings.model_dump(exclude={"render", "evaluate_on"}) | {"version": version}
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return cache / "micrococo" / key


def locate(data: DataSettings, task: Task, micrococo: Path) -> Locations:
    """The locations of a recipe; a val2017 sibling of a train2017 set is found by its name.

    Args:
        micrococo: folder of the rendered scenes, for a recipe that renders them.

    Raises:
        ConcatError: neither a data set nor micrococo is asked for.
    """
    if data.micrococo.render:
        return Locations(*(_rendered(micrococo, split, task) for split in ("train", data.micrococo.evaluate_on)))
    labels = data.labels if task == "semantic" else data.annotations
    if not data.images or not labels:
        wanted = "--labels FOLDER" if task == "semantic" else "--annotations JSON"
        raise ConcatError(
            "The recipe names no data set.", mend=f"Give --images FOLDER and {wanted} to `concat split-coco`."
        )
    train = location(task, Path(data.images), *map(_path, (data.annotations, data.labels, data.listing)))
    val = _val2017(task, train) or train
    if data.names_validation_set:
        val = location(
            task,
            _path(data.val_images) or val.images,
            _path(data.val_annotations) or val.annotations,
            _path(data.val_labels) or val.labels,
            _path(data.val_listing),
        )
    return Locations(train, val)


def _rendered(root: Path, split: str, task: Task) -> Location:
    name = f"{split}2017"
    if task == "panoptic":
        return location(task, root / name, root / f"annotations/panoptic_{name}.json", None)
    return Location(
        images=root / name,
        annotations=root / f"annotations/instances_{name}.json" if task == "instance" else None,
        labels=root / f"stuffthingmaps/{name}" if task == "semantic" else None,
    )


def location(
    task: Task, images: Path, annotations: Path | None, labels: Path | None, listing: Path | None = None
) -> Location:
    """What was given for one set of images, completed by what lies beside it.

    Raises:
        ConcatError: the labels of the task are missing.
    """
    if task == "semantic":
        if labels is None:
            raise ConcatError("The folder of label maps is not given.", file=images, mend="Give it with --labels.")
        return Location(images, labels=labels, listing=listing)
    if annotations is None:
        raise ConcatError("The json of the images is not given.", file=images, mend="Give it with --annotations.")
    annotations = _inside(annotations, images)
    return Location(images, annotations, png_folder(annotations) if task == "panoptic" else None)


def png_folder(annotations: Path) -> Path:
    """The folder of panoptic PNGs beside a json and named like it, or its zip where it was not unpacked."""
    folder, archive = annotations.with_suffix(""), annotations.with_suffix(".zip")
    if folder.exists():
        return folder
    from pipelines.data.files.archives import exists  # a path through a zip

    return archive if not exists(folder) and exists(archive) else folder


def _inside(annotations: Path, images: Path) -> Path:
    """The json that a bare `panoptic_annotations_trainval2017.zip` means, told by the name of the images."""
    if annotations.suffix != ".zip":
        return annotations
    return annotations / "annotations" / f"panoptic_{images.stem}.json"


def _val2017(task: Task, train: Location) -> Location | None:
    """The sibling of a train2017 set; one part without the others is no validation set."""
    given = {"images": train.images} | train.lists() | (train.pixels() if task == "semantic" else {})
    found = {name: path.with_name(path.name.replace("train2017", "val2017")) for name, path in given.items()}
    from pipelines.data.files.archives import exists

    if not all(exists(path) for path in found.values()):
        return None
    return location(task, found["images"], *(found.get(name) for name in ("annotations", "labels", "list")))


def _path(setting: str) -> Path | None:
    return Path(setting) if setting else None

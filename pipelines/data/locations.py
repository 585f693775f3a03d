"""Where a recipe's images and annotations lie."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConcatError
from pipelines.recipe import DataSettings, MicrococoSettings


@dataclass(frozen=True)
class Locations:
    """Folders of images, their COCO-panoptic json, and the PNG folder that lies beside each json."""

    images: Path
    annotations: Path
    val_images: Path
    val_annotations: Path

    @property
    def png(self) -> Path:
        """Panoptic PNGs of the training images."""
        return self.annotations.with_suffix("")

    @property
    def val_png(self) -> Path:
        """Panoptic PNGs of the validation images."""
        return self.val_annotations.with_suffix("")

    @property
    def validates_on_training_images(self) -> bool:
        """True when no validation set was given or found."""
        return self.val_annotations == self.annotations


def micrococo_folder(settings: MicrococoSettings, cache: Path, version: int) -> Path:
    """Where the scenes of these settings are kept, so that runs and seeds share them."""
    what = settings.model_dump(exclude={"render", "evaluate_on"}) | {"version": version}
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return cache / "micrococo" / key


def locate(data: DataSettings, micrococo: Path) -> Locations:
    """The locations of a recipe; a val2017 sibling of a train2017 set is found by its name.

    Args:
        micrococo: folder of the rendered scenes, for a recipe that renders them.

    Raises:
        ConcatError: neither a data set nor micrococo is asked for.
    """
    if data.micrococo.render:
        split = data.micrococo.evaluate_on
        return Locations(
            micrococo / "train2017",
            micrococo / "annotations/panoptic_train2017.json",
            micrococo / f"{split}2017",
            micrococo / f"annotations/panoptic_{split}2017.json",
        )
    if not data.images or not data.annotations:
        raise ConcatError(
            "The recipe names no data set.", mend="Give --images FOLDER and --annotations JSON to `concat split-coco`."
        )
    images, annotations = Path(data.images), Path(data.annotations)
    val_images, val_annotations = (
        path.with_name(path.name.replace("train2017", "val2017")) for path in (images, annotations)
    )
    if not (val_images.exists() and val_annotations.exists()):  # one without the other is no validation set
        val_images, val_annotations = images, annotations
    return Locations(
        images,
        annotations,
        Path(data.val_images) if data.val_images else val_images,
        Path(data.val_annotations) if data.val_annotations else val_annotations,
    )

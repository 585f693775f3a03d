"""Where a recipe's images and labels lie."""

from typing import Literal

from pipelines.base.settings import Settings, name_or_path, path, section, setting
from pipelines.base.terms import Protocol


class MicrococoSettings(Settings):
    """The embedded world, rendered into the cache before the split."""

    render: bool = setting(False, "Render micrococo and use it as the data set.")
    train: int = setting(6000, "Training scenes (images).", ge=1)
    val: int = setting(400, "Validation scenes (images).", ge=1)
    tune: int = setting(400, "Scenes of the tuning split (images), on which settings may be chosen.", ge=1)
    size: int = setting(96, "Side of a scene (px).", ge=64)
    seed: int = setting(0, "Seed of the scenes.", ge=0)
    evaluate_on: Literal["val", "tune"] = setting("val", "Split that `eval` scores.")


class DataSettings(Settings):
    """Where images and labels lie, which categories are unseen, and what becomes of their pixels.

    The recipe's task says what labels are: a COCO-panoptic json with PNGs, label maps, or a COCO-instances json. A zip
    stands for the folder it holds, and a path may lead through one.
    """

    images: str = path("Folder or zip of training images.")
    annotations: str = path("Json of the training images (panoptic: its PNG folder lies beside it).")
    labels: str = path("Folder or zip of the training images' label maps (semantic).")
    listing: str = path("Text file that names the training images, one a line (semantic); empty: all.")
    val_images: str = path("Validation images; empty: the val2017 sibling, else the training set.")
    val_annotations: str = path("Their json; empty: the val2017 sibling.")
    val_labels: str = path("Their label maps; empty: the val2017 sibling, else those of training.")
    val_listing: str = path("Text file that names the validation images; empty: all.")
    vocabulary: str = name_or_path("coco_panoptic", "Shipped vocabulary or path of one's own (.toml, .json).")
    unseen: tuple[str, ...] = setting((), "Names of the unseen categories; empty: the vocabulary's own split.")
    ignored: tuple[int, ...] = setting((0, 255), "Values of label maps that mean nothing, unless they are categories.")
    protocol: Protocol = setting(
        "zps", "zps drops training images with unseen pixels; zss keeps them and ignores those pixels."
    )
    allow_seen_unseen: bool = setting(
        False,
        "Start from weights that were taught unseen categories, or do not say what they were taught; "
        "results are then not zero-shot, and say so.",
    )
    micrococo: MicrococoSettings = section(MicrococoSettings)

    @property
    def names_validation_set(self) -> bool:
        """Whether a validation set is given, even if it is the training set."""
        return bool(self.val_images or self.val_annotations or self.val_labels or self.val_listing)

"""Where a whole segmentor's weights come from, and what they were taught."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.base.errors import ConcatError
from pipelines.base.files import sha256
from pipelines.segmentors.foreign.backbones import remark_on
from pipelines.segmentors.foreign.formats import classes_of, recognised
from pipelines.segmentors.foreign.hub import hub_folder
from pipelines.segmentors.foreign.read import Held, read_held
from pipelines.segmentors.origin import BackboneOrigin, check_timm_tag, read_origin, read_record
from pipelines.segmentors.settings import SegmentorSettings
from pipelines.segmentors.weights_file import RANDOM, segmentor_weights_path


class SegmentorOrigin(BaseModel):
    """What a manifest says of a segmentor's weights.

    Attributes:
        weights: the setting: a path, or a name of the hub.
        format: whose names they have, in words.
        origin: what they were trained on, in words; `unrecorded` where the file does not say.
        training_labels: names of the categories they were trained to tell apart; None where not listed.
        classes: how many categories their class head tells apart; None: they come without.
        sha256: of the file, if it is one.
        remark: what a user should know of such weights.
    """

    model_config = ConfigDict(frozen=True)

    weights: str
    format: str
    origin: str
    training_labels: tuple[str, ...] | None = None
    classes: int | None = None
    sha256: str | None = None
    remark: str = ""

    @property
    def subject(self) -> str:
        """In words."""
        classes = f" of {self.classes} classes" if self.training_labels is None and self.classes else ""
        return f"The segmentor{classes}"

    @property
    def silent(self) -> bool:
        """Whether its labels must be known and are not: it was taught masks of some categories."""
        return self.training_labels is None

    @property
    def path(self) -> Path | None:
        """The weights' file or folder; None: they are of the hub."""
        return segmentor_weights_path(self.weights)


def origin_of(settings: SegmentorSettings) -> BackboneOrigin | SegmentorOrigin:
    """The origin of what a segmentor starts from: its own weights, or those of its backbone.

    Raises:
        ConcatError: a file is missing, damaged, or of another architecture.
        ProtocolError: it is a CLIP image tower, or `imagenet` would bring more than ImageNet-1k.
    """
    if not settings.weights:
        return read_origin(settings.backbone, settings.backbone_weights)
    check_timm_tag(settings.backbone, RANDOM)
    held = read_segmentor_file(settings.weights, names_only=True)
    layout, record = recognised(held), read_record(held)
    path = segmentor_weights_path(settings.weights)
    return SegmentorOrigin(
        weights=settings.weights,
        format=layout.name,
        origin=record.origin,
        training_labels=record.training_labels,
        classes=classes_of(held, layout),
        sha256=sha256(path) if path is not None and path.is_file() else None,
        remark=remark_on(held),
    )


def read_segmentor_file(weights: str, *, names_only: bool = False) -> Held:
    """What the setting `weights` stands for.

    Raises:
        ConcatError: it is missing, or cannot be had from the hub.
        CorruptFileError: it is damaged, or asks for more than arrays.
    """
    path = segmentor_weights_path(weights) or hub_folder(weights)
    if not path.exists():
        raise ConcatError(
            "Weights of the segmentor not found.",
            file=path,
            mend="con.segmentor.weights is the path of a file or folder, a name of the Hugging Face hub, or empty.",
        )
    return read_held(path, names_only=names_only)

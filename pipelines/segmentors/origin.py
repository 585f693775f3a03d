"""Where a backbone's weights come from, and the guard against weights that already know unseen categories.

Zero-shot results mean nothing if the backbone was taught the unseen categories. CLIP image towers (which saw everything
with its caption) and weights whose recorded training labels include an unseen category are refused; ImageNet-1k
classification, the papers' start, is allowed and recorded.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.base.files import sha256
from pipelines.segmentors.foreign.backbones import beside, prefix_of, remark_on
from pipelines.segmentors.foreign.read import Held, read_held
from pipelines.segmentors.imagenet_labels import are_imagenet_1k
from pipelines.segmentors.training_labels import IMAGENET_ORIGIN, check_training_labels
from pipelines.segmentors.weights_file import IMAGENET, RANDOM, weights_path

__all__ = ["IMAGENET_ORIGIN", "BackboneOrigin", "check_training_labels", "read_origin", "read_weights"]

UNRECORDED = "unrecorded"

# Names and tags of image-text pretraining, as timm and others spell them.
_CLIP = re.compile(r"clip|siglip|openai|laion|webli|datacomp|dfn\d|merged2b|cc12m|yfcc15m|pali|_mci", re.IGNORECASE)
# ImageNet-1k fine-tuning of something else, or labels beyond the thousand classes.
_BEYOND_IMAGENET_1K = re.compile(r"(^|_)ft_|in12k|in2[12]k|jft|_ig|yfcc|lvd|bamboo|seer|swag")
_CLIP_KEYS = (
    "visual.", "vision_model.", "text_model.", "text.", "transformer.resblocks.", "token_embedding.", "text_projection",
    "visual_projection", "logit_scale", "attnpool.", "attn_pool.", "clip_model.",
)  # fmt: skip


class BackboneOrigin(BaseModel):
    """What a manifest says of a backbone.

    Attributes:
        name: timm name.
        weights: the setting: `imagenet`, `micrococo`, `none` or a path.
        origin: what the weights were trained on, in words; `unrecorded` where the file does not say.
        training_labels: names of the categories they were trained to tell apart; None where not listed.
        sha256: of the weights file, if it is one.
        beside: a name in the file that shows it to be of more than a classifier, such as a segmentor.
        remark: what a user should know of such weights.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    weights: str
    origin: str
    training_labels: tuple[str, ...] | None = None
    sha256: str | None = None
    beside: str | None = None
    remark: str = ""

    @property
    def subject(self) -> str:
        """In words."""
        return "The backbone"

    @property
    def silent(self) -> bool:
        """Whether its labels must be known and are not: it was part of a network that was taught masks or boxes."""
        return self.training_labels is None and self.beside is not None

    @property
    def path(self) -> Path | None:
        """The weights file, if it is one."""
        return weights_path(self.weights)


class WeightsMetadata(BaseModel):
    """The record inside a weights file (safetensors metadata; lists as JSON text).

    Attributes:
        origin: what the weights were trained on, in words.
        architecture: timm name.
        training_labels: names of the categories they tell apart.
        image_mean, image_std: of the three channels in [0, 1], that images are normalised with.
    """

    model_config = ConfigDict(frozen=True)

    origin: str = UNRECORDED
    architecture: str | None = None
    training_labels: tuple[str, ...] | None = None
    image_mean: tuple[float, float, float] | None = None
    image_std: tuple[float, float, float] | None = None


def read_origin(name: str, weights: str) -> BackboneOrigin:
    """The origin of a backbone's weights, without building it.

    Raises:
        ConcatError: the file is missing, damaged or of another architecture.
        ProtocolError: the weights come from a CLIP image tower, or `imagenet` would bring more than ImageNet-1k.
    """
    check_timm_tag(name, weights)
    path = weights_path(weights)
    if path is None:
        return _origin_without_file(name, weights)
    held = read_held(_there(path), names_only=True)
    metadata = _checked(name, held)
    return BackboneOrigin(
        name=name,
        weights=weights,
        origin=metadata.origin,
        training_labels=metadata.training_labels,
        sha256=sha256(path) if path.is_file() else None,
        beside=beside(held.shapes),
        remark=remark_on(held),
    )


def _origin_without_file(name: str, weights: str) -> BackboneOrigin:
    if weights == RANDOM:
        return BackboneOrigin(name=name, weights=weights, origin="random initialisation", training_labels=())
    config = _timm_config(name)
    source = config.hf_hub_id or config.url
    return BackboneOrigin(name=name, weights=weights, origin=f"{IMAGENET_ORIGIN} (timm, {source})")


def check_timm_tag(name: str, weights: str) -> None:
    """Refuses a CLIP architecture by name and, for `imagenet`, a tag that is not ImageNet-1k classification alone.

    Raises:
        ConcatError: timm has no pretrained weights of that name.
        ProtocolError: see above.
    """
    mend = "Choose an ordinary backbone, such as resnet50 or resnet101c."
    if _CLIP.search(name):
        raise ProtocolError(f"The backbone {name!r} is a CLIP image tower.", mend=mend)
    if weights != IMAGENET:
        return
    config = _timm_config(name)
    if config is None or not config.has_weights:
        raise ConcatError(f"timm has no pretrained weights of a backbone {name!r}.", mend=mend)
    tag = config.tag or ""
    if _CLIP.search(tag):
        raise ProtocolError(f"The weights {name}.{tag} come from a CLIP image tower.", mend=mend)
    if "in1k" not in tag or _BEYOND_IMAGENET_1K.search(tag):
        raise ProtocolError(f"The weights {name}.{tag} are not of ImageNet-1k classification alone.", mend=mend)


def _timm_config(name: str) -> Any:
    import timm

    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:  # a known architecture with an unknown tag
        return None


def read_weights(name: str, path: Path) -> tuple[Held, WeightsMetadata]:
    """What a weights file for the backbone `name` holds, and its record.

    Raises:
        ConcatError: the file is missing, damaged or of another architecture.
        ProtocolError: it holds a CLIP image tower.
    """
    held = read_held(_there(path))
    return held, _checked(name, held)


def _there(path: Path) -> Path:
    if not path.exists():
        raise ConcatError(
            "Backbone weights not found.",
            file=path,
            mend="con.segmentor.backbone_weights is imagenet, micrococo, none or the path of a state dict.",
        )
    return path


def read_record(held: Held) -> WeightsMetadata:
    """The record of a file, whatever its format keeps it in.

    Raises:
        CorruptFileError: it is damaged.
        ProtocolError: it, or a name in the file, is that of a CLIP image tower.
    """
    metadata = _parse(held.record, held.path)
    if metadata.training_labels is None and held.labels is not None:
        origin = IMAGENET_ORIGIN if are_imagenet_1k(held.labels) else metadata.origin
        metadata = metadata.model_copy(update={"training_labels": held.labels, "origin": origin})
    clip_key = _clip_key(held.shapes)
    if clip_key or _CLIP.search(metadata.origin) or _CLIP.search(metadata.architecture or ""):
        sign = f"it holds {clip_key!r}" if clip_key else f"its record says {metadata.origin!r}"
        raise ProtocolError(f"The weights come from a CLIP image tower: {sign}.", file=held.path)
    return metadata


def _clip_key(names: Iterable[str]) -> str | None:
    names = list(names)
    prefix = prefix_of(names)
    return next(
        (n for n in names if n.removeprefix("module.").removeprefix(prefix).startswith(_CLIP_KEYS)),
        None,
    )


def _checked(name: str, held: Held) -> WeightsMetadata:
    metadata = read_record(held)
    if metadata.architecture and metadata.architecture.partition(".")[0] != name.partition(".")[0]:
        raise ConcatError(
            f"The weights are of {metadata.architecture!r}, not of {name!r}.",
            file=held.path,
            mend=f"Set con.segmentor.backbone={metadata.architecture}.",
        )
    return metadata


def _parse(record: Mapping[str, str], path: Path) -> WeightsMetadata:
    fields: dict[str, Any] = {key: record[key] for key in WeightsMetadata.model_fields if key in record}
    try:
        for key in fields.keys() & {"training_labels", "image_mean", "image_std"}:
            fields[key] = json.loads(fields[key])
        return WeightsMetadata.model_validate(fields)
    except ValueError as error:
        raise CorruptFileError(
            f"The record inside the weights is damaged: {str(error).splitlines()[0]}", file=path
        ) from None

"""Where a backbone's weights come from, and the guard against weights that already know unseen categories.

Zero-shot results mean nothing if the backbone was taught the unseen categories. CLIP image towers (which saw everything
with its caption) and weights whose recorded training labels include an unseen category are refused; ImageNet-1k
classification, the papers' start, is allowed and recorded.
"""

import json
import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.base.files import sha256
from pipelines.segmentors.weights_file import IMAGENET, RANDOM, weights_path
from pipelines.vocabularies.vocabulary import clean_name

IMAGENET_ORIGIN = "ImageNet-1k classification"
UNRECORDED = "unrecorded"

if TYPE_CHECKING:
    from torch import Tensor

# Names and tags of image-text pretraining, as timm and others spell them.
_CLIP = re.compile(r"clip|siglip|openai|laion|webli|datacomp|dfn\d|merged2b|cc12m|yfcc15m|pali|_mci", re.IGNORECASE)
# ImageNet-1k fine-tuning of something else, or labels beyond the thousand classes.
_BEYOND_IMAGENET_1K = re.compile(r"(^|_)ft_|in12k|in2[12]k|jft|_ig|yfcc|lvd|bamboo|seer|swag")
_CLIP_KEYS = (
    "visual.", "vision_model.", "text_model.", "text.", "transformer.resblocks.", "token_embedding.", "text_projection",
    "visual_projection", "logit_scale", "attnpool.", "attn_pool.",
)  # fmt: skip


class BackboneOrigin(BaseModel):
    """What a manifest says of a backbone.

    Attributes:
        name: timm name.
        weights: the setting: `imagenet`, `micrococo`, `none` or a path.
        origin: what the weights were trained on, in words; `unrecorded` where the file does not say.
        training_labels: names of the categories they were trained to tell apart; None where not listed.
        sha256: of the weights file, if it is one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    weights: str
    origin: str
    training_labels: tuple[str, ...] | None = None
    sha256: str | None = None

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
    keys, record = _safetensors_record(path) if path.suffix == ".safetensors" else _read_pickle(_there(path))
    metadata = _checked(name, path, keys, record)
    return BackboneOrigin(
        name=name,
        weights=weights,
        origin=metadata.origin,
        training_labels=metadata.training_labels,
        sha256=sha256(path),
    )


def _origin_without_file(name: str, weights: str) -> BackboneOrigin:
    if weights == RANDOM:
        return BackboneOrigin(name=name, weights=weights, origin="random initialisation", training_labels=())
    config = _timm_config(name)
    source = config.hf_hub_id or config.url
    return BackboneOrigin(name=name, weights=weights, origin=f"{IMAGENET_ORIGIN} (timm, {source})")


def check_training_labels(
    origin: BackboneOrigin, *, seen_names: Iterable[str] | None = None, unseen_names: Iterable[str] | None = None
) -> None:
    """Refuses a backbone whose recorded training labels go beyond the seen categories.

    A stage that may know unseen names passes them; one that may not passes the seen names alone, and then every label
    must be among these. A record of exactly "ImageNet-1k classification", and weights without recorded labels, pass.
    Names are compared as spoken, without case.

    Raises:
        ProtocolError: a label is an unseen category, or no seen one.
    """
    if origin.training_labels is None or origin.origin == IMAGENET_ORIGIN:
        return
    unseen = {_spoken(name) for name in unseen_names or ()}
    seen = None if seen_names is None else {_spoken(name) for name in seen_names}
    for label in origin.training_labels:
        if _spoken(label) in unseen or (seen is not None and _spoken(label) not in seen):
            what = "an unseen category" if _spoken(label) in unseen else "no seen category"
            raise ProtocolError(
                f"The backbone was trained on the label {label!r}, which is {what} of this vocabulary.",
                file=origin.path,
                mend="Use weights trained on seen categories or ImageNet-1k, or con.segmentor.backbone_weights=none.",
            )


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


def read_weights(name: str, path: Path) -> tuple[dict[str, "Tensor"], WeightsMetadata]:
    """The state dict and the record of a weights file for the backbone `name`.

    Raises:
        ConcatError: the file is missing, damaged or of another architecture.
        ProtocolError: it holds a CLIP image tower.
    """
    state, record = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(_there(path))
    return state, _checked(name, path, state, record)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ConcatError(
            "Backbone weights not found.",
            file=path,
            mend="con.segmentor.backbone_weights is imagenet, micrococo, none or the path of a state dict.",
        )
    return path


def _checked(name: str, path: Path, keys: Iterable[str], record: dict[str, str]) -> WeightsMetadata:
    metadata = _parse(record, path)
    clip_key = next((key for key in keys if key.removeprefix("module.").startswith(_CLIP_KEYS)), None)
    if clip_key or _CLIP.search(metadata.origin) or _CLIP.search(metadata.architecture or ""):
        sign = f"it holds {clip_key!r}" if clip_key else f"its record says {metadata.origin!r}"
        raise ProtocolError(f"The weights come from a CLIP image tower: {sign}.", file=path)
    if metadata.architecture and metadata.architecture.partition(".")[0] != name.partition(".")[0]:
        raise ConcatError(
            f"The weights are of {metadata.architecture!r}, not of {name!r}.",
            file=path,
            mend=f"Set con.segmentor.backbone={metadata.architecture}.",
        )
    return metadata


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    try:
        with safe_open(_there(path), framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"Not a safetensors file: {error}.", file=path) from None


def _safetensors_record(path: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the tensors and the record, without a tensor."""
    with _opened(path, "np") as file:
        return list(file.keys()), file.metadata() or {}


def _read_safetensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    with _opened(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _read_pickle(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    import torch

    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError):
        raise CorruptFileError(
            "Not a state dict that can be read safely.", file=path, mend="Save it as safetensors."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
    if not isinstance(value, dict) or not all(isinstance(item, torch.Tensor) for item in value.values()):
        raise CorruptFileError("Not a state dict.", file=path)
    return value, {}


def _parse(record: dict[str, str], path: Path) -> WeightsMetadata:
    fields: dict[str, Any] = {key: record[key] for key in WeightsMetadata.model_fields if key in record}
    try:
        for key in fields.keys() & {"training_labels", "image_mean", "image_std"}:
            fields[key] = json.loads(fields[key])
        return WeightsMetadata.model_validate(fields)
    except ValueError as error:
        raise CorruptFileError(
            f"The record inside the weights is damaged: {str(error).splitlines()[0]}", file=path
        ) from None


def _spoken(name: str) -> str:
    return clean_name(name).casefold()

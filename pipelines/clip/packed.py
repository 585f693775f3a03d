"""CLIP's text tower alone, as plain values and tensors that can travel without the image tower."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.clip.encoder import ClipModel, build_network
from pipelines.clip.weights import ClipSource

_IMAGE_TOWER = "visual."


@dataclass(frozen=True)
class PackedText:
    """A text tower.

    Attributes:
        origin: of the whole CLIP, as `ClipModel.describe` gives it.
        tensors: the weights of all but the image tower.
    """

    origin: dict[str, Any]
    tensors: dict[str, Tensor]


def pack_text(clip: ClipModel) -> PackedText:
    """The text tower of a CLIP.

    Raises:
        ConcatError: its tokenizer or tower is not open_clip's own, and would have to be fetched from the hub.
    """
    text = clip.origin["config"]["text_cfg"]
    if "hf_model_name" in text or "hf_tokenizer_name" in text:
        raise ConcatError(
            f"The text encoder of {clip.origin['model']} needs files of the Hugging Face hub, so it cannot be packed.",
            mend="Export without --with-clip; typed names then need this CLIP on the other machine.",
        )
    state = clip.network.state_dict()
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items() if not k.startswith(_IMAGE_TOWER)}
    return PackedText(clip.describe(), tensors)


def unpack_text(packed: PackedText, device: torch.device, *, file: Path) -> ClipModel:
    """A CLIP that embeds texts, and has no image tower.

    Raises:
        CorruptFileError: the tensors are not those of the model that `origin` describes; `file` is named.
    """
    origin = packed.origin
    network, tokenize = build_network(ClipSource(None, origin["config"], {}, None))
    network.visual = nn.Identity()
    try:
        network.load_state_dict(packed.tensors)
    except RuntimeError as error:
        raise CorruptFileError(f"Not the text encoder of {origin['model']}: {error}", file=file) from None
    preprocess = PreprocessCfg(**origin["preprocessing"])
    red, green, blue = (round(255 * value) for value in preprocess.mean)
    return ClipModel(
        network=network.eval().requires_grad_(False).to(device),
        tokenize=tokenize,
        dim=int(origin["config"]["embed_dim"]),
        preprocess=image_transform_v2(preprocess, is_train=False),
        mean_colour=(red, green, blue),
        origin={key: value for key, value in origin.items() if key not in ("precision", "fingerprint")},
        precision=origin["precision"],
        device=device,
    )

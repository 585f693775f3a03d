"""Which files the settings of weights stand for; no torch, so that a run's inputs can be told quickly."""

import re
from pathlib import Path

IMAGENET, MICROCOCO, RANDOM = "imagenet", "micrococo", "none"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SUFFIXES = (".pkl", ".pth", ".pt", ".bin", ".safetensors")
MICRO_BACKBONE = Path(__file__).parents[1] / "micrococo/weights/micrococo-backbone.safetensors"


def weights_path(weights: str) -> Path | None:
    """The file that the setting `backbone_weights` stands for, if it stands for one."""
    return {IMAGENET: None, RANDOM: None, MICROCOCO: MICRO_BACKBONE}.get(weights, Path(weights))


def segmentor_weights_path(weights: str) -> Path | None:
    """The file or folder that the setting `weights` stands for; None for a name of the hub, and where it is empty."""
    path = Path(weights)
    named = _HUB_NAME.fullmatch(weights) and path.suffix not in _SUFFIXES and not path.exists()
    return None if not weights or named else path


def starting_files(backbone_weights: str, weights: str) -> dict[str, Path]:
    """The files that a segmentor starts from, by what they are; a whole segmentor brings its backbone."""
    name, path = (
        ("segmentor", segmentor_weights_path(weights)) if weights else ("backbone", weights_path(backbone_weights))
    )
    return {} if path is None else {name: path}

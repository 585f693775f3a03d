"""Which file the setting `backbone_weights` stands for; no torch, so that a run's inputs can be told quickly."""

from pathlib import Path

IMAGENET, MICROCOCO, RANDOM = "imagenet", "micrococo", "none"
MICRO_BACKBONE = Path(__file__).parents[1] / "micrococo/weights/micrococo-backbone.safetensors"


def weights_path(weights: str) -> Path | None:
    """The file that the setting `backbone_weights` stands for, if it stands for one."""
    return {IMAGENET: None, RANDOM: None, MICROCOCO: MICRO_BACKBONE}.get(weights, Path(weights))

"""Which files the settings of CLIP stand for; no torch, so that a run's inputs can be told quickly."""

from pathlib import Path

from pipelines.clip.settings import ClipSettings

_MICRO = Path(__file__).parents[1] / "micrococo/weights"
MICRO_CONFIG, MICRO_WEIGHTS = _MICRO / "micrococo-clip.json", _MICRO / "micrococo-clip.safetensors"


def model_files(clip: ClipSettings) -> dict[str, Path]:
    """Config and weights, where they are files, by name."""
    if clip.model == "micrococo":
        return {"clip config": MICRO_CONFIG, "clip weights": MICRO_WEIGHTS}
    named = {"clip config": clip.model, "clip weights": clip.pretrained}
    return {name: Path(value) for name, value in named.items() if Path(value).suffix}

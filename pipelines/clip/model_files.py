"""Which files the settings of CLIP stand for; no torch, so that a run's inputs can be told quickly."""

from importlib.util import find_spec
from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.files import read_json
from pipelines.clip.settings import ClipSettings

_MICRO = Path(__file__).parents[1] / "micrococo/weights"
MICRO_CONFIG, MICRO_WEIGHTS = _MICRO / "micrococo-clip.json", _MICRO / "micrococo-clip.safetensors"


def model_files(clip: ClipSettings) -> dict[str, Path]:
    """Config and weights, where they are files, by name."""
    if clip.model == "micrococo":
        return {"clip config": MICRO_CONFIG, "clip weights": MICRO_WEIGHTS}
    named = {"clip config": clip.model, "clip weights": clip.pretrained}
    return {name: Path(value) for name, value in named.items() if Path(value).suffix}


def embedding_dim(clip: ClipSettings) -> int | None:
    """C, as the model's config says it; None where there is no such config, as `load_clip` will say."""
    try:
        config = read_json(_config(clip))
        return int(config.get("model_cfg", config)["embed_dim"])
    except (ConcatError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _config(clip: ClipSettings) -> Path:
    if clip.model == "micrococo":
        return MICRO_CONFIG
    if clip.model.endswith(".json"):
        return Path(clip.model)
    package = find_spec("open_clip")  # to import it for its configs would import torch
    assert package is not None  # a dependency
    assert package.origin is not None
    return Path(package.origin).parent / f"model_configs/{clip.model.replace('/', '-')}.json"

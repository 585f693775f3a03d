"""What training the tiny CLIP leaves: config, weights, and how well they name segments."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from pipelines.base.files import atomic_path, write_json
from pipelines.micrococo.clip_accuracy import (
    CONFIG,
    MODEL_NAME,
    Table,
    accuracy_table,
    check_views,
    open_micro_clip,
    text_cosines,
)
from pipelines.micrococo.clip_settings import MicroClipSettings
from pipelines.micrococo.clip_token_table import TokenTable


def save_weights(model: nn.Module, tokens: TokenTable, settings: MicroClipSettings, out: Path) -> None:
    """Write every weight as float16 (open_clip loads them as float32), the logit scale capped, and the config."""
    state = dict(model.state_dict())
    state["token_embedding.weight"] = tokens.whole_table(state["token_embedding.weight"])
    state["logit_scale"] = state["logit_scale"].clamp(max=float(np.log(settings.logit_scale_cap)))
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    contiguous = {name: value.contiguous() for name, value in halves.items()}
    with atomic_path(out / f"{MODEL_NAME}.safetensors") as path:
        save_file(
            contiguous, path, metadata={"format": "pt"}
        )  # one key: with more, their order in the file is by chance
    if out.resolve() != CONFIG.parent.resolve():
        (out / CONFIG.name).write_bytes(CONFIG.read_bytes())


def measure(settings: MicroClipSettings, out: Path, *, seconds: float) -> Table:
    """Measure the weights in `out` on all check scenes and write the accuracy file beside them."""
    clip = open_micro_clip(out / f"{MODEL_NAME}.safetensors")
    table = accuracy_table(clip, check_views(clip, scenes=settings.check_scenes, seed=settings.seed))
    cosines = text_cosines(clip)
    record = {
        "accuracy": table,
        "text_cosine": {"max": round(cosines.max().item(), 4), "mean": round(cosines.mean().item(), 4)},
        "settings": asdict(settings),
        "samples": settings.iterations * (settings.whole_scenes + settings.full_frames + settings.crops),
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    write_json(out / f"{MODEL_NAME}.accuracy.json", record, indent=2)
    return table

"""Which widths and depths foreign weights have, as settings of a segmentor."""

import re
from collections.abc import Mapping
from typing import Final

from pipelines.segmentors.foreign.layout import PIXELS, TRANSFORMER

_WIDTHS: Final = {
    "hidden_dim": (f"{TRANSFORMER}.queries_embedder.weight", 1),
    "queries": (f"{TRANSFORMER}.queries_embedder.weight", 0),
    "feedforward_dim": (f"{TRANSFORMER}.decoder.layers.0.fc1.weight", 0),
    "encoder_feedforward_dim": (f"{PIXELS}.encoder.layers.0.fc1.weight", 0),
}
_DEPTHS: Final = {
    "decoder_layers": re.compile(rf"{re.escape(TRANSFORMER)}\.decoder\.layers\.(\d+)\."),
    "encoder_layers": re.compile(rf"{re.escape(PIXELS)}\.encoder\.layers\.(\d+)\."),
}


def sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The settings that weights imply.

    Args:
        shapes: name, as transformers' files have it → shape.
    """
    found = {name: shapes[key][axis] for name, (key, axis) in _WIDTHS.items() if key in shapes}
    for name, pattern in _DEPTHS.items():
        layers = {int(match[1]) for match in map(pattern.match, shapes) if match}
        if layers:
            found[name] = max(layers) + 1
    return found


def different(there: Mapping[str, tuple[int, ...]], here: Mapping[str, tuple[int, ...]]) -> str:
    """What to set so that our segmentor has the sizes of the file; empty where these sizes agree."""
    ours = sizes(here)
    return " ".join(
        f"--set con.segmentor.{name}={size}" for name, size in sizes(there).items() if ours.get(name, size) != size
    )

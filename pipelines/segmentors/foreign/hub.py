"""Weights of the Hugging Face hub, from its cache or the network."""

from pathlib import Path
from typing import Final

from pipelines.base.errors import ConcatError
from pipelines.segmentors.foreign.read import FOLDER_FILES

_ABOUT: Final = ("config.json", "preprocessor_config.json")


def hub_folder(name: str) -> Path:
    """The folder of a model's files.

    Args:
        name: owner/model.

    Raises:
        ConcatError: they are not here and cannot be had.
    """
    safe, pickled = FOLDER_FILES
    folder = _brought(name, [*_ABOUT, "model*.safetensors", f"{safe}.index.json"])
    if any(folder.glob("*.safetensors")):
        return folder
    return _brought(name, [*_ABOUT, "pytorch_model*.bin", f"{pickled}.index.json"])


def _brought(name: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # hub, proxy, cache and file errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConcatError(
            f"The weights {name!r} could not be had from the hub: {reason}",
            mend=f"Bring {', '.join(_ABOUT)} and {FOLDER_FILES[0]} (with its index, if it is in parts; or "
            f"{FOLDER_FILES[1]}) of {name} into a folder, and set con.segmentor.weights to it.",
        ) from error

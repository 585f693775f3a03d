"""Weights as safetensors: written atomically, loaded strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import atomic_path

_MEND: Final = "Run the stage that wrote it again with --force."


def save_weights(path: Path, module: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Writes a module's state dict as it is, in full precision."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(state, partial, metadata={"format": "pt", **(metadata or {})})
        partial.chmod(0o644)  # safetensors makes files that only their owner can read


def load_weights(path: Path, module: nn.Module, prefix: str = "") -> None:
    """Loads the tensors below `prefix` into a module; every one must fit.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is damaged, or its tensors are not this module's.
    """
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise ConcatError("Weights not found.", file=path, mend=_MEND) from None
    except SafetensorError as error:
        raise _refusal(error, path) from None
    fit_weights(state, module, file=path, prefix=prefix)


def fit_weights(state: Mapping[str, Tensor], module: nn.Module, *, file: Path, prefix: str = "") -> None:
    """Puts the tensors below `prefix`, which were read from `file`, into a module.

    Raises:
        CorruptFileError: they are not exactly this module's.
    """
    try:
        module.load_state_dict({k.removeprefix(prefix): tensor for k, tensor in state.items() if k.startswith(prefix)})
    except RuntimeError as error:
        raise _refusal(error, file) from None


def _refusal(error: Exception, file: Path) -> CorruptFileError:
    detail = " ".join(str(error).strip().splitlines()[:2])
    return CorruptFileError(f"Not the weights of this model: {detail}", file=file, mend=_MEND)

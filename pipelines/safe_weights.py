"""Weights as safetensors: written atomically, loaded strictly."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.errors import ConcatError, CorruptFileError
from pipelines.files import atomic_path


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
    mend = "Run the stage that wrote it again with --force."
    try:
        state = load_file(path)
        module.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        )
    except FileNotFoundError:
        raise ConcatError("Weights not found.", file=path, mend=mend) from None
    except (SafetensorError, RuntimeError) as error:
        detail = str(error).strip().splitlines()
        raise CorruptFileError(f"Not the weights of this model: {' '.join(detail[:2])}", file=path, mend=mend) from None

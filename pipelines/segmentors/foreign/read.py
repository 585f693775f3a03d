"""From a file or folder of weights to arrays by name, and what it says of itself; the format is told by the content."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError, safe_open

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import read_json
from pipelines.segmentors.foreign.pickles import read_pickle

if TYPE_CHECKING:
    from torch import Tensor

FOLDER_FILES: Final = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS: Final = ("state_dict", "model", "model_state", "blobs")
_UNNAMED: Final = re.compile(r"LABEL_\d+")  # how transformers calls labels that nobody named


@dataclass(frozen=True)
class Held:
    """What a file or folder of weights holds.

    Attributes:
        path: as it was given.
        shapes: name → shape, of every array.
        arrays: name → NumPy array or tensor; empty where only the names were asked for.
        record: the metadata of a safetensors file.
        labels: names of the categories that the weights tell apart, where a format's own record lists them.
        author: who converted the file (Detectron2's `__author__`).
        config: the configuration in a file of MMDetection, as text.
        preprocessing: transformers' preprocessor_config.json.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    arrays: Mapping[str, Any]
    record: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    author: str = ""
    config: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> dict[str, "Tensor"]:
        """The arrays as tensors.

        Raises:
            CorruptFileError: one holds no numbers.
        """
        return {name: _tensor(name, value, self.path) for name, value in self.arrays.items()}


def read_held(path: Path, *, names_only: bool = False) -> Held:
    """Reads safetensors, whole or in parts, files of torch and pickles of arrays.

    Args:
        path: a file, or a folder as transformers writes it.
        names_only: leave the arrays of safetensors unread.

    Raises:
        ConcatError: a file is missing, or the folder holds no weights.
        CorruptFileError: it is damaged, no state dict, or a pickle that asks for more than arrays.
    """
    if path.is_dir():
        held = _of_parts(path, _weights_in(path), names_only)
    elif _is_safetensors(path):
        held = _of_safetensors(path, [path], names_only)
    else:
        held = _of_pickle(path, read_pickle(path))
    return _with_configuration(held, path if path.is_dir() else path.parent, path)


def _weights_in(folder: Path) -> Path:
    for name in FOLDER_FILES:
        for file in (folder / name, folder / f"{name}.index.json"):
            if file.is_file():
                return file
    raise ConcatError(
        "The folder holds no weights.", file=folder, mend=f"It needs {' or '.join(FOLDER_FILES)}, whole or in parts."
    )


def _of_parts(folder: Path, file: Path, names_only: bool) -> Held:
    """A whole file, or all the parts that an index names."""
    parts = [file] if file.suffix != ".json" else [_there(folder / name) for name in _parts_of(file)]
    if all(_is_safetensors(part) for part in parts):
        return _of_safetensors(folder, parts, names_only)
    arrays: dict[str, Any] = {}
    for part in parts:
        arrays |= _of_pickle(part, read_pickle(part)).arrays
    return Held(folder, _shapes(arrays), arrays)


def _parts_of(index: Path) -> list[str]:
    value = read_json(index)
    names = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(names, dict) or not all(isinstance(n, str) and Path(n).name == n for n in names.values()):
        raise CorruptFileError("Not an index of weights: it must name files beside it.", file=index)
    return sorted(set(names.values()))


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ConcatError("A part of the weights is missing.", file=path, mend="Bring it, or all files anew.")
    return path


def _is_safetensors(path: Path) -> bool:
    """By its suffix, or by how such a file begins: the size of its header, and the header."""
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"Not a safetensors file: {error}.", file=path) from None


def _of_safetensors(path: Path, parts: list[Path], names_only: bool) -> Held:
    shapes: dict[str, tuple[int, ...]] = {}
    arrays: dict[str, Any] = {}
    record: dict[str, str] = {}
    for part in parts:
        with _opened(part) as file:
            record |= file.metadata() or {}
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if not names_only:
            arrays |= _tensors_of(part)
    return Held(path, shapes, arrays, record)


def _tensors_of(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file  # NumPy has no bfloat16

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"Not a safetensors file: {error}.", file=path) from None


def _of_pickle(path: Path, value: Any) -> Held:
    whole = value if isinstance(value, dict) else {}
    for wrapper in _WRAPPERS:
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
    if isinstance(value, dict):
        value = {name: array for name, array in value.items() if not str(name).endswith("_momentum")}
    if not isinstance(value, dict) or not value or not all(_is_array(n, array) for n, array in value.items()):
        raise CorruptFileError("Not a state dict.", file=path)
    if all(name.startswith("module.") for name in value):
        value = {name.removeprefix("module."): array for name, array in value.items()}
    found = whole.get("meta")
    meta: dict[str, Any] = found if isinstance(found, dict) else {}
    return Held(
        path,
        _shapes(value),
        value,
        labels=_labels_of(meta),
        author=str(whole.get("__author__", "")),
        config=next((text for text in (meta.get("cfg"), meta.get("config")) if isinstance(text, str)), ""),
    )


def _is_array(name: Any, value: Any) -> bool:
    return isinstance(name, str) and hasattr(value, "shape") and hasattr(value, "dtype")


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _labels_of(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The classes that OpenMMLab's files record, in either of the places that its versions write them to."""
    inner = meta.get("dataset_meta")
    for place in (inner if isinstance(inner, dict) else {}, meta):
        for key in ("classes", "CLASSES"):
            found = place.get(key)
            if isinstance(found, (list, tuple)) and found and all(isinstance(name, str) for name in found):
                return tuple(found)
    return None


def _with_configuration(held: Held, folder: Path, path: Path) -> Held:
    """Adds what transformers' two files beside the weights say, where weights of that name lie beside them."""
    if not path.is_dir() and path.name not in FOLDER_FILES:
        return held
    config, preprocessing = (
        read_json(file) if file.is_file() else {}
        for file in (folder / "config.json", folder / "preprocessor_config.json")
    )
    names = config.get("id2label") if isinstance(config, dict) else None
    labels = held.labels
    if isinstance(names, dict) and names and not all(_UNNAMED.fullmatch(str(name)) for name in names.values()):
        labels = tuple(str(name) for name in names.values())
    return replace(held, labels=labels, preprocessing=preprocessing if isinstance(preprocessing, dict) else {})


def _tensor(name: str, value: Any, path: Path) -> "Tensor":
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach()
    try:
        return torch.from_numpy(np.array(value))  # a copy: what was unpickled may not be writable
    except TypeError:
        raise CorruptFileError(f"{name!r} holds no numbers.", file=path) from None

"""Pickles of arrays and tensors, read without running what they ask for.

A pickle names functions that its reader calls. Here only those are known that make arrays, tensors and ordered dicts;
any other name ends the reading.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.base.errors import CorruptFileError

_MEND: Final = "Get the weights anew from who made them, or have them saved as safetensors."
_TORCH_MAGIC: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # of torch.save before 1.6
_MULTIARRAY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
# What damaged bytes may raise in a reader of pickles.
_DAMAGE: Final = (
    pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    ImportError, RuntimeError, MemoryError, OverflowError, AssertionError, zipfile.BadZipFile,
)  # fmt: skip


class _RefusedError(pickle.UnpicklingError):
    """The pickle asks for something that is no array."""


class _Known:
    """A function that a pickle may call, and cannot change: a pickle may also state attributes of what it was given."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _RefusedError(f"the pickle asks for {name} to be changed")


class Ignored:
    """Stands in for an object that has nothing to do with weights; whatever it is made of is dropped."""

    def __new__(cls, *_: Any) -> "Ignored":
        """Takes anything."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Drops it."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds, be it of `torch.save` or of `pickle.dump`.

    Raises:
        CorruptFileError: it is damaged, or asks for anything but arrays, tensors and plain containers.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(_TORCH_MAGIC))
            if head == _TORCH_MAGIC or head.startswith(b"PK"):
                return _read_torch(path)
            file.seek(0)
            return _Unpickler(file, encoding="latin1").load()
    except _DAMAGE as error:
        raise _told(error, path) from None


def _told(error: Exception, path: Path) -> CorruptFileError:
    found = re.search(r"(?:GLOBAL|asks for|reduce for unrecognized function) (\S+)", str(error))
    asked = found and found[1].rstrip(".")
    if asked:
        return CorruptFileError(
            f"Not a state dict that can be read safely: the pickle asks for {asked}, which was not run.",
            file=path,
            mend=_MEND,
        )
    return CorruptFileError("Not a state dict that can be read safely: no pickle of arrays.", file=path, mend=_MEND)


class _Unpickler(pickle.Unpickler):
    """Knows what makes arrays, tensors and ordered dicts."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for.

        Raises:
            UnpicklingError: nothing that is known.
        """
        names = _torch_names() if module.startswith("torch") else _NUMPY
        known = names.get((module, name))
        if known is None:
            raise _RefusedError(f"the pickle asks for {module}.{name}")
        return known if isinstance(known, type) else _Known(known)

    def persistent_load(self, pid: Any) -> Any:
        """Refuses objects that lie outside the pickle."""
        raise _RefusedError(f"the pickle asks for {type(pid).__name__} outside itself")


def _array(*_: Any) -> np.ndarray[Any, Any]:
    """An empty array, which its state then fills."""
    return np.ndarray((0,), np.int8)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError("the pickle asks for a scalar of no number")
    return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, dtype)[0]


def _of_buffer(buffer: Any, dtype: Any, shape: Any, order: str, axes: Any = None) -> np.ndarray[Any, Any]:
    """How the fifth protocol spells an array."""
    array = np.frombuffer(buffer, dtype)
    return (
        array.reshape(shape, order="F" if order == "F" else "C")
        if axes is None
        else array.reshape(shape).transpose(axes)
    )


def _no_bytes(*content: Any) -> bytes:
    """How the second protocol spells an empty array's content."""
    if content:
        raise _RefusedError("the pickle asks for builtins.bytes")
    return b""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How the second protocol spells bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"the pickle asks for encoding {encoding}")
    return text.encode("latin1")


_NUMPY: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
    **{(module, "_frombuffer"): _of_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
    **{(module, "_reconstruct"): _array for module in _MULTIARRAY},
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
}


def _torch_names() -> dict[tuple[str, str], Callable[..., Any]]:
    """What `pickle.dump` calls for a tensor; its storage is a file of torch.save within the pickle."""
    import torch

    def storage(content: bytes) -> Any:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    return {
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch.storage", "_load_from_bytes"): storage,
        ("torch", "Size"): torch.Size,
    }


def _read_torch(path: Path) -> Any:
    import torch

    with _mm_stand_ins():
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _mm_stand_ins() -> Iterator[None]:
    """Lets torch pass over the loss histories that mmengine keeps beside weights.

    They are objects of numpy arrays, and of methods, which are spelled as `getattr(HistoryBuffer, name)`: this is the
    one `getattr` that is answered, and with nothing.
    """
    import torch

    def method(owner: Any, *_: Any) -> None:
        if owner is not Ignored:
            raise _RefusedError("the pickle asks for builtins.getattr")

    numbers = [getattr(np.dtypes, name) for name in ("Float32DType", "Float64DType", "Int32DType", "Int64DType")]
    known = [
        (Ignored, "mmengine.logging.history_buffer.HistoryBuffer"),
        (method, "builtins.getattr"),
        *((function, f"{module}.{name}") for (module, name), function in _NUMPY.items() if "multiarray" in module),
        np.ndarray,
        np.dtype,
        *numbers,
    ]
    with torch.serialization.safe_globals(known):
        yield

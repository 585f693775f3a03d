"""No pickle runs code: what makes arrays is known, everything else is refused by name and left alone."""

import builtins
import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from pipelines.base.errors import CorruptFileError
from pipelines.segmentors.foreign import pickles
from pipelines.segmentors.foreign.pickles import read_pickle


class Planted:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def marked(folder):
    """A command that leaves a file behind."""
    return f"touch {folder / 'ran'}"


PAYLOADS = {
    "os.system": lambda folder: Planted(os.system, marked(folder)),
    "eval": lambda folder: Planted(eval, f"open({str(folder / 'ran')!r}, 'w')"),
    "exec": lambda folder: Planted(exec, f"open({str(folder / 'ran')!r}, 'w')"),
    "getattr": lambda folder: Planted(getattr, "text", "upper"),
    "import": lambda folder: Planted(builtins.__import__, "os"),
    "torch.load": lambda folder: Planted(torch.load, str(folder / "other.pth")),
    "open": lambda folder: Planted(open, str(folder / "ran"), "w"),
    "Counter": lambda folder: Planted(collections.Counter, "abc"),
    "numpy.load": lambda folder: Planted(np.load, str(folder / "x.npy")),
    "partial": lambda folder: Planted(__import__("functools").partial, print),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("payload", list(PAYLOADS))
def test_planted_calls_in_a_plain_pickle_are_refused(tmp_path, payload, protocol):
    path = tmp_path / "weights.pkl"
    content = {"model": {"conv1.weight": np.zeros(3)}, "more": PAYLOADS[payload](tmp_path)}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    _refused(path, payload)


@pytest.mark.parametrize("payload", [name for name in PAYLOADS if name != "Counter"])  # torch knows what a Counter is
@pytest.mark.parametrize("zipped", [True, False])
def test_planted_calls_in_a_file_of_torch_are_refused(tmp_path, payload, zipped):
    path = tmp_path / "weights.pth"
    content = {"model": {"conv1.weight": torch.zeros(3)}, "more": PAYLOADS[payload](tmp_path)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    _refused(path, payload)


def _refused(path, payload):
    with pytest.raises(CorruptFileError, match="was not run") as error:
        read_pickle(path)
    assert error.value.file == path
    assert "safetensors" in error.value.mend
    assert not (path.parent / "ran").exists()
    assert payload.rpartition(".")[2] in error.value.message or payload in ("open", "import", "numpy.load")


def test_a_planted_call_behind_a_tensors_storage_is_refused(tmp_path):
    inner = io.BytesIO()
    torch.save(Planted(os.system, marked(tmp_path)), inner)
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(Planted(torch.storage._load_from_bytes, inner.getvalue())))
    _refused(path, "system")


def test_objects_outside_the_pickle_are_refused(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"Psomething\n.")
    with pytest.raises(CorruptFileError, match="was not run"):
        read_pickle(path)


def test_a_name_that_leads_through_a_known_module_is_refused(tmp_path):
    for module, name in (("collections", "abc"), ("numpy", "load"), ("torch", "load"), ("numpy", "core.os.system")):
        path = tmp_path / "weights.pkl"
        path.write_bytes(pickle.PROTO + b"\x04" + _text(module) + _text(name) + b"\x93.")
        with pytest.raises(CorruptFileError, match="was not run"):
            read_pickle(path)


def _text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def test_a_pickle_cannot_change_what_reads_it(tmp_path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    for module, name in (("torch._utils", "_rebuild_tensor_v2"), ("_codecs", "encode"), ("numpy", "dtype")):
        for state in (b"N}" + _text("__defaults__") + b")s\x86b.", b"}" + _text("planted") + b"K\x01sb."):
            path = tmp_path / "weights.pkl"
            path.write_bytes(pickle.PROTO + b"\x04" + _text(module) + _text(name) + b"\x93" + state)
            with pytest.raises(CorruptFileError):
                read_pickle(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before
    assert not hasattr(pickles._encode, "planted")


ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "float16": np.ones((2,), np.float16),
    "int64": np.array([[1], [2]]),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "nothing": np.zeros((0, 3), np.float32),
    "scalar": np.float32(2.5),
    "zero-dimensional": np.array(7),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_numbers_and_tensors_come_back_as_they_were(tmp_path, protocol):
    tensors = {
        "t": torch.arange(6.0).reshape(2, 3).t(),
        "p": torch.nn.Parameter(torch.ones(2)),
        "h": torch.ones(2).half(),
    }
    content = collections.OrderedDict(
        {**ARRAYS, **tensors, "shape": torch.Size([2]), "list": [1, 2.5, "x", None, b"y"]}
    )
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_pickle(path)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert found["list"] == content["list"]


def test_pickles_of_python_2_are_read(tmp_path):
    # {'conv1_w': array([1., 2.], dtype=float32)}, as the second Python wrote it: text and bytes are one.
    content = (
        b"\x80\x02}q\x00U\x07conv1_wq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b"
        b"\x87Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff"
        b"\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tbs."
    )
    (tmp_path / "R-50.pkl").write_bytes(content)
    assert read_pickle(tmp_path / "R-50.pkl")["conv1_w"].tolist() == [1.0, 2.0]


class HistoryBuffer:
    """As mmengine's: arrays, and methods of its own class."""

    def __init__(self):
        self.log = np.arange(3.0)
        self.count = np.arange(3)

    def mean(self):
        return self.log.mean()

    def __getstate__(self):
        return {**self.__dict__, "statistics_methods": {"mean": HistoryBuffer.mean}, "last": np.float64(2.0)}


@pytest.fixture
def mmengine(monkeypatch):
    """Pickles the class above as mmengine's, which need not be installed to read it."""
    import sys
    import types

    name = "mmengine.logging.history_buffer"
    for part in ("mmengine", "mmengine.logging", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setattr(HistoryBuffer, "__module__", name)
    monkeypatch.setattr(HistoryBuffer.mean, "__module__", name, raising=False)
    sys.modules[name].HistoryBuffer = HistoryBuffer
    return sys.modules


def test_the_loss_histories_of_mmengine_are_passed_over(tmp_path, mmengine, monkeypatch):
    path = tmp_path / "epoch_50.pth"
    torch.save({"state_dict": {"a": torch.ones(2)}, "message_hub": {"log_scalars": {"loss": HistoryBuffer()}}}, path)
    with zipfile.ZipFile(path) as archive:
        assert b"getattr" in next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl"))
    for name in [n for n in mmengine if n.startswith("mmengine")]:
        monkeypatch.delitem(mmengine, name)
    found = read_pickle(path)
    assert torch.equal(found["state_dict"]["a"], torch.ones(2))
    assert isinstance(found["message_hub"]["log_scalars"]["loss"], pickles.Ignored)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04broken", b"\x80\x04.", pickle.dumps({"a": 1})[:-3]])
def test_damaged_files_are_told(tmp_path, content):
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises(CorruptFileError):
        read_pickle(tmp_path / "w.pkl")


def test_a_truncated_array_is_told(tmp_path):
    whole = pickle.dumps({"model": {"a": np.arange(1000.0)}})
    for size in (len(whole) // 3, len(whole) - 1):
        (tmp_path / "w.pkl").write_bytes(whole[:size])
        with pytest.raises(CorruptFileError):
            read_pickle(tmp_path / "w.pkl")

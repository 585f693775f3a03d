"""Folders and zips give the same files; zips within zips; what is damaged, unsafe or missing is one clear error."""

import contextlib
import hashlib
import io
import multiprocessing
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.files import archives
from pipelines.data.files.archives import Files, ZipFolder, exists, on_disk, open_files, read_bytes

CONTENT = {
    "a.png": b"first" * 300,
    "b/c.png": random.Random(0).randbytes((1 << 20) + 999),  # longer than a piece
    "b/empty": b"",
}
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def zipped(content: Mapping[str, bytes], kind: int = DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out.getvalue()


def below(folder: str, content: Mapping[str, bytes] = CONTENT) -> dict[str, bytes]:
    return {f"{folder}/": b""} | {f"{folder}/{name}": data for name, data in content.items()}


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _folder(root: Path) -> Path:
    for name, data in CONTENT.items():
        _write(root / "images" / name, data)
    return root / "images"


def _linked(root: Path) -> Path:
    folder = _folder(root)
    (root / "link").symlink_to(folder)
    (folder / "b/back").symlink_to(folder)  # a circle
    return root / "link"


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": _folder,
    "linked folder": _linked,
    "zip": lambda root: _write(root / "x.zip", zipped(CONTENT)),
    "stored zip": lambda root: _write(root / "x.zip", zipped(CONTENT, STORED)),
    "zip behind other bytes": lambda root: _write(root / "x.zip", b"#!program\n" + zipped(CONTENT)),
    "zip with one top folder": lambda root: _write(root / "x.zip", zipped(below("train2017"))),
    "zip of a Mac": lambda root: _write(root / "x.zip", zipped(below("t") | {"__MACOSX/t/._a.png": b"?"})),
    "folder in a zip": lambda root: _write(root / "x.zip", zipped(below("t") | {"other": b"o"})) / "t",
    "zip stored in a zip": lambda root: (
        _write(root / "x.zip", zipped({"notes": b"n", "in/y.zip": zipped(below("y"))}, STORED)) / "in/y.zip"
    ),
    "zip deflated in a zip": lambda root: (
        _write(root / "x.zip", zipped({"notes": b"n", "in/y.zip": zipped(below("y"))})) / "in/y.zip"
    ),
    "folder in zips in a zip": lambda root: (
        _write(root / "x.zip", zipped({"y.zip": zipped({"z.zip": zipped(below("z") | {"o": b""})})})) / "y.zip/z.zip/z"
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("in_memory", [True, False])
def test_every_layout_gives_the_same_files(
    layout: str, in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST_IN_MEMORY", 1 << 30 if in_memory else 0)
    monkeypatch.setenv("CONCAT_CACHE", str(tmp_path / "cache"))
    path = LAYOUTS[layout](tmp_path / "data")
    before = sorted((tmp_path / "data").rglob("*"))
    files = open_files(path)
    assert files.path == path
    assert files.names() == sorted(CONTENT)
    assert {name: files.read(name) for name in files.names()} == CONTENT
    assert files.read("./b//c.png") == CONTENT["b/c.png"]
    assert "b/c.png" in files
    assert "b" not in files
    assert "c.png" not in files
    with pytest.raises(ConcatError, match=r"Image not found") as error:
        files.read("b/none.jpg", "Image")
    assert error.value.file == path / "b/none.jpg"
    assert (exists(path), exists(path / "b/none.jpg")) == (True, False)
    assert sorted((tmp_path / "data").rglob("*")) == before  # nothing is unpacked beside the data


@pytest.mark.parametrize("layout", ["folder", "zip deflated in a zip", "stored zip"])
def test_a_file_and_its_way_on_disk_are_found_through_zips(layout: str, tmp_path: Path) -> None:
    path = LAYOUTS[layout](tmp_path)
    inside = path / "y" if layout == "zip deflated in a zip" else path
    assert read_bytes(inside / "b/c.png") == CONTENT["b/c.png"]
    assert exists(inside / "b/c.png")
    assert on_disk(inside / "b/c.png") == (path / "b/c.png" if layout == "folder" else tmp_path / "x.zip")
    assert on_disk(tmp_path / "none/at/all") == tmp_path / "none/at/all"
    with pytest.raises(ConcatError, match="Annotations not found"):
        read_bytes(inside / "none", what="Annotations")


def test_a_list_may_name_the_top_folder_of_its_zip(tmp_path: Path) -> None:
    files = open_files(_write(tmp_path / "x.zip", zipped(below("train2017"))))
    assert files.read("train2017/a.png") == files.read("a.png") == CONTENT["a.png"]


@pytest.mark.parametrize("layout", ["folder", "zip", "zip with one top folder"])
def test_the_fingerprint_tells_other_files(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    path = LAYOUTS[layout](first)
    known = open_files(path).fingerprint()
    assert known == open_files(path).fingerprint()
    if layout != "folder":  # a copy of a zip is the same, whenever it was written
        assert known == open_files(LAYOUTS[layout](again)).fingerprint()
    monkeypatch.setitem(CONTENT, "a.png", b"other" * 300)
    assert known != open_files(LAYOUTS[layout](other)).fingerprint()


# --- copies of zips in zips ---


@pytest.fixture
def nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(archives, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setenv("CONCAT_CACHE", str(tmp_path / "cache"))
    return LAYOUTS["zip deflated in a zip"](tmp_path)


def _copy(root: Path) -> Path:
    [copy] = (root / "cache/archives").glob("*.zip")
    return copy


def test_a_large_zip_in_a_zip_is_copied_to_the_cache_once(nested: Path, tmp_path: Path) -> None:
    open_files(nested)
    made = _copy(tmp_path).stat()
    assert open_files(nested).names() == sorted(CONTENT)
    assert _copy(tmp_path).stat() == made
    _write(tmp_path / "x.zip", zipped({"in/y.zip": zipped(below("y", {"new": b"n"}))}))
    assert open_files(nested).names() == ["new"]  # another zip of that name has a copy of its own


def test_the_cache_can_be_chosen(nested: Path, tmp_path: Path) -> None:
    assert open_files(nested, tmp_path / "other").names() == sorted(CONTENT)
    assert read_bytes(nested / "y/a.png", tmp_path / "other") == CONTENT["a.png"]
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "other/archives").is_dir()


def test_a_cut_copy_is_made_again_and_a_damaged_one_is_named(nested: Path, tmp_path: Path) -> None:
    open_files(nested)
    copy = _copy(tmp_path)
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-100])
    assert open_files(nested).read("a.png") == CONTENT["a.png"]
    place = len(whole) // 2
    copy.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(CorruptFileError, match=r"b/c\.png") as error:
        open_files(nested).read("b/c.png")
    assert str(copy) in str(error.value.mend)


def test_a_zip_in_a_zip_that_is_damaged_leaves_no_copy(nested: Path, tmp_path: Path) -> None:
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[len(data) // 2] ^= 1
    _write(tmp_path / "x.zip", bytes(data))
    with pytest.raises(CorruptFileError, match=r"in/y\.zip"):
        open_files(nested)
    assert not list((tmp_path / "cache/archives").glob("*.zip"))


def test_a_cache_that_cannot_be_written_is_one_message(nested: Path, tmp_path: Path) -> None:
    _write(tmp_path / "cache", b"a file in its place")
    with pytest.raises(ConcatError, match="cannot be copied to the cache"):
        open_files(nested)


# --- many readers at once ---


@pytest.mark.parametrize("layout", ["zip", "zip stored in a zip", "zip deflated in a zip", "folder"])
def test_threads_and_forked_processes_read_the_same(layout: str, tmp_path: Path) -> None:
    files = open_files(LAYOUTS[layout](tmp_path))
    names = files.names() * 8
    wanted = [hashlib.sha256(CONTENT[name]).digest() for name in names]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_digest, [files] * len(names), names)) == wanted
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_send, args=(files, names, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get() for _ in workers] == [wanted, wanted]
    for worker in workers:
        worker.join()
    assert pickle.loads(pickle.dumps(files)).read("a.png") == CONTENT["a.png"]  # as spawned processes get it


def _digest(files: Files, name: str) -> bytes:
    return hashlib.sha256(files.read(name)).digest()


def _send(files: Files, names: list[str], queue: "multiprocessing.SimpleQueue[list[bytes]]") -> None:
    queue.put([_digest(files, name) for name in names])


# --- unsafe and damaged ---


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../../b", "C:/b", "C:b", "..\\b", "\\\\host\\b", "a\\b.png", "b/.."]
)
def test_names_that_climb_out_are_refused_wherever_they_stand(name: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.zip", zipped({"fine": b"1", name: b"2"}))
    with pytest.raises(CorruptFileError, match=r"leads out of its folder|backslash") as error:
        open_files(path)
    assert error.value.file == path
    assert error.value.mend
    for files in (open_files(_folder(tmp_path)), open_files(LAYOUTS["stored zip"](tmp_path))):
        for use in (files.read, files.__contains__):
            with pytest.raises(CorruptFileError, match=r"leads out of its folder|backslash"):
                use(name)


def _patched(data: bytes, name: bytes, field: int, value: bytes) -> bytes:
    """Changes a field of a central directory entry, at its offset within the entry."""
    entry = data.rindex(b"PK\1\2", 0, data.rindex(name))
    return data[: entry + field] + value + data[entry + field + len(value) :]


FLAGS, METHOD, SIZE = 8, 10, 24
BOMB = zipped({"a.png": bytes(20 << 20)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Not a zip archive"),
        (b"no zip at all" * 100, "Not a zip archive"),
        (zipped(CONTENT)[:-30], "truncated or damaged"),
        (zipped(CONTENT)[: 1 << 20], "truncated or damaged"),
        (zipped({}), "holds no file"),
        (zipped({"a/": b""}), "holds no file"),
        (_patched(zipped(CONTENT), b"a.png", FLAGS, b"\1\0"), "'a.png' in this archive is encrypted"),
        (zipped(CONTENT, zipfile.ZIP_BZIP2), "compressed with method 12"),
        (_patched(zipped(CONTENT), b"a.png", METHOD, b"\0\0"), "'a.png' in this archive .*size or checksum"),
        (_patched(zipped(CONTENT), b"a.png", SIZE, struct.pack("<I", 1499)), "holds more bytes than it says"),
        (_patched(zipped(CONTENT), b"a.png", SIZE, struct.pack("<I", 1501)), "size or checksum differ"),
        (_patched(zipped(CONTENT), b"a.png", SIZE, struct.pack("<I", 3 << 30)), "says that it holds 3.0 GiB"),
        (_patched(BOMB, b"a.png", SIZE, struct.pack("<I", 9)), "holds more bytes than it says"),
        (_patched(zipped(CONTENT), b"a.png", 46, b"\0"), "'' leads out of its folder"),
        (_patched(zipped(CONTENT), b"a.png", 42, b"\2\0\0\0"), "not where the directory says"),
        (_patched(zipped(CONTENT), b"a.png", 42, b"\xfe\xff\xff\xff"), "cannot be read"),
    ],
)
def test_a_damaged_or_dangerous_zip_is_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.zip", data)
    with pytest.raises(ConcatError, match=message) as error:
        open_files(path).read("a.png")
    assert error.value.file == path
    assert error.value.mend


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("./a.png", b"2")
    with pytest.raises(CorruptFileError, match=r"'a.png' in this archive stands more than once"):
        open_files(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.zip", zipped(below("train2017")))
    with pytest.raises(ConcatError, match="No such folder or zip") as error:
        open_files(tmp_path / "none")
    assert error.value.file == tmp_path / "none"
    with pytest.raises(ConcatError, match=r"holds no val2017") as error:
        open_files(path / "val2017")
    assert error.value.mend == "It holds train2017."
    with pytest.raises(ConcatError, match="File not readable"):
        read_bytes(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.zip", zipped(CONTENT))
    path.chmod(0)
    with pytest.raises(ConcatError, match=r"Not readable|not readable"):
        open_files(path)


# --- malformed zips by the hundred ---

SMALL = {"t/a.png": b"first " * 9, "t/b.json": b'{"second": 2}', "t/c": b""}
INNER = zipped(SMALL)
MALFORMED = [zipped(SMALL), zipped(SMALL, STORED), zipped({"in.zip": INNER}), zipped({"in.zip": INNER}, STORED)]


@pytest.mark.parametrize("which", [0, 1])
def test_any_wrong_byte_of_a_zip_is_an_error_or_changes_nothing(which: int, tmp_path: Path) -> None:
    whole, path = MALFORMED[which], tmp_path / "x.zip"
    for place in range(len(whole)):
        for byte in {0, 255, whole[place] ^ 1, whole[place] ^ 32}:
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            with contextlib.suppress(ConcatError):
                files = open_files(path)
                assert all(files.read(name) == SMALL[f"t/{name}"] for name in files.names() if f"t/{name}" in SMALL)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_malformed_zips_are_errors_or_right(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    which = data.draw(st.integers(0, 3))
    content = bytearray(MALFORMED[which])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path_factory.getbasetemp() / "malformed.zip"
    path.write_bytes(content[:cut])
    for name, wanted in SMALL.items():
        try:
            files = open_files(path / "in.zip" if which > 1 else path)
            assert isinstance(files, ZipFolder)
            found = files.read(name)
            files.names()
            files.fingerprint()
        except ConcatError:
            continue
        assert found == wanted

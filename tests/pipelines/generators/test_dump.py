import errno
import math
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.base.files import sha256
from pipelines.generators.dump import QueryRow, Shards, open_queries

NAMES = ["cat", "dog", "sky"]
K, D = 5, 4


def row(index: int) -> QueryRow:
    random = torch.Generator().manual_seed(index)
    labels = torch.randint(-1, len(NAMES), (K,), generator=random)
    ids = torch.where(labels < 0, -1, torch.randint(1, 2**24, (K,), generator=random))
    return QueryRow(
        image_id=1000 - index,
        queries=torch.randn(K, D, generator=random),
        labels=labels,
        segment_ids=ids,
        view=index % 2,
    )


def write(folder: Path, count: int, shard: int, stop: int | None = None) -> int:
    """Writes shards as a stage does, those that end before row `stop`; returns the row begun with."""
    shards = Shards(folder, shard, tuple(NAMES), count)
    missing = shards.missing()
    for number in missing:
        if shards.rows_of(number).stop <= (count if stop is None else stop):
            shards.write(number, [row(index) for index in shards.rows_of(number)])
    return shards.rows_of(missing[0]).start if missing else count


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 12), shard=st.integers(1, 6))
def test_a_dump_gives_back_its_rows_in_order(count: int, shard: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "queries"
        write(folder, count, shard)
        assert sorted(p.name for p in folder.iterdir()) == [f"{n:03d}.h5" for n in range(-(-count // shard))]
        dump = open_queries(folder, NAMES, stage="train-cat")
    assert (len(dump), dump.dim, dump.names) == (count, D, NAMES)
    for index in range(count):
        expected = row(index)
        assert torch.equal(dump.queries[index], expected.queries.half())
        assert torch.equal(dump.labels[index].long(), expected.labels)
        assert torch.equal(dump.segment_ids[index], expected.segment_ids)
        assert (int(dump.image_ids[index]), int(dump.views[index])) == (expected.image_id, expected.view)
        assert torch.equal(dump.matched[index], expected.labels >= 0)
        assert torch.equal(dump.unmatched[index], expected.labels < 0)


def test_the_layout_of_a_shard(tmp_path: Path) -> None:
    write(tmp_path, 300, 300)
    with h5py.File(tmp_path / "000.h5") as file:
        layout = {name: (data.shape, data.dtype.str[1:], data.chunks, data.compression) for name, data in file.items()}
    assert layout == {
        "queries": ((300, K, D), "f2", (256, K, D), None),
        "labels": ((300, K), "i2", (256, K), None),
        "segment_ids": ((300, K), "i8", (256, K), None),
        "image_ids": ((300,), "i8", (256,), None),
        "views": ((300,), "u1", (256,), None),
    }


def test_a_batch_holds_the_rows_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 6, 4)
    dump = open_queries(tmp_path, NAMES, stage="train-cat")
    batch = dump.batch(torch.tensor([5, 0, 5])).to("cpu")
    assert batch.queries.dtype == torch.float32
    assert torch.equal(batch.queries, dump.queries[[5, 0, 5]].float())
    assert torch.equal(batch.labels, torch.stack([row(i).labels for i in (5, 0, 5)]))
    assert torch.equal(batch.matched, batch.labels >= 0)
    assert batch.image_index[:, 0].tolist() == [0, 1, 2]
    assert batch.image_index.shape == batch.labels.shape == (3, K)
    assert torch.equal(dump.batch([1]).queries[0], dump.queries[1].float())


# --- interruption ---


@pytest.mark.parametrize(("stop", "kept"), [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8)])
def test_an_interrupted_dump_goes_on_after_its_last_shard(tmp_path: Path, stop: int, kept: int) -> None:
    write(tmp_path / "a", 10, 4)
    write(tmp_path / "b", 10, 4, stop)
    assert write(tmp_path / "b", 10, 4) == kept
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert write(tmp_path / "b", 10, 4) == 10


def test_a_killed_process_loses_no_finished_shard(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
        from pathlib import Path
        from test_dump import write
        fsync, calls = os.fsync, [0]
        def killed_before_the_third_shard_is_renamed(file):
            calls[0] += 1
            if calls[0] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(file)
        os.fsync = killed_before_the_third_shard_is_renamed
        write(Path({str(tmp_path / "b")!r}), 10, 3)
        """)
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert write(tmp_path / "b", 10, 3) == 6
    write(tmp_path / "a", 10, 3)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _with_other_names(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["names"] = ["cow"]


def _with_other_total(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["rows"] = 11


@pytest.mark.parametrize("harm", [_cut, _with_other_names, _with_other_total])
def test_shards_of_another_dump_are_written_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    write(tmp_path / "a", 10, 4)
    write(tmp_path / "b", 10, 4)
    harm(tmp_path / "b/000.h5")
    assert write(tmp_path / "b", 10, 4) == 0
    assert sha256(tmp_path / "b") == sha256(tmp_path / "a")


def test_shards_of_another_size_are_written_again(tmp_path: Path) -> None:
    write(tmp_path / "a", 10, 4)
    write(tmp_path / "b", 10, 3)
    assert write(tmp_path / "b", 10, 4) == 0
    assert sha256(tmp_path / "b") == sha256(tmp_path / "a")


def test_another_number_of_rows_than_announced_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 1 rows, not 2"):
        Shards(tmp_path, 4, tuple(NAMES), 1).write(0, [row(0), row(1)])


def test_shards_written_in_any_order_are_the_same_dump(tmp_path: Path) -> None:
    write(tmp_path / "a", 10, 4)
    shards = Shards(tmp_path / "b", 4, tuple(NAMES), 10)
    for number in (2, 0):
        shards.write(number, [row(index) for index in shards.rows_of(number)])
    assert shards.missing() == [1]
    shards.write(1, [row(index) for index in shards.rows_of(1)])
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_a_query_that_float16_cannot_hold(tmp_path: Path, value: float) -> None:
    bad = row(0)
    bad.queries[1, 2] = value
    with pytest.raises(ConcatError, match="image 1000 "):
        Shards(tmp_path, 1, tuple(NAMES), 1).write(0, [bad])
    assert not list(tmp_path.iterdir())


# --- damage and leaks ---


def _text(path: Path) -> None:
    path.write_text("no shard")


def _without_labels(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["labels"]


def _without_names(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["names"]


def _with_nan(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["queries"][0, 1, 1] = float("nan")


def _with_label(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["labels"][0, 0] = 3


def _with_fewer_views(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["views"]
        file["views"] = [0]


@pytest.mark.parametrize("memory", [math.inf, 0])
@pytest.mark.parametrize("shard", ["000.h5", "001.h5", "002.h5"])
@pytest.mark.parametrize(
    "harm", [_cut, _text, _without_labels, _without_names, _with_nan, _with_label, _with_fewer_views, Path.unlink]
)
def test_damage_is_found(tmp_path: Path, harm: Callable[[Path], None], shard: str, memory: float) -> None:
    write(tmp_path, 12, 4)
    harm(tmp_path / shard)
    with pytest.raises(CorruptFileError) as caught:
        open_queries(tmp_path, NAMES, stage="train-cat", memory=memory)
    assert caught.value.file in (tmp_path, tmp_path / shard)
    assert caught.value.mend is not None
    assert "makes it again" in caught.value.mend


def test_a_missing_dump(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="not found"):
        open_queries(tmp_path / "queries", NAMES, stage="train-cat")


def test_a_planted_unseen_name_is_an_error_that_names_store_stage_and_name(tmp_path: Path) -> None:
    write(tmp_path, 4, 4)
    with pytest.raises(ProtocolError, match=r"000\.h5 holds 'sky', which is none of the names train-cat may read"):
        open_queries(tmp_path, ["cat", "dog"], stage="train-cat")
    with pytest.raises(ConcatError, match="lacks 'cow'"):
        open_queries(tmp_path, [*NAMES, "cow"], stage="train-cat")


# --- full disk ---


def test_a_full_disk_is_one_message_and_leaves_no_partial_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_written(path: Path, data: memoryview) -> int:
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path, 8, 4, stop=7)
    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(ConcatError, match="disk is full") as caught:
        Shards(tmp_path, 4, tuple(NAMES), 8).write(1, [row(index) for index in range(4, 8)])
    assert caught.value.file == tmp_path / "001.h5"
    assert [p.name for p in tmp_path.iterdir()] == ["000.h5"]

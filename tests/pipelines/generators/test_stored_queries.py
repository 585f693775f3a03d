"""A dump left on disk gives the batches of one in memory."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.base.errors import CorruptFileError
from pipelines.generators import stored_queries
from pipelines.generators.dump import QueryBatch, QueryDump, QueryRow, Shards, open_queries
from pipelines.generators.stored_queries import StoredQueries

NAMES, K, D = ["cat", "dog"], 3, 4


def write(folder: Path, count: int, shard: int) -> None:
    shards, random = Shards(folder, shard, tuple(NAMES), count), torch.Generator().manual_seed(count)
    for number in shards.missing():
        labels = [torch.randint(-1, 2, (K,), generator=random) for _ in shards.rows_of(number)]
        rows = [QueryRow(7, torch.randn(K, D, generator=random), label, label) for label in labels]
        shards.write(number, rows)


def both(folder: Path) -> tuple[QueryDump, QueryDump]:
    """In memory, and on disk."""
    held, left = (open_queries(folder, NAMES, stage="train-cat", memory=memory) for memory in (1.0, 0.0))
    assert isinstance(held.stored, torch.Tensor)
    assert isinstance(left.stored, StoredQueries)
    return held, left


def assert_same(one: QueryBatch, other: QueryBatch) -> None:
    for name in ("queries", "labels", "matched", "image_index"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 700), shard=st.integers(1, 600), data=st.data())
def test_batches_are_the_same_bit_for_bit(count: int, shard: int, data: st.DataObject) -> None:
    shard = max(shard, count // 5 + 1)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), count, shard)
        held, left = both(Path(name))
        assert (len(held), held.dim, held.stored.shape) == (len(left), left.dim, left.stored.shape)
        assert torch.equal(held.queries, left.queries)
        for attribute in ("labels", "segment_ids", "image_ids", "views"):
            assert torch.equal(getattr(held, attribute), getattr(left, attribute))
        for _ in range(5):
            rows = data.draw(st.lists(st.integers(-count, count - 1), max_size=20))
            assert_same(held.batch(rows), left.batch(torch.tensor(rows, dtype=torch.int64)))


def test_few_shards_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_queries, "_OPEN", 2)
    write(tmp_path, 10, 2)
    held, left = both(tmp_path)
    rows = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    assert_same(held.batch(rows), left.batch(rows))
    assert isinstance(left.stored, StoredQueries)
    assert len(left.stored._open) == 2
    left.stored.close()
    assert not left.stored._open
    assert_same(held.batch(rows), left.batch(rows))


def test_a_shard_is_opened_once(tmp_path: Path) -> None:
    write(tmp_path, 4, 2)
    held, left = both(tmp_path)
    left.batch([0, 3])
    for path in tmp_path.glob("*.h5"):
        path.unlink()
    assert_same(held.batch([3, 2, 1, 0]), left.batch([3, 2, 1, 0]))


def test_a_shard_that_is_lost_later_is_named(tmp_path: Path) -> None:
    write(tmp_path, 4, 2)
    _, left = both(tmp_path)
    (tmp_path / "001.h5").write_text("no shard")
    left.batch([0, 1])
    with pytest.raises(CorruptFileError) as caught:
        left.batch([0, 2])
    assert caught.value.file == tmp_path / "001.h5"


def test_memory_is_that_of_the_queries(tmp_path: Path) -> None:
    write(tmp_path, 8, 8)
    size = 8 * K * D * 2
    for memory, kind in ((size, torch.Tensor), (size - 1, StoredQueries)):
        assert isinstance(open_queries(tmp_path, NAMES, stage="report", memory=memory / 2**30).stored, kind)

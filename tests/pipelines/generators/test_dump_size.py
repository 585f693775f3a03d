"""The size of a query dump, told before it is made."""

from pathlib import Path

import pytest
import torch

from pipelines.base.disk import bytes_below
from pipelines.generators.dump import QueryRow, Shards
from pipelines.generators.dump_size import dump_bytes, row_bytes


def test_a_row_holds_queries_labels_segments_and_what_they_are_of() -> None:
    assert row_bytes(100, 256) == 100 * (256 * 2 + 2 + 8) + 8 + 1


@pytest.mark.parametrize(
    ("rows", "queries", "dim", "shard"), [(1, 5, 8, 10), (10, 5, 8, 10), (23, 20, 64, 10), (700, 5, 64, 600)]
)
def test_a_dump_is_as_large_as_was_told(rows: int, queries: int, dim: int, shard: int, tmp_path: Path) -> None:
    dump, none = Shards(tmp_path, shard, ("circle", "square"), rows), torch.full((queries,), -1)
    shards = -(-rows // shard)
    for number in range(shards):
        dump.write(number, [QueryRow(row, torch.randn(queries, dim), none, none) for row in dump.rows_of(number)])
    told, written = dump_bytes(rows, queries=queries, dim=dim, shard=shard), bytes_below(tmp_path)
    assert 0 <= told - written < shards * 24 * 1024


def test_no_row_takes_no_room() -> None:
    assert dump_bytes(0, queries=5, dim=8, shard=10) == 0

"""How large a query dump will be; no torch, so that a plan is made quickly."""

from typing import Final

CHUNK: Final = 256
"""Rows of a chunk: fastest to write and to read."""
_SHARD: Final = 24 * 1024  # bytes of HDF5's own: headers, trees of chunks
_CHUNK_ENTRY: Final = 5 * 64  # bytes in those trees, five arrays


def row_bytes(queries: int, dim: int) -> int:
    """One image in one view: K queries of D float16, K labels (2) and segment ids (8), image id (8), view (1)."""
    return queries * (2 * dim + 2 + 8) + 8 + 1


def dump_bytes(rows: int, *, queries: int, dim: int, shard: int) -> int:
    """The bytes of a complete dump.

    Args:
        rows: images × views.
        queries: K.
        dim: D.
        shard: rows of a shard.
    """
    full, rest = divmod(rows, shard)
    return full * _shard_bytes(shard, queries, dim) + (_shard_bytes(rest, queries, dim) if rest else 0)


def _shard_bytes(rows: int, queries: int, dim: int) -> int:
    chunks = -(-rows // min(CHUNK, rows))
    return chunks * (min(CHUNK, rows) * row_bytes(queries, dim) + _CHUNK_ENTRY) + _SHARD  # chunks are written whole

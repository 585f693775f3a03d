"""Names of a foreign file and ours, as rows of a table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Rows = tuple[tuple[str, str], ...]
"""Theirs and ours: a module, whose parameters are called alike, or one parameter; {i} and {j} stand for numbers."""

QKV = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Table:
    """How one kind of network is called there and here.

    Attributes:
        rows: names that change and nothing else.
        packed: attention whose projections of queries, keys and values are one matrix there (`in_proj_weight`, 3D×D)
            and three here (`q_proj`, `k_proj`, `v_proj`).
        same: what names begin with that are the same on both sides, unless a row knows them.
    """

    rows: Rows = ()
    packed: Rows = ()
    same: tuple[str, ...] = ()

    def to_ours(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Renames arrays or tensors.

        Returns:
            Our name → array, and our name → the name in the file. What no row knows is in neither.
        """
        renamed: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for name, value in given.items():
            for ours, part in self._ours(name, value):
                renamed[ours], origin[ours] = part, name
        return renamed, origin

    def _ours(self, name: str, value: Any) -> list[tuple[str, Any]]:
        module, _, parameter = name.rpartition(".")
        if parameter in ("in_proj_weight", "in_proj_bias"):
            attention = _renamed(module, self._packed)
            if attention is not None:
                third, leaf = len(value) // 3, parameter.removeprefix("in_proj_")
                return [(f"{attention}.{x}.{leaf}", value[k * third : (k + 1) * third]) for k, x in enumerate(QKV)]
        whole = _renamed(name, self._rows)
        if whole is not None:
            return [(whole, value)]
        ours = _renamed(module, self._rows)
        if ours is not None:
            return [(f"{ours}.{parameter}", value)]
        return [(name, value)] if self.same and name.startswith(self.same) else []

    @cached_property
    def _rows(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        return tuple(_compiled(row) for row in self.rows)

    @cached_property
    def _packed(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        return tuple(_compiled(row) for row in self.packed)


def _compiled(row: tuple[str, str]) -> tuple[re.Pattern[str], str]:
    theirs, ours = row
    pattern = re.escape(theirs).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{j\}", r"(?P<j>\d+)")
    return re.compile(pattern), ours


def _renamed(name: str, rows: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    for pattern, ours in rows:
        found = pattern.fullmatch(name)
        if found:
            return ours.format(**found.groupdict())
    return None


def below(prefix: str, ours: str, rows: Rows) -> Rows:
    """`rows` of a module, seen from where it lies: `prefix` there and `ours` here."""
    return tuple((f"{prefix}.{theirs}", f"{ours}.{name}") for theirs, name in rows)

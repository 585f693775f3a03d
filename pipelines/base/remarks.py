"""What was read in a way that may surprise, gathered over a data set: how often, and where for instance."""

from typing import Final

_NAMED: Final = 3


class Remarks:
    """Counts what is remarked, by a sentence with `{n}` in it, and names the first places."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], list[str]] = {}

    def add(self, one: str, many: str, place: str) -> None:
        """Counts one; `one` and `many` say what it is, alone and as `{n}`."""
        self._places.setdefault((one, many), []).append(place)

    def add_empty_instance(self, place: str) -> None:
        """Counts an instance without a pixel."""
        self.add("1 instance has no pixel and is no object", "{n} instances have no pixel and are no objects", place)

    def sentences(self) -> tuple[str, ...]:
        """A sentence each, without its full stop."""
        return tuple(_sentence(one, many, places) for (one, many), places in self._places.items())


def _sentence(one: str, many: str, places: list[str]) -> str:
    said = one if len(places) == 1 else many.format(n=f"{len(places):,}")
    more = ", …" if len(places) > _NAMED else ""
    return f"{said}: {'; '.join(places[:_NAMED])}{more}"

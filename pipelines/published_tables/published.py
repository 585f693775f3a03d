"""Figures that papers report, as data: every row of the tables that this project's numbers are compared with.

`published_tables/*.toml` holds one file a table: what all its rows share, then the rows. A row's figures are those in
print, in percent, under the names that the project's own scores have; what looks like a misprint is left as it is and
said in the file's first lines.
"""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.terms import Candidates, Protocol, Setting, Task

SHIPPED: Final = Path(__file__).parent

Group = Literal["all", "things", "stuff", "seen", "unseen", "harmonic"]
Figure = Literal["pq", "sq", "rq", "miou", "pacc", "mask_ap50", "mask_recall100", "box_ap50"]
Percent = Annotated[float, Field(ge=0, le=100)]


class PublishedResult(BaseModel):
    """One row of a published table.

    Attributes:
        id: method, benchmark and what sets the row apart; `-by-PAPER` where another paper quotes the method.
        setting: may training use the names of unseen categories (transductive) or not; None: the paper does not say.
        vocabulary: the shipped vocabulary of the categories behind the figures; empty: not known.
        split: numbers of seen and unseen categories; empty where the figures are of all.
        protocol: what becomes of training images with unseen pixels: zps drops them, zss ignores those pixels; None:
            trained on other data.
        trained_on: the training data, where they are not those of `data_set`.
        embedding: what the names are embedded with; empty: not said.
        figures: group → figure → percent.
        note: what one has to know to compare with it.
        source: paper and table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")]
    task: Task
    method: str = Field(min_length=1)
    backbone: str = ""
    setting: Setting | None = None
    data_set: str = Field(min_length=1)
    vocabulary: str = ""
    split: str = ""
    protocol: Protocol | None = None
    candidates: Candidates
    trained_on: str = ""
    embedding: Literal["", "clip", "word2vec"] = ""
    figures: dict[Group, dict[Figure, Percent]] = Field(min_length=1)
    frames_per_second: float | None = Field(default=None, gt=0)
    note: str = ""
    source: str = Field(min_length=1)


def published_results() -> list[PublishedResult]:
    """All published rows, table by table in the order of their file names."""
    return [result for path in sorted(SHIPPED.glob("*.toml")) for result in read_table(path)]


def read_table(path: Path) -> list[PublishedResult]:
    """The rows of one table.

    Raises:
        CorruptFileError: a row is not what it should be.
    """
    try:
        shared: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = shared.pop("rows")
        return [PublishedResult.model_validate(shared | row) for row in rows]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(f"Not a table of published figures: {where}: {first['msg']}.", file=path) from None
    except (ValueError, KeyError) as error:
        raise CorruptFileError(f"Not a table of published figures: {error}.", file=path) from None


def find_published(name: str) -> list[PublishedResult]:
    """The row with the id `name`, or else all rows whose ids go on after `name` and a hyphen.

    Raises:
        ConcatError: there is none.
    """
    results = published_results()
    exact = [result for result in results if result.id == name]
    found = exact or [result for result in results if result.id.startswith(f"{name}-")]
    if not found:
        near = get_close_matches(name, [result.id for result in results], n=3, cutoff=0.4)
        nearest = f"The nearest: {', '.join(near)}. " if near else ""
        raise ConcatError(f"No published result is called {name!r}.", mend=f"{nearest}`concat compare --list` has all.")
    return found

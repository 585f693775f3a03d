"""What each stage reads, and what it writes where, as far as it is worth counting before it begins."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pipelines.base.disk import bytes_below
from pipelines.base.errors import ConcatError
from pipelines.base.files import read_json
from pipelines.clip.model_files import embedding_dim
from pipelines.clip.store_size import bytes_there, store_bytes
from pipelines.generators.dump_size import dump_bytes
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Run
from pipelines.stages.counts import Images

Place = Literal["cache", "run"]
EVAL_SHARD: Final = 256
"""Images of a shard of the queries that eval keeps."""


@dataclass(frozen=True)
class Written:
    """Something that a stage writes.

    Attributes:
        size: bytes; None: unknown.
        there: of these, the bytes that an earlier run or an interrupted one left.
        lasts: whether it stays when the stage is done; a checkpoint, and the one that takes its place, do not.
    """

    what: str
    place: Place
    size: int | None
    there: int = 0
    lasts: bool = True

    @property
    def needed(self) -> int:
        """The bytes still to be written, as far as they are known."""
        return max((self.size or 0) - self.there, 0)


@dataclass(frozen=True)
class Details:
    """What a stage reads and writes.

    Attributes:
        images: those it passes through its networks, once a view; None: unknown, or it looks at none.
        steps: of an optimiser; None: it trains nothing.
    """

    images: Images | None = None
    views: int = 1
    steps: int | None = None
    writes: tuple[Written, ...] = ()


_OF_TRAINING: Final = (Written("model", "run", None), Written("checkpoint", "run", None, lasts=False))
"""Their sizes are known once the networks are built."""
_DetailsOf = Callable[[Run, Images | None, Images | None], Details]


def details_of(run: Run, stage: str, train: Images | None, val: Images | None) -> Details:
    """What a stage of this name reads and writes, given the images of training and validation."""
    return _DETAILS[stage](run, train, val) if stage in _DETAILS else Details()


def _render(run: Run, train: Images | None, val: Images | None) -> Details:
    del train, val
    scenes = run.recipe.data.micrococo
    return Details(Images(scenes.train + scenes.val + scenes.tune, None, how="listed"))


def _precompute(run: Run, train: Images | None, val: Images | None) -> Details:
    del val
    views, dim = 1 + run.recipe.clip.flipped_view, embedding_dim(run.recipe.clip)
    size, there = None, 0
    if train is not None and train.segments is not None and dim is not None:
        size = store_bytes(train.count, train.segments, dim=dim, views=views)
        there = min(bytes_there(run.cache / "clip", train.count, train.segments), size)
    return Details(train, views, writes=(Written("CLIP tokens", "cache", size, there),))


def _train_con(run: Run, train: Images | None, val: Images | None) -> Details:
    del val
    return Details(train, steps=run.recipe.con.iterations, writes=_OF_TRAINING)


def _dump(run: Run, train: Images | None, val: Images | None) -> Details:
    del val
    views, settings = len(run.recipe.dump.views), run.recipe.dump
    size = None if train is None else _query_bytes(run.recipe, train.count * views, settings.shard)
    there = min(_dump_there(run), size or 0)
    return Details(train, views, writes=(Written("queries", "cache", size, there),))


def _train_cat(run: Run, train: Images | None, val: Images | None) -> Details:
    del train, val
    return Details(steps=run.recipe.cat.iterations, writes=_OF_TRAINING)


def _finetune(run: Run, train: Images | None, val: Images | None) -> Details:
    del train, val
    return Details(steps=run.recipe.finetune.iterations, writes=_OF_TRAINING)


def _eval(run: Run, train: Images | None, val: Images | None) -> Details:
    del train
    size = None if val is None else _query_bytes(run.recipe, val.count, EVAL_SHARD)
    return Details(val, writes=(Written("queries", "run", size),))


_DETAILS: Final[dict[str, _DetailsOf]] = {
    "make-micrococo": _render,
    "precompute": _precompute,
    "train-con": _train_con,
    "dump-queries": _dump,
    "train-cat": _train_cat,
    "finetune": _finetune,
    "eval": _eval,
}


def _query_bytes(recipe: Recipe, rows: int, shard: int) -> int:
    segmentor = recipe.con.segmentor
    return dump_bytes(rows, queries=segmentor.queries, dim=segmentor.hidden_dim, shard=shard)


def _dump_there(run: Run) -> int:
    """The bytes in the cache of a dump that was interrupted, whose folder is named by what it is made from."""
    try:
        made_from = read_json(run.folder / ".dump.partial/key.json")
        made_from.pop("forced", None)
    except (ConcatError, AttributeError):
        return 0
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    return bytes_below(run.cache / "queries" / key)

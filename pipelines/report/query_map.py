"""Figure 6 of the paper: where real seen, pseudo unseen and real unseen queries lie, in both spaces."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn.functional import normalize

from pipelines.base.seeding import derive_seed
from pipelines.clip.text import open_text
from pipelines.generators.dump import open_queries
from pipelines.generators.trained import load_generator
from pipelines.models.extractor import load_head
from pipelines.models.projector import ProjectionHead
from pipelines.report.finished_run import FinishedRun
from pipelines.runs.freshness import output_path
from pipelines.stages.chain import EVAL, PRECOMPUTE

REAL_SEEN: Final = "real-seen"
PSEUDO_UNSEEN: Final = "pseudo-unseen"
REAL_UNSEEN: Final = "real-unseen"
PER_KIND: Final = 300  # queries drawn of each kind
_READER: Final = "eval"
_FEWEST: Final = 5  # points below which t-SNE says nothing


@dataclass(frozen=True)
class Queries:
    """Queries of the three kinds: V (N×D), and for each its kind and its category."""

    vision: Tensor
    kinds: list[str]
    names: list[str]


@dataclass(frozen=True)
class QueryMap:
    """A space on a plane.

    Attributes:
        points: N×2, by t-SNE.
        nearest_centroid: percent of the real unseen queries whose nearest centroid of pseudo queries is that of their
            own category (chance: 100 / number of categories); None where nothing was generated. In the whole space.
        silhouette: of the real unseen queries by category, −1 to 1, in the whole space; None for a single category.
    """

    points: NDArray[np.float64]
    nearest_centroid: float | None
    silhouette: float | None


def draw_queries(finished: FinishedRun) -> Queries:
    """Matched queries of the validation images, evenly over their categories, and generated ones of unseen names.

    Real seen and real unseen queries are of the same images, so that what sets them apart is not training.
    """
    run, vocabulary = finished.run, finished.vocabulary
    dump = open_queries(run.folder / "eval/queries", vocabulary.names, stage=_READER)
    labels = dump.labels.flatten().long()
    random = np.random.default_rng(derive_seed(run.recipe.seed, "report", "queries") % 2**32)
    unseen = {index for index, category in enumerate(vocabulary.categories) if category.unseen}
    rows: list[int] = []
    kinds: list[str] = []
    for kind, wanted in ((REAL_SEEN, set(range(len(vocabulary))) - unseen), (REAL_UNSEEN, unseen)):
        chosen = _evenly(labels.numpy(), wanted, PER_KIND, random)
        rows, kinds = rows + chosen, kinds + [kind] * len(chosen)
    vision = dump.queries.flatten(0, 1)[torch.tensor(rows, dtype=torch.int64)].float()
    names = [vocabulary.names[index] for index in labels[torch.tensor(rows, dtype=torch.int64)].tolist()]
    made, made_names = _generate(finished, dump.dim)
    return Queries(torch.cat([vision, made]), kinds + [PSEUDO_UNSEEN] * len(made), names + made_names)


def _evenly(labels: NDArray[np.int64], wanted: set[int], count: int, random: np.random.Generator) -> list[int]:
    """Up to `count` places of labels in `wanted`, the same number of each as far as there are."""
    turns: list[tuple[int, int]] = []
    for label in sorted(wanted):
        places = random.permutation(np.flatnonzero(labels == label))
        turns += [(turn, int(place)) for turn, place in enumerate(places)]
    return [place for _, place in sorted(turns)[:count]]


def _generate(finished: FinishedRun, query_dim: int) -> tuple[Tensor, list[str]]:
    """Pseudo queries of every unseen name, as finetuning makes them."""
    run = finished.run
    unseen = finished.vocabulary.unseen.names
    text = open_text(output_path(run, EVAL, "text_unseen"), unseen, stage=_READER)
    path = run.folder / "cat/generator.safetensors"
    settings, text_dim = run.recipe.cat.generator, text.shape[1]
    generator = load_generator(path, settings, query_dim=query_dim, text_dim=text_dim, device=torch.device("cpu"))
    noise = torch.Generator().manual_seed(derive_seed(run.recipe.seed, "report", "noise"))
    each = max(1, PER_KIND // len(unseen))
    with torch.inference_mode():
        made = generator.generate(text.repeat_interleave(each, dim=0), noise)
    return made.float(), [name for name in unseen for _ in range(each)]


def semantic_queries(finished: FinishedRun, vision: Tensor) -> Tensor:
    """S of queries V (N×D), of unit length (N×C), by the projector that finetuning left, or else by that of CON."""
    run = finished.run
    seen = finished.vocabulary.seen.names
    text_dim = open_text(output_path(run, PRECOMPUTE, "text_seen"), seen, stage=_READER).shape[1]
    con = run.recipe.con
    head: ProjectionHead
    if finished.finetuned:
        head = load_head(run.folder / "finetune/projector.safetensors", con, vision.shape[1], text_dim, prefix="")
    else:
        head = load_head(run.folder / "con/model.safetensors", con, vision.shape[1], text_dim)
    with torch.inference_mode():
        return normalize(head.eval().projector(vision), dim=-1)


def query_map(queries: Queries, features: Tensor, seed: int) -> QueryMap | None:
    """Lays features (N×F) of the queries on a plane; None if there are too few of them."""
    values = features.numpy().astype(np.float64)
    if len(values) < _FEWEST:
        return None
    perplexity = min(30.0, (len(values) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=derive_seed(seed, "report", "t-SNE") % 2**32)
    kinds, names = np.array(queries.kinds), np.array(queries.names)
    real, pseudo = kinds == REAL_UNSEEN, kinds == PSEUDO_UNSEEN
    return QueryMap(
        points=plane.fit_transform(values),
        nearest_centroid=nearest_centroid(values[real], names[real], values[pseudo], names[pseudo]),
        silhouette=silhouette(values[real], names[real]),
    )


def nearest_centroid(
    queries: NDArray[np.float64], names: NDArray[np.str_], others: NDArray[np.float64], other_names: NDArray[np.str_]
) -> float | None:
    """Percent of `queries` (N×F) whose nearest centroid of `others` (M×F) by name bears their own name."""
    if not len(queries) or not len(others):
        return None
    distinct = np.unique(other_names)
    centroids = np.stack([others[other_names == name].mean(axis=0) for name in distinct])
    distances = ((queries[:, None] - centroids) ** 2).sum(axis=2)
    return float(100 * (distinct[distances.argmin(axis=1)] == names).mean())


def silhouette(queries: NDArray[np.float64], names: NDArray[np.str_]) -> float | None:
    """The mean silhouette of queries (N×F) grouped by name; None where there is nothing to tell apart."""
    distinct = len(np.unique(names))
    return float(silhouette_score(queries, names)) if 1 < distinct < len(names) else None

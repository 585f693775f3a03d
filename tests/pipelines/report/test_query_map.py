import numpy as np
import pytest
import torch

from pipelines.report.query_map import (
    PSEUDO_UNSEEN,
    REAL_SEEN,
    REAL_UNSEEN,
    Queries,
    nearest_centroid,
    query_map,
    silhouette,
)


def test_nearest_centroid_by_hand() -> None:
    others = np.array([[0.0, 0.0], [0.0, 2.0], [10.0, 0.0]])  # centroids: cat (0, 1), cow (10, 0)
    queries = np.array([[1.0, 1.0], [9.0, 0.0], [8.0, 0.0], [2.0, 0.0]])
    names = np.array(["cat", "cow", "cat", "cat"])
    assert nearest_centroid(queries, names, others, np.array(["cat", "cat", "cow"])) == 75.0
    assert nearest_centroid(queries, names, others[:0], np.array([], dtype=str)) is None
    assert nearest_centroid(queries[:0], names[:0], others, np.array(["cat", "cat", "cow"])) is None


def test_silhouette_tells_categories_that_lie_apart() -> None:
    queries = np.array([[0.0], [0.1], [9.0], [9.1]])
    assert silhouette(queries, np.array(["a", "a", "b", "b"])) == pytest.approx(0.989, abs=0.002)
    assert silhouette(queries, np.array(["a", "b", "a", "b"])) < 0  # type: ignore[operator]
    assert silhouette(queries, np.array(["a", "a", "a", "a"])) is None
    assert silhouette(queries, np.array(["a", "b", "c", "d"])) is None


def test_a_map_is_the_same_every_time_and_needs_a_few_queries() -> None:
    features = torch.randn(24, 8, generator=torch.Generator().manual_seed(0))
    queries = Queries(features, [REAL_SEEN, REAL_UNSEEN, PSEUDO_UNSEEN] * 8, ["cat", "cow", "cow", "dog"] * 6)
    first, second = query_map(queries, features, 0), query_map(queries, features, 0)
    assert first is not None
    assert second is not None
    assert first.points.shape == (24, 2)
    np.testing.assert_array_equal(first.points, second.points)
    few = Queries(features[:4], queries.kinds[:4], queries.names[:4])
    assert query_map(few, features[:4], 0) is None

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.charts import Axis, Line, Mark, dot_plot, line_chart, number
from pipelines.report.scatter import scatter

NAMESPACE = "{http://www.w3.org/2000/svg}"
finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


def chart(*lines: Line, **options: object) -> ET.Element:
    return ET.fromstring(line_chart(lines, x=Axis("step"), y=Axis("PQ, %"), alt="a & b", **options))


def texts(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{NAMESPACE}text")]


def test_a_chart_has_size_words_axes_and_the_names_of_its_lines() -> None:
    picture = chart(Line("seen", [(0, 10), (2, 40)], "seen", "dashed", dots=True), marks=[Mark(1, "best")])
    assert (picture.get("role"), picture.get("aria-label")) == ("img", "a & b")
    assert (picture.get("width"), picture.get("height")) == ("340", "220")
    assert {"seen", "best", "step", "PQ, %", "10", "40"} <= set(texts(picture))
    assert len(list(picture.iter(f"{NAMESPACE}circle"))) == 2


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_every_point_lies_within_the_picture(points: list[tuple[float, float]]) -> None:
    picture = chart(Line("a", sorted(points), "ink", dots=True))
    for circle in picture.iter(f"{NAMESPACE}circle"):
        assert 0 <= float(circle.get("cx", "-1")) <= 340
        assert 0 <= float(circle.get("cy", "-1")) <= 220


def test_names_at_one_height_are_moved_apart() -> None:
    lines = [Line(name, [(0, 5), (1, 5)], "ink") for name in ("a1", "b1", "c1")]
    heights = sorted(
        float(t.get("y", "0")) for t in chart(*lines).iter(f"{NAMESPACE}text") if t.text in ("a1", "b1", "c1")
    )
    assert heights[1] - heights[0] >= 12
    assert heights[2] - heights[1] >= 12


def test_a_band_surrounds_its_line() -> None:
    picture = chart(Line("a", [(0, 10), (1, 20)], "ink", spread=(1.0, 2.0)))
    band = next(path for path in picture.iter(f"{NAMESPACE}path") if "band" in path.get("class", ""))
    assert band.get("d", "").endswith("Z")
    assert band.get("d", "").count("L") == 3


def test_charts_without_a_point_are_refused() -> None:
    with pytest.raises(ValueError, match="point"):
        chart(Line("a", [], "ink"))
    with pytest.raises(ValueError, match="value"):
        dot_plot([("a", [])], "PQ", "alt")


def test_words_are_escaped() -> None:
    picture = ET.fromstring(dot_plot([("<b> & c", [1.0, 2.0])], "PQ", '"quoted" & <so>'))
    assert "<b> & c" in texts(picture)
    assert picture.get("aria-label") == '"quoted" & <so>'


@pytest.mark.parametrize(("value", "written"), [(140_000, "140k"), (9000, "9000"), (-0.5, "−0.5"), (10_500, "10500")])
def test_figures_on_axes(value: float, written: str) -> None:
    assert number(value) == written


def test_a_scatter_draws_each_group_as_one_titled_path_and_keeps_names_apart() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
    picture = ET.fromstring(
        scatter(
            points,
            ["x", "x", "y", "y"],
            ["cow", "cow", "cow", "cat"],
            shapes={"x": "dot", "y": "cross"},
            named=[("cow", (0.5, 1.0)), ("cat", (0.5, 1.0))],
            alt="queries",
        )
    )
    paths = list(picture.iter(f"{NAMESPACE}path"))
    assert [path.findtext(f"{NAMESPACE}title") for path in paths] == ["cow", "cow", "cat"]
    assert paths[0].get("d", "").count("M") == 2
    heights = [float(text.get("y", "0")) for text in picture.iter(f"{NAMESPACE}text")]
    assert abs(heights[0] - heights[1]) >= 12

import pytest

from pipelines.recipes.load import load_recipe, override
from pipelines.report.seeds import Average, average, over_x
from pipelines.report.settings_text import changed_from_shipped, differences, flat
from pipelines.report.targets import comparable_results
from pipelines.report.words import bytes_in_words, percent, protocol_in_words, seconds_in_words
from pipelines.vocabularies.vocabulary import load_vocabulary


def test_averages_by_hand() -> None:
    assert Average((1.0, 3.0, 5.0)).mean == 3.0
    assert Average((1.0, 3.0, 5.0)).deviation == 2.0
    assert Average((4.0,)).deviation is None
    summaries = [{"seen": {"pq": 1.0}, "unseen": {"pq": None}}, {"seen": {"pq": 3.0}, "unseen": {"pq": 2.0}}]
    assert average(summaries, "pq") == {"seen": Average((1.0, 3.0))}
    assert average([], "pq") == {}


def test_only_what_all_runs_have_is_averaged_over_x() -> None:
    one = {0.0: {"all": {"pq": 1.0}}, 1.0: {"all": {"pq": 2.0}}}
    assert over_x([one, {1.0: {"all": {"pq": 4.0}}}], "pq") == {1.0: {"all": Average((2.0, 4.0))}}


def test_seed_name_and_log_intervals_make_no_other_recipe() -> None:
    recipe = load_recipe("micrococo")
    assert differences([recipe, override(recipe, ("seed=3", 'name="mine"', "con.log_every=1"))]) == {}
    assert differences([recipe, override(recipe, ("con.iterations=7",))]) == {
        "con.iterations": [str(recipe.con.iterations), "7"]
    }
    assert flat({"a": {"b": (1, 2)}, "c": True}) == {"a.b": "1, 2", "c": "True"}


def test_what_was_changed_in_a_shipped_recipe() -> None:
    assert changed_from_shipped(load_recipe("micrococo")) == {}
    assert changed_from_shipped(override(load_recipe("micrococo"), ('name="mine"',))) is None


def test_published_figures_of_the_same_data_and_protocol_alone() -> None:
    coco, zps = load_vocabulary("coco_panoptic"), load_recipe("concat_zps")
    found = comparable_results(zps, coco, "pq")
    assert found[0].method == "CONCAT"
    assert {"concat-zps-inductive", "concat-zps-transductive"} <= {result.id for result in found}
    assert {(result.task, result.protocol, result.vocabulary) for result in found} == {
        ("panoptic", "zps", "coco_panoptic")
    }
    assert comparable_results(override(zps, ('data.protocol="zss"',)), coco, "pq") == []
    assert comparable_results(zps, coco.with_unseen(["cow"]), "pq") == []
    micrococo = load_recipe("micrococo")
    assert comparable_results(micrococo, load_vocabulary("micrococo"), "pq") == []


def test_published_semantic_figures() -> None:
    zss = load_recipe("concat_zss")
    found = comparable_results(zss, load_vocabulary("coco_stuff"), "miou")
    assert "concat-zss-coco-stuff-r50" in {result.id for result in found}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2.498, "2.5 s"), (33.2, "33 s"), (623.8, "10 min 24 s"), (7380, "2 h 3 min"), (59.7, "1 min 0 s")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert seconds_in_words(seconds) == words


def test_figures_and_sizes_in_words() -> None:
    assert (percent(None), percent(47.36)) == ("–", "47.4")
    assert [bytes_in_words(n) for n in (12, 1234, 1_314_013_184)] == ["12 B", "1.2 kB", "1.3 GB"]


def test_the_protocol_in_words_says_what_becomes_of_unseen_pixels() -> None:
    words = load_vocabulary("coco_stuff")
    dropped = " ".join(protocol_in_words(load_recipe("concat_zps"), load_vocabulary("coco_panoptic"), 5000, 1.0))
    ignored = " ".join(protocol_in_words(load_recipe("concat_zss"), words, 5000, 1.0))
    assert "119 categories of coco_panoptic are seen and 14 unseen" in dropped
    assert "dropped (ZPS)" in dropped
    assert "ignored (ZSS)" in ignored

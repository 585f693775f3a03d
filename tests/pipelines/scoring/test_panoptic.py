"""Panoptic predictions in files: published values, hand-made ones, zips, missing images, processes."""

import json
import shutil
from pathlib import Path

import pytest
from panoptic_world import VOCABULARY
from scoring_world import edit, write_novel_pair, write_panoptic_pair
from shared_data import shared_data

from pipelines.scoring.panoptic import score_panoptic
from pipelines.vocabularies.vocabulary import load_vocabulary


def test_the_nine_published_values_of_mmdetection() -> None:
    case = shared_data("pq_oracle_small")
    expected = json.loads((case / "expected.json").read_text())["mmdet"]
    scores = score_panoptic(case / "mmdet/gt.json", case / "mmdet/pred.json", workers=1)
    assert list(scores.groups) == ["all", "things", "stuff"]
    for group, suffix in (("all", ""), ("things", "_th"), ("stuff", "_st")):
        for figure in ("pq", "sq", "rq"):
            assert scores.groups[group][figure] == pytest.approx(expected[figure.upper() + suffix], abs=1e-12)


def test_the_truth_of_100_coco_images_scores_100_against_itself() -> None:
    truth = shared_data("coco_panoptic_100train") / "annotations/panoptic_train2017.json"
    scores = score_panoptic(truth, truth, vocabulary=load_vocabulary("coco_panoptic"), workers=1)
    assert scores.images == 100
    for group, n in {"all": 119, "things": 69, "stuff": 50, "seen": 106, "unseen": 13, "harmonic": None}.items():
        assert scores.groups[group] == {"pq": 100.0, "sq": 100.0, "rq": 100.0, "n": n}
    assert sum(c.figures["tp"] or 0 for c in scores.categories) == 1111 - 6  # crowds are none


def test_hand_made_scores_and_any_number_of_workers(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    one, two = (score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=n) for n in (1, 2))
    assert one == two
    pqs = {group: figures["pq"] for group, figures in one.groups.items()}
    assert pqs == pytest.approx(
        {"all": 62.5, "things": 50, "stuff": 100, "seen": 50, "unseen": 100, "harmonic": 200 / 3}, abs=1e-12
    )
    assert [c.figures["pq"] for c in one.categories] == [50.0, 0.0, 100.0, 100.0]


def test_without_vocabulary_the_truths_own_categories_count(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    scores = score_panoptic(pair.truth, pair.predictions, workers=1)
    pqs = {group: figures["pq"] for group, figures in scores.groups.items()}
    assert pqs == {"all": 62.5, "things": 50.0, "stuff": 100.0}
    assert scores.vocabulary == "panoptic"
    assert not any(c.unseen for c in scores.categories)


def test_missing_images_count_as_empty_where_allowed(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    edit(pair.predictions, lambda content: {**content, "annotations": content["annotations"][:1]})
    scores = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, allow_missing=True, workers=1)
    assert scores.missing == ("0002.jpg",)
    assert scores.images == 2
    assert [c.figures["pq"] for c in scores.categories] == [75.0, 0.0, 100.0, 0.0]
    assert [c.figures["fn"] for c in scores.categories] == [0, 1, 0, 1]


def test_images_of_the_prediction_may_stand_in_any_order_and_without_areas(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    before = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)

    def shorten(content: dict) -> dict:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                del segment["area"], segment["iscrowd"], segment["bbox"]
        return {"annotations": content["annotations"][::-1]}

    edit(pair.predictions, shorten)
    assert score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1) == before


def test_novel_only_takes_seen_segments_for_void(tmp_path: Path) -> None:
    pair = write_novel_pair(tmp_path)
    scores = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, candidates="novel-only", workers=1)
    assert scores.groups == {"unseen": {"pq": 100.0, "sq": 100.0, "rq": 100.0, "n": 1}}
    all_names = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)
    # where all names compete, the cow on image 1 is one too many, and the other one is 12 of 18 px
    assert all_names.groups["unseen"]["pq"] == pytest.approx(100 * (12 / 18) / 1.5, abs=1e-12)


def test_pngs_in_the_zip_beside_their_json_score_the_same(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    expected = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)
    folder = pair.truth.with_suffix("")
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    assert score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1) == expected


def test_a_json_in_a_zip_with_its_pngs_in_a_zip_beside_it_scores_the_same(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    expected = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)
    folder = pair.truth.with_suffix("")
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    packed = Path(shutil.make_archive(str(tmp_path / "annotations"), "zip", pair.truth.parent))
    shutil.rmtree(pair.truth.parent)
    assert score_panoptic(packed / "panoptic.json", pair.predictions, vocabulary=VOCABULARY, workers=1) == expected


def test_pngs_may_lie_elsewhere(tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    expected = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)
    elsewhere = pair.predictions.with_suffix("").rename(tmp_path / "elsewhere")
    found = score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, predictions_png=elsewhere, workers=1)
    assert found == expected

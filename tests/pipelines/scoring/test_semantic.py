"""Label maps in files: real ones, damaged ones against a count by hand, what is ignored, missing and listed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from panoptic_world import VOCABULARY
from PIL import Image
from scoring_world import write_semantic_pair
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.data.formats.label_map import write_label_map
from pipelines.scoring.semantic import default_ignored, score_label_maps
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary


def test_ade20k_scores_100_over_its_15_present_categories() -> None:
    sample = shared_data("ade20k_sample3")
    scores = score_label_maps(
        sample / "annotations", sample / "predictions", vocabulary=load_vocabulary("ade150"), workers=1
    )
    assert scores.groups["all"] == {"miou": 100.0, "pacc": 100.0, "n": 15}
    assert (scores.images, len(scores.categories), list(scores.groups)) == (3, 150, ["all", "things", "stuff"])


def test_voc_ignores_background_and_border() -> None:
    folder = shared_data("voc_sample3") / "SegmentationClass"
    scores = score_label_maps(folder, folder, vocabulary=load_vocabulary("voc20"), workers=1)
    assert scores.groups["all"] == {"miou": 100.0, "pacc": 100.0, "n": 3}
    assert scores.groups["harmonic"]["miou"] is None  # no unseen category is there
    pixels = {c.name: c.figures["truth_px"] for c in scores.categories if c.figures["truth_px"]}
    values = np.concatenate([np.asarray(Image.open(path)).ravel() for path in folder.iterdir()])
    assert pixels == {"aeroplane": (values == 1).sum(), "bicycle": (values == 2).sum(), "person": (values == 15).sum()}


def test_100_coco_images_against_themselves_and_against_damaged_copies(tmp_path: Path) -> None:
    truth, vocabulary = shared_data("coco_panoptic_100train") / "semantic_derived", load_vocabulary("coco_panoptic")
    perfect = score_label_maps(truth, truth, vocabulary=vocabulary, workers=1)
    assert perfect.groups["all"] == {"miou": 100.0, "pacc": 100.0, "n": 119}
    rng = np.random.default_rng(0)
    pairs = []
    for path in sorted(truth.iterdir()):
        values = np.asarray(Image.open(path)).astype(np.int32)
        damaged = np.roll(values, int(rng.integers(0, 9)), axis=1)
        damaged[: int(rng.integers(0, 60))] = rng.choice([0, 255, *vocabulary.ids])
        write_label_map(tmp_path / path.name, damaged)
        pairs.append((values, damaged))
    scores = score_label_maps(truth, tmp_path, vocabulary=vocabulary, workers=1)
    # by hand: intersection and union of each category where the truth counts
    right = counted = 0
    both, either = Counter[int](), Counter[int]()
    for values, damaged in pairs:
        counts = (values != 0) & (values != 255)
        right, counted = right + int((counts & (values == damaged)).sum()), counted + int(counts.sum())
        for id in {*np.unique(values).tolist(), *np.unique(damaged).tolist()} - {0, 255}:
            both[id] += int(((values == id) & (damaged == id)).sum())
            either[id] += int((((values == id) | (damaged == id)) & counts).sum())
    ious = {id: 100 * both[id] / either[id] if either[id] else None for id in vocabulary.ids}
    assert {c.id: c.figures["iou"] for c in scores.categories} == pytest.approx(ious, abs=1e-12)
    assert scores.groups["all"]["pacc"] == pytest.approx(100 * right / counted, abs=1e-12)
    present = [iou for iou in ious.values() if iou is not None]
    assert scores.groups["all"]["miou"] == pytest.approx(sum(present) / len(present), abs=1e-10)


def test_hand_made_scores_and_any_number_of_workers(tmp_path: Path) -> None:
    pair = write_semantic_pair(tmp_path)
    one, two = (score_label_maps(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=n) for n in (1, 2))
    assert one == two
    assert [c.figures["iou"] for c in one.categories] == [50.0, 0.0, 100.0, 100.0]
    assert one.groups["all"] == {"miou": 62.5, "pacc": 100 * (33 / 42), "n": 4}
    assert one.groups["harmonic"]["miou"] == pytest.approx(200 / 3, abs=1e-12)


def test_novel_only_counts_unseen_pixels_alone(tmp_path: Path) -> None:
    pair = write_semantic_pair(tmp_path)
    for name in "ab":
        write_label_map(pair.predictions / f"{name}.png", np.full((4, 6), 21))
    scores = score_label_maps(pair.truth, pair.predictions, vocabulary=VOCABULARY, candidates="novel-only", workers=1)
    assert scores.groups == {"unseen": {"miou": 100.0, "pacc": 100.0, "n": 1}}


def test_missing_images_count_as_nothing_where_allowed(tmp_path: Path) -> None:
    pair = write_semantic_pair(tmp_path)
    (pair.predictions / "b.png").unlink()
    scores = score_label_maps(pair.truth, pair.predictions, vocabulary=VOCABULARY, allow_missing=True, workers=1)
    assert scores.missing == ("b",)
    assert [c.figures["iou"] for c in scores.categories] == [75.0, 0.0, 100.0, 0.0]


def test_a_list_says_which_images_count(tmp_path: Path) -> None:
    pair = write_semantic_pair(tmp_path)
    (pair.predictions / "b.png").unlink()
    (tmp_path / "val.txt").write_text("a\n")
    scores = score_label_maps(
        pair.truth, pair.predictions, vocabulary=VOCABULARY, listed=tmp_path / "val.txt", workers=1
    )
    assert (scores.images, scores.missing, scores.groups["all"]["n"]) == (1, (), 2)


def test_zero_is_a_category_where_the_vocabulary_says_so(tmp_path: Path) -> None:
    categories = (Category(id=0, name="person", isthing=True), Category(id=1, name="sky", isthing=False))
    vocabulary = Vocabulary(name="zero", categories=categories)
    assert default_ignored(vocabulary) == {255}
    write_label_map(tmp_path / "a.png", np.array([[0, 0, 1, 255]]))
    scores = score_label_maps(tmp_path, tmp_path, vocabulary=vocabulary, workers=1)
    assert [c.figures["truth_px"] for c in scores.categories] == [2, 1]
    with pytest.raises(ConcatError, match="category person"):
        score_label_maps(tmp_path, tmp_path, vocabulary=vocabulary, ignored={0}, workers=1)

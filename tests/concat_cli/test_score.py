"""`concat score`: tables, files, what it finds out by itself, and every refusal."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from concat_command import concat_here, refused
from panoptic_world import STUFF, UNSEEN, VOCABULARY, segment
from PIL import Image
from scoring_world import (
    Paths,
    edit,
    ids_of,
    rle,
    write_instance_pair,
    write_novel_pair,
    write_panoptic_pair,
    write_semantic_pair,
)

from pipelines.data.formats.label_map import write_label_map
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.scoring.scores import Scores


@pytest.fixture
def concat(tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: object) -> Any:
        workers = ["--workers", 1] if arguments[0] == "score" else []
        return concat_here(*arguments, *workers, cache=tmp_path / "cache")

    return run


def _rows(shown: str) -> dict[str, list[str]]:
    """The rows of a table: first cell → the others."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    return {cells[0]: cells[1:] for cells in lines}


def test_a_panoptic_table(concat: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    shown = concat("score", *pair.options)
    assert shown.returncode == 0, shown.stderr
    assert "Panoptic quality" in shown.stdout
    assert "(generalised)" in shown.stdout
    rows = _rows(shown.stdout)
    assert list(rows) == ["all", "things", "stuff", "seen", "unseen", "harmonic"]
    assert rows["all"] == ["62.5", "68.8", "66.7", "4"]
    assert rows["harmonic"][::3] == ["66.7", "–"]
    assert "2 images, categories of toy" in shown.stdout
    assert "*" not in shown.stdout


def test_categories_on_demand_with_unseen_ones_starred(concat: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    rows = _rows(concat("score", *pair.options, "--per-category").stdout)
    assert list(rows)[:4] == ["cat", "dog", "sky", "cow*"]
    assert rows["cat"] == ["50.0", "75.0", "66.7", "1", "1", "0"]


def test_label_maps_and_instances_are_known_by_their_form(concat: Callable[..., Any], tmp_path: Path) -> None:
    semantic = concat("score", *write_semantic_pair(tmp_path / "semantic").options)
    assert "Mean IoU" in semantic.stdout
    assert _rows(semantic.stdout)["all"] == ["62.5", "78.6", "4"]
    instances = concat("score", *write_instance_pair(tmp_path / "instances").options)
    assert "Average precision" in instances.stdout
    assert _rows(instances.stdout)["unseen"] == ["100.0"] * 6 + ["1"]
    assert _rows(instances.stdout)["stuff"] == ["–"] * 6 + ["0"]


def test_json_alone_on_stdout_and_files(concat: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    shown = concat("score", *pair.options, "--json", "--csv", tmp_path / "s.csv", "--out", tmp_path / "new/s.json")
    scores = Scores.model_validate_json(shown.stdout)
    assert json.loads(shown.stdout)["groups"]["all"]["pq"] == 62.5
    assert (tmp_path / "new/s.json").read_text() == shown.stdout
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [*scores.groups, *VOCABULARY.names]


def test_a_table_says_which_images_counted_as_empty(concat: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_panoptic_pair(tmp_path)
    edit(pair.predictions, lambda content: {**content, "annotations": content["annotations"][:1]})
    shown = concat("score", *pair.options, "--allow-missing")
    assert "1 of them had no prediction and counted as empty: 0002.jpg" in shown.stdout
    assert _rows(shown.stdout)["unseen"][0] == "0.0"


def test_novel_only_is_said_and_shows_unseen_alone(concat: Callable[..., Any], tmp_path: Path) -> None:
    shown = concat("score", *write_novel_pair(tmp_path).options, "--candidates", "novel-only")
    assert "(novel-only)" in shown.stdout
    assert _rows(shown.stdout) == {"unseen": ["100.0", "100.0", "100.0", "1"]}


def _annotation(change: Callable[[dict[str, Any]], Any]) -> Callable[[Paths], None]:
    """Changes the prediction of image 2."""

    def changed(content: dict[str, Any]) -> None:
        change(content["annotations"][1])

    return lambda pair: edit(pair.predictions, changed)


def _segment(**changed: object) -> Callable[[Paths], None]:
    """Changes the predicted cow of image 2."""
    return _annotation(lambda annotation: annotation["segments_info"][0].update(changed))


def _add_image(content: dict[str, Any], image: int) -> None:
    content["annotations"].append({**content["annotations"][0], "image_id": image})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _paint(pair: Paths, ids: np.ndarray) -> None:
    write_panoptic_png(pair.png("0002.png"), ids)


PANOPTIC: dict[str, tuple[Callable[[Paths], object], list[str]]] = {
    "id only in the PNG": (
        _annotation(lambda annotation: annotation["segments_info"].pop()),
        ["image 0002.jpg has segment 8 in its PNG but not in its json", "0002.png"],
    ),
    "id only in the json": (
        lambda pair: _paint(pair, ids_of((np.s_[:], 7))),
        ["image 0002.jpg has segment 8 in its json but not in its PNG", "0002.png"],
    ),
    "another size": (
        lambda pair: _paint(pair, np.full((5, 6), 7)),
        ["image 0002.jpg differ in size: 6×4 and 6×5 px", "0002.png"],
    ),
    "unknown category": (_segment(category_id=99), ["image 0002.jpg has a segment of the unknown category 99"]),
    "id listed twice": (_segment(id=8), ["image 0002.jpg lists 8 twice"]),
    "id beyond 24 bits": (_segment(id=2**24), ["image 0002.jpg has segment 16777216", "16777215"]),
    "id of void for a painted one": (_segment(id=0), ["image 0002.jpg has segment 7 in its PNG but not in its json"]),
    "image twice": (
        lambda pair: edit(pair.predictions, lambda content: _add_image(content, 1)),
        ["Image 0001.jpg is predicted twice"],
    ),
    "image of no truth": (
        lambda pair: edit(pair.predictions, lambda content: _add_image(content, 9)),
        ["Image 9 (0001.png) is predicted but not in the ground truth"],
    ),
    "no prediction": (
        lambda pair: edit(pair.predictions, lambda content: {"annotations": content["annotations"][:1]}),
        ["Image 0002.jpg has no prediction (1 of 2 images", "--allow-missing"],
    ),
    "climbing name": (
        _annotation(lambda annotation: annotation.update(file_name="../../0002.png")),
        ["'../../0002.png' leads out of its folder"],
    ),
    "no PNG": (lambda pair: pair.png("0002.png").unlink(), ["Panoptic PNG not found", "0002.png"]),
    "cut PNG": (lambda pair: _cut(pair.png("0002.png")), ["Panoptic PNG not readable", "0002.png"]),
    "grey PNG": (
        lambda pair: Image.fromarray(np.zeros((4, 6), np.uint8)).save(pair.png("0002.png")),
        ["Not a panoptic PNG: PNG of mode L", "0002.png"],
    ),
    "cut json": (lambda pair: _cut(pair.predictions), ["Not valid JSON", "panoptic.json"]),
    "results of instances": (
        lambda pair: edit(pair.predictions, lambda _: [{"image_id": 1}]),
        ["Not a COCO-panoptic json"],
    ),
    "no file": (lambda pair: pair.predictions.unlink(), ["not found", "panoptic.json"]),
    "truth of another vocabulary": (
        lambda pair: edit(pair.truth, lambda c: c["annotations"][0]["segments_info"][0].update(category_id=99)),
        ["The ground truth of image 0001.jpg has a segment of the unknown category 99", "--vocabulary"],
    ),
    "truth image twice": (
        lambda pair: edit(pair.truth, lambda content: content["images"].append(content["images"][0])),
        ["Image 1 stands more than once"],
    ),
    "too small an area": (
        lambda pair: edit(pair.truth, lambda c: c["annotations"][1]["segments_info"][0].update(area=1)),
        ["The area of segment 3 of image 0002.jpg is too small", "truth/panoptic/0002.png"],
    ),
    "truth segment twice": (
        lambda pair: edit(pair.truth, lambda c: c["annotations"][0]["segments_info"].append(segment(1, STUFF))),
        ["The ground truth of image 0001.jpg lists 1 twice", "truth/panoptic/0001.png"],
    ),
    "empty PNG": (
        lambda pair: pair.png("0001.png").write_bytes(b""),
        ["it is no picture", "predicted/panoptic/0001.png"],
    ),
}


@pytest.mark.parametrize("case", PANOPTIC)
def test_panoptic_predictions_that_are_refused(concat: Callable[..., Any], tmp_path: Path, case: str) -> None:
    pair = write_panoptic_pair(tmp_path)
    break_it, phrases = PANOPTIC[case]
    break_it(pair)
    refused(concat("score", *pair.options), *phrases)


SEMANTIC: dict[str, tuple[Callable[[Paths], object], list[str]]] = {
    "value of no category": (
        lambda pair: write_label_map(pair.predictions / "b.png", np.full((4, 6), 5)),
        ["The label map of image b holds the value 5, which is no category of toy", "predictions/b.png", "--ignore 5"],
    ),
    "truth value of no category": (
        lambda pair: write_label_map(pair.truth / "b.png", np.full((4, 6), 300)),
        ["image b holds the value 300", "truth/b.png"],
    ),
    "another size": (
        lambda pair: write_label_map(pair.predictions / "b.png", np.full((5, 6), STUFF)),
        ["image b differ in size: 6×4 and 6×5 px", "predictions/b.png"],
    ),
    "no prediction": (
        lambda pair: (pair.predictions / "b.png").unlink(),
        ["Image b has no prediction (1 of 2 images", "--allow-missing"],
    ),
    "image of no truth": (
        lambda pair: (pair.truth / "b.png").unlink(),
        ["Image b.png is predicted but not in the ground truth"],
    ),
    "colours": (
        lambda pair: Image.new("RGB", (6, 4), "red").save(pair.predictions / "b.png"),
        ["Not a label map: PNG of mode RGB", "predictions/b.png"],
    ),
    "cut PNG": (lambda pair: _cut(pair.predictions / "b.png"), ["Label map not readable", "predictions/b.png"]),
    "no label map": (
        lambda pair: [path.unlink() for path in pair.predictions.iterdir()],
        ["no label map", "predictions"],
    ),
}


@pytest.mark.parametrize("case", SEMANTIC)
def test_label_maps_that_are_refused(concat: Callable[..., Any], tmp_path: Path, case: str) -> None:
    pair = write_semantic_pair(tmp_path)
    break_it, phrases = SEMANTIC[case]
    break_it(pair)
    refused(concat("score", *pair.options), *phrases)


def _result(**changed: object) -> Callable[[Paths], None]:
    return lambda pair: edit(pair.predictions, lambda results: results[1].update(changed))


INSTANCE: dict[str, tuple[Callable[[Paths], object], list[str]]] = {
    "unknown category": (_result(category_id=99), ["image 2", "category_id: 99", "results.json"]),
    "image of no truth": (_result(image_id=9), ["image_id: 9", "results.json"]),
    "score that is no number": (_result(score=float("nan")), ["image 2", "no finite score", "results.json"]),
    "another size": (_result(segmentation={**rle(np.s_[:]), "size": [6, 4]}), ["image 2", "[6, 4]", "results.json"]),
    "no shape": (_result(segmentation=None), ["image 2", "no segmentation", "results.json"]),
    "no list": (lambda pair: edit(pair.predictions, lambda _: {"a": 1}), ["Not a COCO results json", "results.json"]),
    "cut results": (lambda pair: _cut(pair.predictions), ["Not valid JSON", "results.json"]),
    "truth without images": (
        lambda pair: edit(pair.truth, lambda content: content.pop("images") and None),
        ["Not a COCO instances json: it has no list of images", "truth.json"],
    ),
    "damaged truth": (
        lambda pair: edit(pair.truth, lambda content: content["annotations"][2].update(segmentation=[[1, 2, 3]])),
        ["Instance 3 of the ground truth, image 2", "truth.json"],
    ),
    "truth of another vocabulary": (
        lambda pair: edit(pair.vocabulary, lambda v: {**v, "categories": v["categories"][2:3]}),
        ["None of the ground truth's categories is one of the vocabulary", "truth.json"],
    ),
}


@pytest.mark.parametrize("case", INSTANCE)
def test_instances_that_are_refused(concat: Callable[..., Any], tmp_path: Path, case: str) -> None:
    pair = write_instance_pair(tmp_path / "pair")
    break_it, phrases = INSTANCE[case]
    break_it(pair)
    refused(concat("score", *pair.options), *phrases)


@pytest.mark.parametrize("write", [write_panoptic_pair, write_semantic_pair, write_instance_pair])
def test_novel_only_refuses_seen_names_and_vocabularies_without_unseen_ones(
    concat: Callable[..., Any], tmp_path: Path, write: Callable[[Path], Paths]
) -> None:
    pair = write(tmp_path / "pair")
    refused(concat("score", *pair.options, "--candidates", "novel-only"), "seen category", "unseen names compete alone")
    edit(pair.vocabulary, lambda v: {**v, "categories": [{**c, "unseen": False} for c in v["categories"]]})
    refused(concat("score", *pair.options, "--candidates", "novel-only"), "marks no category as unseen")


def test_options_that_do_not_fit(concat: Callable[..., Any], tmp_path: Path) -> None:
    semantic, panoptic = write_semantic_pair(tmp_path / "semantic"), write_panoptic_pair(tmp_path / "panoptic")
    refused(concat("score", *semantic.options[:4]), "Label maps do not say what their values mean", "--vocabulary")
    refused(concat("score", *semantic.options, "--ignore", "0,x"), "--ignore wants pixel values", "'0,x'")
    refused(concat("score", *semantic.options, "--ignore", UNSEEN), "21 is to be ignored but is the category cow")
    refused(concat("score", *semantic.options, "--truth-png", tmp_path), "--truth-png says something about panoptic")
    refused(concat("score", *panoptic.options, "--ignore", "255"), "--ignore says something about semantic data")
    refused(concat("score", *panoptic.options, "--task", "instance"), "Not a COCO")


def test_a_truncated_zip_is_refused(concat: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_semantic_pair(tmp_path / "semantic")
    packed = Path(shutil.make_archive(str(tmp_path / "predictions"), "zip", pair.predictions))
    shown = concat("score", "--truth", pair.truth, "--predictions", packed, "--vocabulary", pair.vocabulary)
    assert _rows(shown.stdout)["all"] == ["62.5", "78.6", "4"]
    _cut(packed)
    shown = concat("score", "--truth", pair.truth, "--predictions", packed, "--vocabulary", pair.vocabulary)
    refused(shown, "truncated or damaged", "predictions.zip")

"""Damaged and hostile predictions: a clear error or the right score, and nothing else.

The right score is what a slow reference finds in the very bytes that were scored.
"""

import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from panoptic_world import VOCABULARY
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scoring_world import Paths, write_instance_pair, write_panoptic_pair, write_semantic_pair

from pipelines.base.errors import ConcatError
from pipelines.data.files.plain_json import plain_value
from pipelines.scoring.instance import score_instances
from pipelines.scoring.panoptic import score_panoptic
from pipelines.scoring.scores import Scores
from pipelines.scoring.semantic import score_label_maps

ODD_NAMES = ["", "7", "../../up.png", "/etc/passwd", "a\0.png", "C:\\a.png"]
ODD_NUMBERS = [-1, 0, 1, 2, 7, 21, 99, 2**24, 2**53, 2**64, 10**400, 0.5, 1.0, math.nan, math.inf, -math.inf]
ODD_VALUES: list[Any] = [None, True, *ODD_NAMES, *ODD_NUMBERS, [], [1], [[1.0, 2.0]], {}, {"a": 1}, [[], []]]
many = settings(max_examples=60, deadline=10_000, suppress_health_check=list(HealthCheck))


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that happens to the bytes of a file: cut off, bits turned, a piece lost or put in."""
    kind = draw(st.sampled_from(["cut", "flip", "lose", "insert"]))
    place, length = draw(st.floats(0, 0.999)), draw(st.integers(1, 12))
    new = draw(st.binary(min_size=1, max_size=4))

    def apply(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == "cut":
            return data[:at]
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ (new[0] or 1)]) + data[at + 1 :]
        return data[:at] + (new if kind == "insert" else b"") + data[at + (length if kind == "lose" else 0) :]

    return apply


@st.composite
def change(draw: st.DrawFn) -> Callable[[Any], Any]:
    """A json with one value lost, doubled, or put in the place of another."""
    picks = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
    kind, value = draw(st.sampled_from(["lose", "double", "put", "put", "put"])), draw(st.sampled_from(ODD_VALUES))

    def apply(content: Any) -> Any:
        parent, key = None, None
        node = content
        for pick in picks:
            if not isinstance(node, dict | list) or not node:
                break
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            parent, key = node, keys[pick % len(keys)]
            node = parent[key]
        if parent is None:
            return value
        if kind == "put":
            parent[key] = value
        elif kind == "double" and isinstance(parent, list):
            parent.append(parent[key])
        else:
            del parent[key]
        return content

    return apply


def _read(path: Path) -> Any:
    """A json whose unread parts may be no text."""
    return json.loads(path.read_bytes().decode(errors="replace"))


def _apply(change: Callable[[Any], Any], path: Path) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _check(score: Callable[[], Scores], reference: Callable[[], dict[str, Any]], name: str) -> None:
    """Scores must refuse, or agree with the reference."""
    try:
        scores = score()
    except ConcatError:
        return
    found = {c.name: c.figures[name] for c in scores.categories}
    assert found == pytest.approx(reference(), abs=1e-9)


def _fresh(folder: Path, write: Callable[[Path], Paths], number: list[int]) -> Paths:
    number[0] += 1
    (folder / str(number[0])).mkdir()
    return write(folder / f"{number[0]}/pair")


# Panoptic


def _slow_pq(pair: Paths) -> dict[str, float | None]:
    """PQ in percent, mask by mask, of jsons that panopticapi would take."""
    truth, predictions = (plain_value(_read(path)) for path in (pair.truth, pair.predictions))
    sums = {id: [0.0, 0, 0, 0] for id in VOCABULARY.ids}
    for annotation in truth["annotations"]:
        (guess,) = [p for p in predictions["annotations"] if p["image_id"] == annotation["image_id"]]
        maps = []
        for path, entry in ((pair.truth, annotation), (pair.predictions, guess)):
            colours = np.asarray(Image.open(path.with_suffix("") / entry["file_name"]).convert("RGB")).astype(int)
            maps.append(colours @ [1, 256, 65536])
        found = {s["id"]: s["category_id"] for s in guess["segments_info"]}
        assert {0, *found} == {0, *np.unique(maps[1]).tolist()}
        unmatched = dict(found)
        crowd = {s["category_id"]: s["id"] for s in annotation["segments_info"] if s.get("iscrowd")}
        for s in annotation["segments_info"]:
            if s.get("iscrowd"):
                continue
            category = sums[s["category_id"]]
            area = s.get("area", int((maps[0] == s["id"]).sum()))
            for id, label in found.items() if s["id"] else ():  # void's pixels are nobody's
                both = int(((maps[0] == s["id"]) & (maps[1] == id)).sum())
                union = area + int(((maps[1] == id) & (maps[0] != 0)).sum()) - both
                if both and label == s["category_id"] and both / union > 0.5:
                    category[0], category[1] = category[0] + both / union, category[1] + 1
                    unmatched.pop(id)
                    break
            else:
                category[3] += 1
        for id, label in unmatched.items():
            excused = [maps[0] == 0] + ([maps[0] == crowd[label]] if label in crowd else [])
            if sum(int(((maps[1] == id) & part).sum()) for part in excused) <= 0.5 * int((maps[1] == id).sum()):
                sums[label][2] += 1
    return {
        c.name: 100 * iou / (tp + fp / 2 + fn / 2) if tp + fp + fn else None
        for c, (iou, tp, fp, fn) in zip(VOCABULARY.categories, sums.values(), strict=True)
    }


def _check_panoptic(pair: Paths) -> None:
    _check(
        lambda: score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1),
        lambda: _slow_pq(pair),
        "pq",
    )


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where nothing is compiled yet, the first PNG takes seconds, which is no hang."""
    pair = write_panoptic_pair(tmp_path_factory.mktemp("compiled") / "pair")
    score_panoptic(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1)


@pytest.fixture(scope="module")
def counter() -> list[int]:
    return [0]


@many
@given(damage(), st.sampled_from(["truth", "predictions", "truth png", "predicted png"]))
def test_damaged_panoptic_files(
    tmp_path_factory: pytest.TempPathFactory, counter: list[int], happens: Callable[[bytes], bytes], where: str
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_panoptic_pair, counter)
    path = {
        "truth": pair.truth,
        "predictions": pair.predictions,
        "truth png": pair.truth.with_suffix("") / "0001.png",
        "predicted png": pair.png("0002.png"),
    }[where]
    path.write_bytes(happens(path.read_bytes()))
    _check_panoptic(pair)


@many
@given(change(), st.booleans())
def test_odd_panoptic_jsons(
    tmp_path_factory: pytest.TempPathFactory, counter: list[int], happens: Callable[[Any], Any], in_truth: bool
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_panoptic_pair, counter)
    _apply(happens, pair.truth if in_truth else pair.predictions)
    _check_panoptic(pair)


@many
@given(st.lists(st.sampled_from([0, 1, 2, 70000, 6, 7, 8, 2**24 - 1]), min_size=24, max_size=24), st.integers(1, 2))
def test_ids_that_no_json_lists(
    tmp_path_factory: pytest.TempPathFactory, counter: list[int], ids: list[int], image: int
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_panoptic_pair, counter)
    values = np.array(ids).reshape(4, 6)
    colours = np.stack([values & 255, values >> 8 & 255, values >> 16], -1).astype(np.uint8)
    Image.fromarray(colours).save(pair.png(f"{image:04d}.png"))
    _check_panoptic(pair)


# Label maps


def _slow_iou(pair: Paths) -> dict[str, float | None]:
    """IoU in percent of label maps whose values are categories, 0 or 255."""
    known = {0, 255, *VOCABULARY.ids}
    maps = []
    for name in "ab":
        truth, guess = (np.asarray(Image.open(f / f"{name}.png")).astype(int) for f in (pair.truth, pair.predictions))
        assert {*np.unique(truth).tolist(), *np.unique(guess).tolist()} <= known
        maps.append((truth, guess))
    ious = {}
    for c in VOCABULARY.categories:
        both = sum(int(((t == c.id) & (p == c.id)).sum()) for t, p in maps)
        either = sum(int((((t == c.id) | (p == c.id)) & (t != 0) & (t != 255)).sum()) for t, p in maps)
        ious[c.name] = 100 * both / either if either else None
    return ious


def _check_semantic(pair: Paths) -> None:
    _check(
        lambda: score_label_maps(pair.truth, pair.predictions, vocabulary=VOCABULARY, workers=1),
        lambda: _slow_iou(pair),
        "iou",
    )


@many
@given(damage(), st.sampled_from(["a.png", "b.png"]), st.booleans())
def test_damaged_label_maps(
    tmp_path_factory: pytest.TempPathFactory,
    counter: list[int],
    happens: Callable[[bytes], bytes],
    name: str,
    in_truth: bool,
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_semantic_pair, counter)
    path = (pair.truth if in_truth else pair.predictions) / name
    path.write_bytes(happens(path.read_bytes()))
    _check_semantic(pair)


@many
@given(
    st.lists(st.sampled_from([0, 3, 7, 7, 21, 90, 90, 255, 4, 300, 65535]), min_size=24, max_size=24),
    st.sampled_from([(4, 6), (6, 4), (24, 1)]),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_odd_label_maps(
    tmp_path_factory: pytest.TempPathFactory,
    counter: list[int],
    values: list[int],
    shape: tuple[int, int],
    kind: type[np.integer],
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_semantic_pair, counter)
    Image.fromarray(np.array(values).reshape(shape).astype(kind)).save(pair.predictions / "a.png")
    _check_semantic(pair)


# Instances


def _pycocotools_ap(pair: Paths) -> dict[str, float | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        content = {**plain_value(_read(pair.truth)), "categories": [{"id": c.id} for c in VOCABULARY.categories]}
        content["annotations"] = [a for a in map(_drawn, content["annotations"]) if a["segmentation"] != []]
        for number, annotation in enumerate(content["annotations"], 1):
            annotation |= {"id": number, "iscrowd": int(bool(annotation.get("iscrowd", 0))), "area": 1}
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        results = plain_value(_read(pair.predictions))
        results = results["annotations"] if isinstance(results, dict) else results
        for result in results:
            result.pop("bbox", None)
        found = truth.loadRes(results) if results else COCO()
        ids = [c.id for c in VOCABULARY.categories]
        evaluation = COCOeval(truth, found, "segm")
        evaluation.params.catIds = ids
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    names = [c.name for c in sorted(VOCABULARY.categories, key=lambda c: c.id)]
    aps = [precision[:, :, k].mean() for k in range(len(ids))]
    return {name: 100 * ap if ap > -1 else None for name, ap in zip(names, aps, strict=True)}


def _drawn(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation without its polygons of fewer than three corners, which pycocotools takes for boxes or refuses."""
    mask = annotation["segmentation"]
    return annotation | {"segmentation": [p for p in mask if len(p) >= 6] if isinstance(mask, list) else mask}


def _check_instances(pair: Paths) -> None:
    _check(
        lambda: score_instances(pair.truth, pair.predictions, vocabulary=VOCABULARY),
        lambda: _pycocotools_ap(pair),
        "mask_ap",
    )


@many
@given(damage(), st.booleans())
def test_damaged_instance_files(
    tmp_path_factory: pytest.TempPathFactory, counter: list[int], happens: Callable[[bytes], bytes], in_truth: bool
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_instance_pair, counter)
    path = pair.truth if in_truth else pair.predictions
    path.write_bytes(happens(path.read_bytes()))
    _check_instances(pair)


@many
@given(change(), st.booleans())
def test_odd_instance_jsons(
    tmp_path_factory: pytest.TempPathFactory, counter: list[int], happens: Callable[[Any], Any], in_truth: bool
) -> None:
    pair = _fresh(tmp_path_factory.getbasetemp(), write_instance_pair, counter)
    _apply(happens, pair.truth if in_truth else pair.predictions)
    _check_instances(pair)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"annotations": ' * 50_000, ""])
@pytest.mark.parametrize("damaged", ["truth", "predictions"])
@pytest.mark.parametrize(
    ("write", "score"), [(write_panoptic_pair, score_panoptic), (write_instance_pair, score_instances)]
)
def test_a_json_without_bottom(
    tmp_path: Path, text: str, damaged: str, write: Callable[[Path], Paths], score: Callable[..., Scores]
) -> None:
    pair = write(tmp_path / "pair")
    getattr(pair, damaged).write_text(text)
    with pytest.raises(ConcatError, match=r"Not valid JSON|Not a COCO"):
        score(pair.truth, pair.predictions, vocabulary=VOCABULARY)

"""What a finished run predicts on its own validation scenes is what eval wrote, also from an exported file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from concat_command import FinishedRun, forge

from pipelines import Segmenter
from pipelines.base.errors import ConcatError
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.predict.bundle import write_bundle
from pipelines.predict.predictions import PanopticResult
from pipelines.predict.segmenter import read_model
from pipelines.runs.manifest import read_manifest


def _scenes(run: FinishedRun) -> list[Path]:
    annotations = Path(read_manifest(run.folder / "data/manifest.json").outputs["annotations"].path)
    images = json.loads((run.folder / "split/val.json").read_text())["images"]
    return [annotations.parent / "val2017" / image["file_name"] for image in images]


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_a_run_predicts_what_eval_wrote(smoke: FinishedRun, setting: str) -> None:
    segmenter = Segmenter.load(smoke.folder, device="cpu")
    listed = json.loads((smoke.folder / f"eval/{setting}.json").read_text())["annotations"]
    found = segmenter.predict_all(_scenes(smoke), setting=setting)  # type: ignore[arg-type]
    for prediction, annotation in zip(found, listed, strict=True):
        assert isinstance(prediction, PanopticResult)
        assert np.array_equal(
            prediction.ids, read_panoptic_png(smoke.folder / "eval" / setting / annotation["file_name"])
        )
        assert [(s.id, s.category.id, s.area) for s in prediction.segments] == [
            (s["id"], s["category_id"], s["area"]) for s in annotation["segments_info"]
        ]


def test_an_exported_run_predicts_the_same_bits(smoke: FinishedRun, tmp_path: Path) -> None:
    write_bundle(tmp_path / "run.concat", read_model(smoke.folder))
    here, there = Segmenter.load(smoke.folder, device="cpu"), Segmenter.load(tmp_path / "run.concat", device="cpu")
    names = "red circle, blue star, plain green ground, turquoise heart"
    for scene in _scenes(smoke)[:4]:
        for vocabulary in (None, names):
            one, other = (s.predict(scene, vocabulary, threshold=0.0) for s in (here, there))
            assert isinstance(one, PanopticResult)
            assert isinstance(other, PanopticResult)
            assert np.array_equal(one.ids, other.ids)
            assert one.segments == other.segments


def test_a_moved_run_finds_its_embeddings_in_the_cache_or_makes_them_anew(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    for stage in ("precompute", "finetune"):
        forge(run / stage / "manifest.json", lambda text: text.replace(str(smoke.cache), str(tmp_path / "gone")))
    expected = Segmenter.load(smoke.folder).embeddings(Segmenter.load(smoke.folder).vocabulary)
    anew, found = Segmenter.load(run), Segmenter.load(run, cache=smoke.cache)
    assert (len(anew.model.rows), len(found.model.rows)) == (0, 36)
    for segmenter in (anew, found):
        np.testing.assert_allclose(segmenter.embeddings(segmenter.vocabulary), expected, atol=1e-6)


def test_a_run_before_finetuning_answers_inductively(smoke: FinishedRun, tmp_path: Path) -> None:
    segmenter = Segmenter.load(smoke.copy(tmp_path, "finetune", "eval", "cat", "dump"))
    before = Segmenter.load(smoke.folder)
    scene = _scenes(smoke)[0]
    one, other = segmenter.predict(scene), before.predict(scene, setting="inductive")
    assert isinstance(one, PanopticResult)
    assert isinstance(other, PanopticResult)
    assert np.array_equal(one.ids, other.ids)
    with pytest.raises(ConcatError, match="no finetuned projector"):
        segmenter.predict(scene, setting="transductive")


def test_a_run_that_is_not_finished_is_refused(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "con", "eval")
    with pytest.raises(ConcatError, match="not finished: train-con has not run") as caught:
        Segmenter.load(run)
    assert f"concat train-con --run {run}" in str(caught.value.mend)


def test_an_extractor_trained_anew_after_finetuning_is_refused(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    path = run / "con/manifest.json"
    sha256 = read_manifest(path).outputs["model.safetensors"].sha256
    forge(path, lambda text: text.replace(sha256, "0" * 64))
    with pytest.raises(ConcatError, match="trained anew after finetuning"):
        Segmenter.load(run)


def test_damaged_weights_are_named(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    weights = run / "con/model.safetensors"
    weights.unlink()  # a copy, but one may share its file
    shutil.copy(smoke.folder / "finetune/projector.safetensors", weights)
    with pytest.raises(ConcatError, match="Not the weights of this model") as caught:
        Segmenter.load(run)
    assert caught.value.file == weights

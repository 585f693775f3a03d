"""The whole pipeline at smoke size: files, shapes, freshness, the fixed names of its results."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import pytest
from concat_command import FinishedRun, concat_here
from PIL import Image
from safetensors import safe_open

from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.runs.manifest import read_manifest

GROUPS = ("all", "things", "stuff", "seen", "unseen", "harmonic")
FOLDERS = ("data", "split", "precompute", "con", "dump", "cat", "finetune", "eval")


def _states(run: Path, cache: Path) -> dict[str, dict[str, str]]:
    shown = concat_here("status", run, "--json", cache=cache)
    assert shown.returncode == 0, shown.stderr
    return {stage["name"]: stage for stage in json.loads(shown.stdout)["stages"]}


def test_a_demo_leaves_what_the_readme_promises(smoke: FinishedRun) -> None:
    run = smoke.folder
    for folder in FOLDERS:
        assert read_manifest(run / folder / "manifest.json").outputs
    for name in ("con/model", "cat/generator", "finetune/projector"):
        with safe_open(run / f"{name}.safetensors", framework="pt") as file:
            assert file.keys()
    assert sorted(path.name for path in run.iterdir()) == sorted([".lock", "recipe.toml", *FOLDERS])
    assert not list(run.rglob("*checkpoint*"))
    for name in ("eval/panels.png", "split/overlay_train.png", "split/overlay_val.png"):
        with Image.open(run / name) as picture:
            assert picture.width > 800
    assert (run / "split/counts.csv").read_text().count("\n") == 37


def test_a_demo_shows_each_stage_and_the_final_table_and_no_library_speaks(smoke: FinishedRun) -> None:
    assert smoke.shown.stderr == ""
    shown = smoke.shown.stdout
    for stage in ("make-micrococo", "split-coco", "precompute", "train-con", "dump-queries", "train-cat", "finetune"):
        assert f"› {stage}, which eval needs: not run yet" in shown
    table = shown[shown.index("Panoptic quality") :]
    for row in ("inductive +0 ", "inductive +1 ", "inductive +2 ", "transductive ", "transductive best*"):
        assert re.search(rf"│ {re.escape(row)} *│( +\d+\.\d │){{6}}", table), table
    assert str(smoke.folder / "eval/panels.png") in table
    assert "Warning" not in shown


def test_metrics_have_the_fixed_shape(smoke: FinishedRun) -> None:
    metrics = json.loads((smoke.folder / "eval/metrics.json").read_text())
    scores = [metrics["inductive"], metrics["transductive"], metrics["transductive_best"]]
    scores += [*metrics["inductive_sweep"].values(), *metrics["finetune_path"].values()]
    assert list(metrics["inductive_sweep"]) == ["0", "0.5", "1", "1.5", "2"]
    assert list(metrics["finetune_path"]) == ["10", "20"]
    assert metrics["inductive"] == metrics["inductive_sweep"]["1"]
    assert metrics["transductive"]["panoptic"] == metrics["finetune_path"]["20"]["panoptic"]
    assert metrics["transductive_best"]["panoptic"] in [m["panoptic"] for m in metrics["finetune_path"].values()]
    assert "test set" in metrics["transductive_best"]["note"]
    for score in scores:
        _check_score(score["panoptic"])


def _check_score(panoptic: dict[str, Any]) -> None:
    assert tuple(panoptic) == GROUPS
    for group, figures in panoptic.items():
        assert set(figures) == {"pq", "sq", "rq", "n"}
        assert figures["n"] is None if group == "harmonic" else isinstance(figures["n"], int)
        assert all(figures[key] is None or 0 <= figures[key] <= 100 for key in ("pq", "sq", "rq"))
    assert panoptic["things"]["n"] + panoptic["stuff"]["n"] == panoptic["all"]["n"]
    assert panoptic["seen"]["n"] + panoptic["unseen"]["n"] == panoptic["all"]["n"]


def test_predictions_are_in_the_official_format(smoke: FinishedRun) -> None:
    truth = json.loads((smoke.folder / "split/val.json").read_text())
    for setting in ("inductive", "transductive"):
        content = json.loads((smoke.folder / f"eval/{setting}.json").read_text())
        assert [i["id"] for i in content["images"]] == [i["id"] for i in truth["images"]]
        assert [a["image_id"] for a in content["annotations"]] == [a["image_id"] for a in truth["annotations"]]
        for annotation in content["annotations"]:
            ids = read_panoptic_png(smoke.folder / "eval" / setting / annotation["file_name"])
            assert ids.shape == (96, 96)
            assert set(ids.ravel().tolist()) - {0} == {segment["id"] for segment in annotation["segments_info"]}
            assert all((ids == s["id"]).sum() == s["area"] for s in annotation["segments_info"])


def test_the_dump_holds_all_queries_with_labels(smoke: FinishedRun) -> None:
    manifest = read_manifest(smoke.folder / "dump/manifest.json")
    train = json.loads((smoke.folder / "split/train.json").read_text())
    rows = 0
    for shard in sorted(Path(manifest.outputs["queries"].path).glob("*.h5")):
        with h5py.File(shard) as file:
            rows += len(file["queries"])
            assert file["queries"].shape[1:] == (20, 64)
            assert file["labels"][:].max() < len(train["categories"])
            assert (file["labels"][:] >= 0).any(axis=1).all()
    assert rows == len(train["images"])


def test_a_second_run_does_nothing(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    again = concat_here("run", "smoke", "--run", run, cache=smoke.cache)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert "Panoptic quality" in again.stdout
    assert (run / "eval/manifest.json").read_bytes() == (smoke.folder / "eval/manifest.json").read_bytes()


def test_status_is_json_and_names_what_changed(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    assert [stage["state"] for stage in _states(run, smoke.cache).values()] == ["fresh"] * len(FOLDERS)
    recipe = run / "recipe.toml"
    recipe.write_text(re.sub(r"(?m)^kl_weight = .*$", "kl_weight = 2.0", recipe.read_text()))
    changed = _states(run, smoke.cache)
    assert changed["train-cat"] == {"name": "train-cat", "state": "stale", "why": "cat.kl_weight: 1.0 → 2.0"}
    assert changed["dump-queries"]["state"] == "fresh"
    assert changed["finetune"]["state"] == changed["eval"]["state"] == "stale"


@pytest.mark.parametrize(
    ("setting", "first_stale"),
    [
        ("con.log_every=7", None),
        ("eval.score_threshold=0.2", "eval"),
        ("finetune.pseudo_unseen=32", "finetune"),
        ("dump.views=['plain', 'flipped']", "dump-queries"),
        ("clip.prompts=single", "precompute"),
        ("data.micrococo.seed=9", "make-micrococo"),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it(
    smoke: FinishedRun, tmp_path: Path, setting: str, first_stale: str | None
) -> None:
    from pipelines.recipes.load import load_recipe, write_recipe

    run = smoke.copy(tmp_path)
    write_recipe(run / "recipe.toml", load_recipe(str(run / "recipe.toml"), (setting,)))
    states = _states(run, smoke.cache)
    names = list(states)
    first = names.index(first_stale) if first_stale else len(names)
    assert [states[name]["state"] for name in names[:first]] == ["fresh"] * first
    assert all(states[name]["state"] == "stale" for name in names[first : first + 1])


def test_verify_finds_a_changed_byte(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    assert concat_here("verify", run, cache=smoke.cache).returncode == 0
    weights = run / "cat/generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    found = concat_here("verify", run, cache=smoke.cache)
    assert found.returncode == 2
    assert "generator.safetensors was changed" in found.stderr


def test_a_new_unseen_name_leaves_images_and_training_alone(smoke: FinishedRun, tmp_path: Path) -> None:
    """What is made for the seen half does not depend on how the unseen half is called."""
    run = smoke.copy(tmp_path)
    vocabulary = Path(__file__).parents[2] / "pipelines/vocabularies/micrococo.toml"
    renamed = tmp_path / "vocabulary.toml"
    renamed.write_text(vocabulary.read_text().replace('"red circle"', '"crimson disc"'))
    done = concat_here("split-coco", "--run", run, "--vocabulary", renamed, cache=smoke.cache)
    assert done.returncode == 0, done.stderr
    states = {name: stage["state"] for name, stage in _states(run, smoke.cache).items()}
    assert states["precompute"] == states["train-con"] == states["dump-queries"] == states["train-cat"] == "fresh"
    assert states["finetune"] == states["eval"] == "stale"


def test_micrococo_alone_can_be_made_and_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    arguments = ("make-micrococo", folder, "--train", 3, "--val", 2, "--tune", 1)
    assert concat_here(*arguments, cache=tmp_path).returncode == 0
    for split, count in (("train", 3), ("val", 2), ("tune", 1)):
        assert len(list((folder / f"{split}2017").glob("*.jpg"))) == count
        assert len(list((folder / f"annotations/panoptic_{split}2017").glob("*.png"))) == count
    again = concat_here(*arguments, cache=tmp_path)
    assert again.returncode == 2
    assert "not empty" in again.stderr

"""The whole pipeline at smoke size: files, shapes, freshness, the fixed names of its results."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import pytest
from concat_command import run_concat
from PIL import Image
from safetensors import safe_open

from pipelines.manifest import read_manifest

Smoke = tuple[Path, Path, subprocess.CompletedProcess[str]]
GROUPS = ("all", "things", "stuff", "seen", "unseen", "harmonic")
FOLDERS = ("data", "split", "precompute", "con", "dump", "cat", "finetune", "eval")


def _copy(smoke: Smoke, tmp_path: Path) -> Path:
    return Path(shutil.copytree(smoke[0], tmp_path / "run"))


def test_a_demo_leaves_what_the_readme_promises(smoke: Smoke) -> None:
    run = smoke[0]
    for folder in FOLDERS:
        assert read_manifest(run / folder / "manifest.json").outputs
    for name in ("con/model", "cat/generator", "finetune/projector"):
        with safe_open(run / f"{name}.safetensors", framework="pt") as file:
            assert file.keys()
    assert not list(run.glob(".*.partial"))
    with Image.open(run / "eval/panels.png") as picture:
        assert picture.width > 800


def test_metrics_have_the_fixed_shape(smoke: Smoke) -> None:
    metrics = json.loads((smoke[0] / "eval/metrics.json").read_text())
    scores = [metrics["inductive"], metrics["transductive"], metrics["transductive_best"]]
    scores += [*metrics["inductive_sweep"].values(), *metrics["finetune_path"].values()]
    assert list(metrics["inductive_sweep"]) == ["0", "0.5", "1", "1.5", "2"]
    assert list(metrics["finetune_path"]) == ["10", "20"]
    assert metrics["inductive"] == metrics["inductive_sweep"]["1"]
    assert metrics["transductive"]["panoptic"] == metrics["finetune_path"]["20"]["panoptic"]
    for score in scores:
        assert tuple(score["panoptic"]) == GROUPS
        for group, figures in score["panoptic"].items():
            assert set(figures) == {"pq", "sq", "rq", "n"}
            assert figures["n"] is None if group == "harmonic" else isinstance(figures["n"], int)
            assert all(figures[key] is None or 0 <= figures[key] <= 100 for key in ("pq", "sq", "rq"))


def test_predictions_are_in_the_official_format(smoke: Smoke) -> None:
    from pipelines.data.panoptic_png import read_panoptic_png

    for setting in ("inductive", "transductive"):
        content = json.loads((smoke[0] / f"eval/{setting}.json").read_text())
        assert len(content["annotations"]) == len(content["images"]) == 32
        for annotation in content["annotations"]:
            ids = read_panoptic_png(smoke[0] / "eval" / setting / annotation["file_name"])
            assert set(ids.ravel().tolist()) - {0} == {segment["id"] for segment in annotation["segments_info"]}
            assert all((ids == s["id"]).sum() == s["area"] for s in annotation["segments_info"])


def test_the_dump_holds_all_queries_with_labels(smoke: Smoke) -> None:
    manifest = read_manifest(smoke[0] / "dump/manifest.json")
    shards = sorted(Path(manifest.outputs["queries"].path).glob("*.h5"))
    train = json.loads((smoke[0] / "split/train.json").read_text())
    rows = 0
    for shard in shards:
        with h5py.File(shard) as file:
            rows += len(file["queries"])
            assert file["queries"].shape[1:] == (20, 64)
            assert file["labels"][:].max() < len(train["categories"])
            assert (file["labels"][:] >= 0).any(axis=1).all()
    assert rows == len(train["images"])


def test_a_second_run_does_nothing(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path)
    again = run_concat("run", "smoke", "--run", run, cache=smoke[1])
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert (run / "eval/manifest.json").read_bytes() == (smoke[0] / "eval/manifest.json").read_bytes()


def test_status_is_json_and_names_what_changed(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path)
    recipe = run / "recipe.toml"
    fresh = json.loads(run_concat("status", run, "--json", cache=smoke[1]).stdout)["stages"]
    assert [stage["state"] for stage in fresh] == ["fresh"] * len(FOLDERS)
    recipe.write_text(re.sub(r"(?m)^kl_weight = .*$", "kl_weight = 2.0", recipe.read_text()))
    changed = {s["name"]: s for s in json.loads(run_concat("status", run, "--json", cache=smoke[1]).stdout)["stages"]}
    assert changed["train-cat"] == {"name": "train-cat", "state": "stale", "why": "cat.kl_weight: 1.0 → 2.0"}
    assert changed["dump-queries"]["state"] == "fresh"
    assert changed["finetune"]["state"] == changed["eval"]["state"] == "stale"


def test_verify_finds_a_changed_byte(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path)
    assert run_concat("verify", run, cache=smoke[1]).returncode == 0
    weights = run / "cat/generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    found = run_concat("verify", run, cache=smoke[1])
    assert found.returncode == 2
    assert "generator.safetensors was changed" in found.stderr


def test_a_normal_run_shows_no_library_warning(smoke: Smoke) -> None:
    output = smoke[2].stdout + smoke[2].stderr
    assert "Warning" not in output
    assert "Traceback" not in output
    assert smoke[2].stderr == ""


def test_a_new_unseen_name_leaves_images_and_training_alone(smoke: Smoke, tmp_path: Path) -> None:
    """What is cached for the seen half does not depend on how the unseen half is called."""
    run = _copy(smoke, tmp_path)
    vocabulary = Path(__file__).parents[2] / "pipelines/vocabularies/micrococo.toml"
    renamed = tmp_path / "vocabulary.toml"
    renamed.write_text(vocabulary.read_text().replace('"red circle"', '"crimson disc"'))
    done = run_concat("split-coco", "--run", run, "--vocabulary", renamed, cache=smoke[1])
    assert done.returncode == 0, done.stderr
    states = {s["name"]: s["state"] for s in json.loads(run_concat("status", run, "--json", cache=smoke[1]).stdout)["stages"]}
    assert states["precompute"] == states["train-con"] == states["dump-queries"] == states["train-cat"] == "fresh"
    assert states["finetune"] == states["eval"] == "stale"


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_training_resumes_to_the_same_weights(smoke: Smoke, tmp_path: Path, workers: int) -> None:
    from pipelines.files import sha256

    run = _copy(smoke, tmp_path)
    for folder in ("con", "dump", "cat", "finetune", "eval"):
        shutil.rmtree(run / folder)
    arguments = ("train-con", "--run", run, "--set", f"runtime.workers={workers}")
    killed = _kill_after_checkpoint(run, arguments, smoke[1])
    assert killed == -9
    assert (run / ".con.partial/checkpoint.pt").exists()
    resumed = run_concat(*arguments, cache=smoke[1])
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming" in resumed.stdout
    assert sha256(run / "con/model.safetensors") == sha256(smoke[0] / "con/model.safetensors")


def _kill_after_checkpoint(run: Path, arguments: tuple[object, ...], cache: Path) -> int:
    """Starts a stage and kills it (SIGKILL) as soon as it has written a checkpoint."""
    import os
    import sys
    import time

    command = [str(Path(sys.executable).with_name("concat")), *map(str, arguments)]
    process = subprocess.Popen(command, env={**os.environ, "CONCAT_CACHE": str(cache)}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (run / ".con.partial/checkpoint.pt").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    return process.wait()

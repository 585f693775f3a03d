"""A run that was killed ends as an undisturbed one does, bit for bit."""

import subprocess
import sys
import time
from pathlib import Path

from concat_command import CONCAT, FinishedRun, environment, run_concat

from pipelines.base.files import sha256
from pipelines.recipes.load import load_recipe, write_recipe
from pipelines.runs.manifest import read_manifest


def test_a_run_killed_in_every_stage_goes_on_and_ends_the_same(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "precompute", "con", "dump", "cat", "finetune", "eval")
    write_recipe(run / "recipe.toml", load_recipe(str(run / "recipe.toml"), ("dump.shard=32",)))
    script = Path(__file__).with_name("killed_everywhere.py")
    shown = subprocess.run(
        [sys.executable, str(script), str(run), str(smoke.copy_scenes(tmp_path))],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    begun = [line for line in shown.stdout.splitlines() if " begins at " in line and "text embeddings" not in line]
    assert begun == [
        "CLIP tokens begins at 0 of 95 img",
        "CLIP tokens begins at 64 of 95 img",
        "train-con begins at 0 of 60 step",
        "train-con begins at 20 of 60 step",
        "train-con begins at 40 of 60 step",
        "dump-queries begins at 0 of 95 img",
        "dump-queries begins at 32 of 95 img",
        "train-cat begins at 0 of 60 step",
        "train-cat begins at 20 of 60 step",
        "finetune begins at 0 of 20 step",
        "finetune begins at 10 of 20 step",
        "eval begins at 0 of 32 img",
        "eval begins at 0 of 32 img",
    ]
    for path in ("con/model.safetensors", "cat/generator.safetensors", "finetune/projector.safetensors"):
        assert sha256(run / path) == sha256(smoke.folder / path), path
    for path in ("metrics.json", "inductive.json", "transductive.json", "inductive", "transductive"):
        assert sha256(run / "eval" / path) == sha256(smoke.folder / "eval" / path), path
    for name in ("images", "text_seen"):
        stores = [read_manifest(folder / "precompute/manifest.json").outputs[name] for folder in (run, smoke.folder)]
        assert stores[0].sha256 == stores[1].sha256
        assert stores[0].path != stores[1].path
    assert not list(run.glob(".*.partial"))


def test_killed_training_with_loader_processes_resumes_to_the_same_weights(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "con", "dump", "cat", "finetune", "eval")
    arguments = ("train-con", "--run", run, "--set", "runtime.workers=2")
    process = subprocess.Popen(
        [CONCAT, *map(str, arguments)],
        env=environment(smoke.cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not (run / ".con.partial/checkpoint.pt").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9
    assert not (run / "con").exists()
    resumed = run_concat(*arguments, cache=smoke.cache)
    assert resumed.returncode == 0, resumed.stderr
    assert "train-con: resuming what an interrupted run left" in resumed.stdout
    assert resumed.stderr == ""
    assert sha256(run / "con/model.safetensors") == sha256(smoke.folder / "con/model.safetensors")

"""Bad input: one clear message with file and mend, exit code 2 (130 for Ctrl-C), no traceback, nothing finished lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from concat_command import run_concat

Smoke = tuple[Path, Path, subprocess.CompletedProcess[str]]


def _refused(finished: subprocess.CompletedProcess[str], *phrases: str) -> None:
    shown = " ".join(finished.stderr.replace("│", " ").split())
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert "Traceback" not in shown
    for phrase in phrases:
        assert phrase in shown, shown


def _copy(smoke: Smoke, tmp_path: Path, *without: str) -> Path:
    run = Path(shutil.copytree(smoke[0], tmp_path / "run"))
    for folder in without:
        shutil.rmtree(run / folder)
    return run


def test_a_missing_annotation_file(tmp_path: Path) -> None:
    found = run_concat("split-coco", "--run", tmp_path / "run", "--images", tmp_path, "--annotations",
                       tmp_path / "none.json", cache=tmp_path)
    _refused(found, "none.json", "not found")


def test_no_data_set_named(tmp_path: Path) -> None:
    _refused(run_concat("split-coco", "--run", tmp_path / "run", cache=tmp_path), "names no data set", "--images")


def test_an_unseen_list_that_names_no_category(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path)
    _refused(run_concat("split-coco", "--run", run, "--unseen", "purple cow", cache=smoke[1]), "purple cow")


def test_an_unknown_setting(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path)
    _refused(run_concat("train-con", "--run", run, "--set", "con.itertions=3", cache=smoke[1]), "con.itertions")


def test_a_stage_without_a_recipe(tmp_path: Path) -> None:
    _refused(run_concat("train-con", "--run", tmp_path / "run", cache=tmp_path), "no recipe.toml", "split-coco")


def test_a_run_directory_in_use(smoke: Smoke, tmp_path: Path) -> None:
    import fcntl

    run = _copy(smoke, tmp_path, "eval")
    with open(run / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _refused(run_concat("eval", "--run", run, cache=smoke[1]), "in use", "--run")


def _own_data(smoke: Smoke, tmp_path: Path) -> Path:
    """A copy of the smoke run that reads a copy of the scenes, which a test may damage."""
    scenes = next((smoke[1] / "micrococo").iterdir())
    data = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    made = run_concat(
        "split-coco", "--run", tmp_path / "run", "--recipe", "smoke", "--images", data / "train2017", "--annotations",
        data / "annotations/panoptic_train2017.json", "--set", "data.micrococo.render=false", "--set",
        "con.iterations=4", cache=smoke[1])
    assert made.returncode == 0, made.stderr
    return data


def _kept(tmp_path: Path) -> list[dict[str, object]]:
    return json.loads((tmp_path / "run/split/train.json").read_text())["images"]


def test_an_unreadable_image(smoke: Smoke, tmp_path: Path) -> None:
    data = _own_data(smoke, tmp_path)
    name = _kept(tmp_path)[0]["file_name"]
    (data / "train2017" / str(name)).write_bytes(b"\xff\xd8 not a picture")
    _refused(run_concat("precompute", "--run", tmp_path / "run", cache=tmp_path / "cache"), str(name))


def test_a_png_id_missing_in_the_json(smoke: Smoke, tmp_path: Path) -> None:
    from pipelines.data.panoptic_png import read_panoptic_png, write_panoptic_png

    data = _own_data(smoke, tmp_path)
    path = data / "annotations/panoptic_train2017" / str(_kept(tmp_path)[0]["file_name"]).replace(".jpg", ".png")
    ids = read_panoptic_png(path)
    ids[:4, :4] = 77
    write_panoptic_png(path, ids)
    _refused(run_concat("precompute", "--run", tmp_path / "run", cache=tmp_path / "cache"), path.name, "77")


def test_a_truncated_store_is_noticed_and_made_again(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path, "con", "dump", "cat", "finetune", "eval")
    cache = Path(shutil.copytree(smoke[1], tmp_path / "cache"))
    manifest = json.loads((run / "precompute/manifest.json").read_text())
    store = Path(str(manifest["outputs"]["images"]["path"]).replace(str(smoke[1]), str(cache)))
    assert store.is_dir()
    chunk = max(store.rglob("c/*/*"), key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:100])
    manifest["outputs"]["images"]["path"] = str(store)
    (run / "precompute/manifest.json").write_text(json.dumps(manifest))
    found = run_concat("train-con", "--run", run, "--set", "con.iterations=2", cache=cache)
    assert found.returncode == 0, found.stderr
    assert "precompute" in found.stdout
    assert "changed" in found.stdout


def test_a_corrupt_dump_is_one_message(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path, "cat", "finetune", "eval")
    cache = Path(shutil.copytree(smoke[1], tmp_path / "cache"))
    path = run / "dump/manifest.json"
    manifest = json.loads(path.read_text().replace(str(smoke[1]), str(cache)))
    path.write_text(json.dumps(manifest))
    shard = next(Path(manifest["outputs"]["queries"]["path"]).glob("*.h5"))
    content = bytearray(shard.read_bytes())
    content[:64] = bytes(64)
    shard.write_bytes(bytes(content))
    _refused(run_concat("train-cat", "--run", run, cache=cache), shard.name)


def test_a_non_finite_loss(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path, "cat", "finetune", "eval")
    found = run_concat("train-cat", "--run", run, "--set", "cat.optimiser.learning_rate=1e30", cache=smoke[1])
    _refused(found, "not finite", "learning rate", "resumes")


def test_ctrl_c_says_how_to_resume(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path, "con", "dump", "cat", "finetune", "eval")
    command = [str(Path(sys.executable).with_name("concat")), "train-con", "--run", str(run), "--set",
               "con.iterations=100000"]
    process = subprocess.Popen(command, env={**os.environ, "CONCAT_CACHE": str(smoke[1])}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not (run / ".con.partial/checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert f"concat train-con --run {run}" in stderr
    assert (run / "split/train.json").exists()


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/full").exists(), reason="needs a small file system to fill")
def test_a_full_disk(smoke: Smoke, tmp_path: Path) -> None:
    run = _copy(smoke, tmp_path, "con", "dump", "cat", "finetune", "eval")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(run, small / "run")
        found = run_concat("train-con", "--run", small / "run", cache=smoke[1])
        _refused(found, "disk is full", "resumes")
        assert (small / "run/split/train.json").exists()
        assert not (small / "run/con").exists()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

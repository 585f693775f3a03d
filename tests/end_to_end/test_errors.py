"""Bad input: one message with file and mend, exit code 2 (130 for Ctrl-C), no traceback, nothing finished lost."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from concat_command import CONCAT, FinishedRun, concat_here, environment, forge, refused, run_concat

from pipelines.base.listings import Listings
from pipelines.data.formats.panoptic_png import read_panoptic_png, write_panoptic_png

AFTER_PRECOMPUTE = ("con", "dump", "cat", "finetune", "eval")


# --- what is asked for -----------------------------------------------------------------------------------------------


def test_a_missing_annotation_file(tmp_path: Path) -> None:
    shown = run_concat(
        *("split-coco", "--run", tmp_path / "run", "--images", tmp_path, "--annotations", tmp_path / "none.json"),
        cache=tmp_path,
    )
    refused(shown, "not found", f"File   {tmp_path / 'none.json'}")


def test_no_data_set_named(tmp_path: Path) -> None:
    refused(concat_here("split-coco", "--run", tmp_path / "run", cache=tmp_path), "names no data set", "--images")


def test_a_stage_without_a_recipe(tmp_path: Path) -> None:
    refused(concat_here("train-con", "--run", tmp_path / "run", cache=tmp_path), "no recipe.toml", "split-coco")
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe(tmp_path: Path) -> None:
    refused(concat_here("run", "nonsense", "--run", tmp_path / "run", cache=tmp_path), "Recipe not found", "micrococo")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("con.itertions=3", "Unknown setting 'con.itertions'"),
        ("con.iterations=many", "Setting con.iterations"),
        ("con.iterations=0", "Setting con.iterations"),
        ("con.iterations", "key=value"),
        ("eval.mask_threshold=2", "Setting eval.mask_threshold"),
    ],
)
def test_a_setting_that_cannot_be(smoke: FinishedRun, tmp_path: Path, setting: str, named: str) -> None:
    run = smoke.copy(tmp_path)
    before = (run / "recipe.toml").read_bytes()
    refused(concat_here("train-con", "--run", run, "--set", setting, cache=smoke.cache), named)
    assert (run / "recipe.toml").read_bytes() == before


def test_an_unseen_list_that_names_no_category(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    refused(concat_here("split-coco", "--run", run, "--unseen", "purple cow", cache=smoke.cache), "'purple cow'")


def test_a_device_that_is_not_there(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "eval")
    refused(concat_here("eval", "--run", run, "--device", "cuda:99", cache=smoke.cache), "cuda:99", "--device cpu")


def test_a_run_directory_in_use(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "eval")
    before = (run / "recipe.toml").read_bytes()
    with open(run / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(concat_here("eval", "--run", run, "--set", "eval.panels=1", cache=smoke.cache), "in use", "--run")
    assert (run / "recipe.toml").read_bytes() == before


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    shown = run_concat("train-con", "--run", tmp_path / "run", "--debug", cache=tmp_path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "no recipe.toml" in shown.stderr


# --- the data --------------------------------------------------------------------------------------------------------


class OwnData:
    """A split of a copy of the smoke run's scenes, which a test may damage."""

    def __init__(self, smoke: FinishedRun, root: Path) -> None:
        scenes = next(path for path in (smoke.cache / "micrococo").iterdir() if path.is_dir())
        self.folder = Path(shutil.copytree(scenes, root / "scenes"))
        self.run, self.cache = root / "run", root / "cache"
        self.json = self.folder / "annotations/panoptic_train2017.json"

    def split(self) -> subprocess.CompletedProcess[str]:
        return concat_here(
            *("split-coco", "--run", self.run, "--recipe", "smoke", "--images", self.folder / "train2017"),
            *("--annotations", self.json, "--set", "data.micrococo.render=false"),
            cache=self.cache,
        )

    def precompute(self) -> subprocess.CompletedProcess[str]:
        return concat_here("precompute", "--run", self.run, cache=self.cache)

    def kept(self, index: int) -> dict[str, Any]:
        """The entry of a training image, with its segments."""
        content = json.loads((self.run / "split/train.json").read_text())
        return content["images"][index] | content["annotations"][index]

    def png(self, index: int) -> Path:
        return self.json.with_suffix("") / str(self.kept(index)["file_name"])


@pytest.fixture
def own(smoke: FinishedRun, tmp_path: Path) -> OwnData:
    data = OwnData(smoke, tmp_path)
    assert data.split().returncode == 0
    return data


def test_an_unreadable_image(own: OwnData) -> None:
    path = own.folder / "train2017" / own.png(1).with_suffix(".jpg").name
    path.write_bytes(b"\xff\xd8 not a picture")
    refused(own.precompute(), "Image not readable", f"File   {path}")


def test_a_missing_image(own: OwnData) -> None:
    path = own.folder / "train2017" / own.png(1).with_suffix(".jpg").name
    path.unlink()
    refused(own.precompute(), "Image not found", f"File   {path}")


def test_a_png_id_missing_in_the_json(own: OwnData) -> None:
    path = own.png(2)
    ids = read_panoptic_png(path)
    ids[:4, :4] = 77
    write_panoptic_png(path, ids)
    refused(own.precompute(), "segment 77 in its PNG but not in its json", f"File   {path}")


def test_a_json_id_missing_in_the_png(own: OwnData) -> None:
    path, gone = own.png(2), own.kept(2)["segments_info"][0]["id"]
    ids = read_panoptic_png(path)
    ids[ids == gone] = 0
    write_panoptic_png(path, ids)
    refused(own.precompute(), f"segment {gone} in its json but not in its PNG", f"File   {path}")


def test_an_annotation_of_a_category_that_the_vocabulary_lacks(own: OwnData) -> None:
    own.json.write_text(re.sub(r'"category_id": ?\d+', '"category_id": 999', own.json.read_text(), count=1))
    refused(own.split(), "category 999", "vocabulary", f"File   {own.json}")


def test_a_truncated_json(own: OwnData) -> None:
    own.json.write_bytes(own.json.read_bytes()[:-1000])
    refused(own.split(), "Not valid JSON", f"File   {own.json}")
    assert own.kept(0)


# --- what earlier stages left ----------------------------------------------------------------------------------------


def _with_own_cache(smoke: FinishedRun, tmp_path: Path, *without: str) -> tuple[Path, Path]:
    """Copies of the run and of its cache that know of one another."""
    run, cache = smoke.copy(tmp_path, *without), Path(shutil.copytree(smoke.cache, tmp_path / "cache"))
    for path in run.glob("*/manifest.json"):
        forge(path, lambda text: text.replace(f"{smoke.cache.resolve()}/", f"{cache}/"))
    return run, cache


def _output(run: Path, stage: str, name: str) -> Path:
    return Path(json.loads((run / stage / "manifest.json").read_text())["outputs"][name]["path"])


@pytest.mark.parametrize(("store", "part"), [("images", "segment/tokens/c/0/0"), ("text_seen", "embeddings/c/0/0")])
def test_a_truncated_store_is_noticed_and_made_again(smoke: FinishedRun, tmp_path: Path, store: str, part: str) -> None:
    run, cache = _with_own_cache(smoke, tmp_path, *AFTER_PRECOMPUTE)
    chunk = _output(run, "precompute", store) / part
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:100])
    shown = concat_here("precompute", "--run", run, cache=cache)
    assert shown.returncode == 0, shown.stderr
    assert f"precompute: output {store} was changed" in shown.stdout
    assert "It is made again" in shown.stdout
    assert chunk.read_bytes() == whole


def test_a_corrupt_dump_is_one_message(smoke: FinishedRun, tmp_path: Path) -> None:
    run, cache = _with_own_cache(smoke, tmp_path, "cat", "finetune", "eval")
    shard = next(_output(run, "dump", "queries").glob("*.h5"))
    shard.write_bytes(bytes(64) + shard.read_bytes()[64:])
    refused(concat_here("train-cat", "--run", run, cache=cache), "Not a shard of queries", f"File   {shard}")


def test_corrupt_weights_are_one_message(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "cat", "finetune", "eval")
    path = run / "con/model.safetensors"
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes(64) + content[64:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    refused(concat_here("train-cat", "--run", run, cache=smoke.cache), "Not the weights", f"File   {path}")


def test_a_corrupt_manifest_makes_the_stage_stale(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "cat", "finetune", "eval")
    (run / "dump/manifest.json").write_text("{")
    shown = concat_here("status", run, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "Not valid JSON" in shown.stdout


# --- while a stage runs ----------------------------------------------------------------------------------------------


def test_a_non_finite_loss(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "cat", "finetune", "eval")
    shown = concat_here("train-cat", "--run", run, "--set", "cat.optimiser.learning_rate=1e30", cache=smoke.cache)
    refused(shown, "not finite", "learning rate", f"`concat train-cat --run {run}", "resumes")
    assert (run / "con/model.safetensors").exists()


def test_ctrl_c_says_how_to_resume(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, *AFTER_PRECOMPUTE)
    arguments = ["train-con", "--run", str(run), "--set", "con.iterations=1000", "--set", "runtime.workers=1"]
    shown = _interrupted(arguments, run / ".con.partial/checkpoint.pt", smoke.cache)
    assert shown.stderr.strip().splitlines() == [
        "Stopped. Nothing finished is lost; this resumes:",
        f"  concat {' '.join(arguments)}",
    ]
    assert (run / "precompute/manifest.json").exists()


def test_ctrl_c_while_rendering_is_one_message_too(tmp_path: Path) -> None:
    arguments = ["make-micrococo", str(tmp_path / "world"), "--train", "20000"]
    shown = _interrupted(arguments, tmp_path / "world.partial/train2017", tmp_path)
    assert shown.stderr.strip().splitlines()[1:] == [f"  concat {' '.join(arguments)}"]
    assert not (tmp_path / "world").exists()


def _interrupted(arguments: list[str], until: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Starts a command and interrupts it once `until` is there."""
    command = [CONCAT, *arguments]
    process = subprocess.Popen(
        command,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # deaf to it, where the tests are
    )
    deadline = time.monotonic() + 240
    try:
        while not until.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes it started as well
        stdout, stderr = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, stderr
    return subprocess.CompletedProcess(command, 130, stdout, stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")
@pytest.mark.parametrize(
    ("stage", "without", "room", "said"),
    [("train-con", 0, 1000, "The disk is full"), ("dump-queries", 1, 100, "The query dump needs")],
)
def test_a_full_disk(smoke: FinishedRun, tmp_path: Path, stage: str, without: int, room: int, said: str) -> None:
    """`room` kB for what the stage writes: less than a checkpoint, or than a dump, which is told before it is made."""
    run = smoke.copy(tmp_path, *AFTER_PRECOMPUTE[without:])
    small = tmp_path / "small"
    small.mkdir()
    size = room + sum(4 + path.stat().st_size // 1024 for path in run.rglob("*"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(run, small / "run")
        if stage == "dump-queries":
            (small / "micrococo").symlink_to(smoke.cache / "micrococo")
        shown = run_concat(stage, "--run", small / "run", cache=small if stage == "dump-queries" else smoke.cache)
        refused(shown, said, f"`concat {stage} --run {small / 'run'}` resumes")
        assert Listings().fingerprint(small / "run/split") == Listings().fingerprint(run / "split")
        assert not (small / "run" / AFTER_PRECOMPUTE[without]).exists()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

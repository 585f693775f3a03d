"""The made-up data and the watching of benchmarks/scale.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale import FOLDERS, PICTURES, make_images, table, watching
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.vocabularies.vocabulary import load_vocabulary


def test_the_images_are_such_as_a_run_takes(tmp_path: Path) -> None:
    make_images(tmp_path, "train2017", PICTURES + 3)
    listed = tmp_path / "annotations/panoptic_train2017.json"
    vocabulary = load_vocabulary("coco_panoptic")
    data = open_panoptic_images(listed, tmp_path / "train2017", listed.with_suffix(""), vocabulary)
    assert len(data) == PICTURES + 3
    assert {len(data.sample(index).labels) for index in range(len(data))} == {4}
    with_unseen = [
        any(s.category_id in vocabulary.unseen.ids for s in data.truth_segments(i)) for i in range(len(data))
    ]
    assert sum(with_unseen) == (PICTURES + 3) // 10


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_files_and_processes_of_a_tree_are_counted() -> None:
    inner = "import time; files = [open('/dev/null') for _ in range(50)]; time.sleep(1.5)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer])
    with watching(process.pid) as watched:
        assert process.wait() == 0
    assert watched.processes == 2
    assert watched.files > watched.files_of_one >= 50
    assert watched.workers > 0


def test_sizes_stand_side_by_side() -> None:
    figures = ("seconds", "peak_memory_bytes", "workers_memory_bytes")
    taken = dict.fromkeys((*figures, "open_files", "open_files_of_one_process", "processes"), 3 * 2**20)
    held = {"annotations": 2**20, "tokens": 0, "dump": 0}
    sizes = {size: {"stages": dict.fromkeys(FOLDERS, taken), "held": held} for size in ("20", "200")}
    lines = table(sizes).splitlines()
    assert lines[0].startswith("| stage | s, 20 | s, 200 | MiB, 20 | MiB, 200 |")
    assert [line.split(" | ")[0][2:] for line in lines[2:9]] == list(FOLDERS)
    assert lines[2].split(" | ")[3:5] == ["3", "3"]

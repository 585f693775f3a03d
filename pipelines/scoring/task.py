"""Which task a ground truth belongs to, told by its form."""

from pathlib import Path

from pipelines.base.terms import Task
from pipelines.data.files.archives import read_bytes


def task_of(truth: Path) -> Task:
    """Panoptic for a json with segments, instance for another json, semantic for a folder or zip (of label maps).

    Raises:
        ConcatError: the json is missing or may not be read.
    """
    if truth.suffix != ".json":
        return "semantic"
    return "panoptic" if b'"segments_info"' in read_bytes(truth, what="Ground truth") else "instance"

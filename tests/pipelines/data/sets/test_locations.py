"""Where a recipe's data lie: siblings found by name, micrococo by its settings."""

import zipfile
from pathlib import Path
from typing import get_args

import pytest

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Task
from pipelines.data.sets.locations import locate, micrococo_folder
from pipelines.data.sets.settings import DataSettings, MicrococoSettings


def _coco(root: Path, *splits: str) -> DataSettings:
    for split in splits:
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/panoptic_{split}.json").write_text("{}")
    return DataSettings(images=str(root / "train2017"), annotations=str(root / "annotations/panoptic_train2017.json"))


def test_the_val2017_sibling_is_found_by_name(tmp_path: Path) -> None:
    where = locate(_coco(tmp_path, "train2017", "val2017"), "panoptic", tmp_path / "scenes")
    assert where.val.images == tmp_path / "val2017"
    assert where.val.annotations == tmp_path / "annotations/panoptic_val2017.json"
    assert where.val.labels == tmp_path / "annotations/panoptic_val2017"
    assert where.train.labels == tmp_path / "annotations/panoptic_train2017"
    assert not where.validates_on_training_images


def test_without_a_sibling_the_given_set_is_scored(tmp_path: Path) -> None:
    where = locate(_coco(tmp_path, "train2017"), "panoptic", tmp_path / "scenes")
    assert where.validates_on_training_images
    assert where.val.images == where.train.images


def test_one_sibling_without_the_other_is_no_validation_set(tmp_path: Path) -> None:
    data = _coco(tmp_path, "train2017", "val2017")
    (tmp_path / "annotations/panoptic_val2017.json").unlink()
    assert locate(data, "panoptic", tmp_path / "scenes").validates_on_training_images


def test_given_validation_paths_win(tmp_path: Path) -> None:
    data = _coco(tmp_path, "train2017", "val2017").model_copy(
        update={"val_images": "/elsewhere", "val_annotations": "/elsewhere.json"}
    )
    where = locate(data, "panoptic", tmp_path / "scenes")
    assert (where.val.images, where.val.annotations) == (Path("/elsewhere"), Path("/elsewhere.json"))


def test_no_data_set_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="names no data set"):
        locate(DataSettings(), "panoptic", tmp_path)


def test_scenes_are_shared_by_runs_of_the_same_settings(tmp_path: Path) -> None:
    first = micrococo_folder(MicrococoSettings(render=True), tmp_path, 1)
    assert first == micrococo_folder(MicrococoSettings(render=True, evaluate_on="tune"), tmp_path, 1)
    assert first != micrococo_folder(MicrococoSettings(render=True, train=7), tmp_path, 1)
    assert first != micrococo_folder(MicrococoSettings(render=True), tmp_path, 2)


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_tune_and_val_are_different_files(task: Task, tmp_path: Path) -> None:
    found = {
        locate(DataSettings(micrococo=MicrococoSettings(render=True, evaluate_on=split)), task, tmp_path).val
        for split in ("val", "tune")
    }
    assert len(found) == 2


def test_a_task_has_the_labels_of_its_form(tmp_path: Path) -> None:
    data = DataSettings(micrococo=MicrococoSettings(render=True))
    panoptic, semantic, instance = (locate(data, task, tmp_path).train for task in get_args(Task))
    assert panoptic.labels == tmp_path / "annotations/panoptic_train2017"
    assert (semantic.annotations, semantic.labels) == (None, tmp_path / "stuffthingmaps/train2017")
    assert (instance.annotations, instance.labels) == (tmp_path / "annotations/instances_train2017.json", None)


def test_label_maps_of_one_folder_are_told_apart_by_lists(tmp_path: Path) -> None:
    data = DataSettings(images="voc/images", labels="voc/labels", listing="train.txt", val_listing="val.txt")
    where = locate(data, "semantic", tmp_path)
    assert (where.train.listing, where.val.listing) == (Path("train.txt"), Path("val.txt"))
    assert (where.train.labels, where.val.labels) == (Path("voc/labels"), Path("voc/labels"))
    assert not where.validates_on_training_images


def _zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")


def test_the_official_zips_stand_for_what_they_hold(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        _zipped(tmp_path / f"{split}.zip", f"{split}/000000000001.jpg")
    names = [f"annotations/panoptic_{split}2017{kind}" for split in ("train", "val") for kind in (".json", ".zip")]
    annotations = tmp_path / "panoptic_annotations_trainval2017.zip"
    _zipped(annotations, *names)
    where = locate(
        DataSettings(images=str(tmp_path / "train2017.zip"), annotations=str(annotations)), "panoptic", tmp_path
    )
    assert where.train.annotations == annotations / "annotations/panoptic_train2017.json"
    assert where.train.labels == annotations / "annotations/panoptic_train2017.zip"
    assert where.val.images == tmp_path / "val2017.zip"
    assert where.val.annotations == annotations / "annotations/panoptic_val2017.json"
    assert where.val.labels == annotations / "annotations/panoptic_val2017.zip"

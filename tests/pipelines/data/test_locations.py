"""Where a recipe's data lie: siblings found by name, micrococo by its settings."""

from pathlib import Path

import pytest

from pipelines.data.locations import locate, micrococo_folder
from pipelines.errors import ConcatError
from pipelines.recipe import DataSettings, MicrococoSettings


def _coco(root: Path, *splits: str) -> DataSettings:
    for split in splits:
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/panoptic_{split}.json").write_text("{}")
    return DataSettings(images=str(root / "train2017"), annotations=str(root / "annotations/panoptic_train2017.json"))


def test_the_val2017_sibling_is_found_by_name(tmp_path: Path) -> None:
    where = locate(_coco(tmp_path, "train2017", "val2017"), tmp_path / "scenes")
    assert where.val_images == tmp_path / "val2017"
    assert where.val_annotations == tmp_path / "annotations/panoptic_val2017.json"
    assert where.val_png == tmp_path / "annotations/panoptic_val2017"
    assert where.png == tmp_path / "annotations/panoptic_train2017"
    assert not where.validates_on_training_images


def test_without_a_sibling_the_given_set_is_scored(tmp_path: Path) -> None:
    where = locate(_coco(tmp_path, "train2017"), tmp_path / "scenes")
    assert where.validates_on_training_images
    assert where.val_images == where.images


def test_one_sibling_without_the_other_is_no_validation_set(tmp_path: Path) -> None:
    data = _coco(tmp_path, "train2017", "val2017")
    (tmp_path / "annotations/panoptic_val2017.json").unlink()
    assert locate(data, tmp_path / "scenes").validates_on_training_images


def test_given_validation_paths_win(tmp_path: Path) -> None:
    data = _coco(tmp_path, "train2017", "val2017").model_copy(
        update={"val_images": "/elsewhere", "val_annotations": "/elsewhere.json"}
    )
    where = locate(data, tmp_path / "scenes")
    assert (where.val_images, where.val_annotations) == (Path("/elsewhere"), Path("/elsewhere.json"))


def test_no_data_set_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="names no data set"):
        locate(DataSettings(), tmp_path)


def test_scenes_are_shared_by_runs_of_the_same_settings(tmp_path: Path) -> None:
    first = micrococo_folder(MicrococoSettings(render=True), tmp_path, 1)
    assert first == micrococo_folder(MicrococoSettings(render=True, evaluate_on="tune"), tmp_path, 1)
    assert first != micrococo_folder(MicrococoSettings(render=True, train=7), tmp_path, 1)
    assert first != micrococo_folder(MicrococoSettings(render=True), tmp_path, 2)


def test_tune_and_val_are_different_files(tmp_path: Path) -> None:
    paths = {
        locate(DataSettings(micrococo=MicrococoSettings(render=True, evaluate_on=split)), tmp_path).val_annotations
        for split in ("val", "tune")
    }
    assert len(paths) == 2

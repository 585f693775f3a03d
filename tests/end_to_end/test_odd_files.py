"""Files as people's tools write them: each gives the value it can only mean, with a remark where that may surprise."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from concat_command import concat_here, refused
from shared_data import shared_data

THINGS = {"things": 100.0, "stuff": 100.0}


def _scored(folder: Path, *words: object) -> dict[str, Any]:
    """What `concat score --json` says of a folder of truth and predictions, or of a truth against itself."""
    truth, predictions = ("gt.json", "pred.json") if (folder / "gt.json").exists() else ("gt", "pred")
    predictions = predictions if (folder / predictions).exists() else truth
    where = ["--truth", folder / truth, "--predictions", folder / predictions, "--workers", 1, "--json"]
    shown = concat_here("score", *where, *words, cache=folder)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


@pytest.mark.parametrize(
    ("name", "figure", "groups", "remarks"),
    [
        ("panoptic_01_two_crowds_one_category", "pq", {"all": 91.667}, ["several crowds", "a.jpg (2 of person)"]),
        ("panoptic_03_no_area", "pq", {"all": 100.0, **THINGS}, []),
        ("panoptic_04_float_area", "pq", {"all": 100.0, **THINGS}, []),
        ("panoptic_05_bool_iscrowd", "pq", {"all": 100.0, **THINGS}, []),
        ("panoptic_09_bom", "pq", {"all": 100.0, **THINGS}, []),
        (
            "panoptic_14_no_isthing",
            "pq",
            {"all": 100.0, "things": None, "stuff": None},
            ["which categories"],
        ),
        ("panoptic_19_id_zero", "pq", {"all": 91.667}, ["the id 0", "a.jpg"]),
        ("panoptic_20_null_bbox_extra", "pq", {"all": 100.0, **THINGS}, []),
        ("panoptic_21_float_str_size", "pq", {"all": 100.0, **THINGS}, []),
        ("panoptic_24_palette_png", "pq", {"all": 100.0, **THINGS}, []),
        ("instance_03_two_point_polygon", "mask_ap50", {"all": 100.0}, ["has no pixel", "id 1 of image 7"]),
        ("instance_04_empty_segmentation", "mask_ap50", {"all": 100.0}, ["has no pixel", "id 1 of image 7"]),
        ("instance_17_predictions_in_object", "mask_ap50", {"all": 100.0}, []),
        ("semantic_04_gray_rgb_labels", "miou", {"all": 100.0}, []),
        ("semantic_06_pred_npy", "miou", {"all": 100.0}, []),
        ("semantic_11_1bit", "miou", {"all": 100.0}, []),
    ],
)
def test_what_each_must_give(
    name: str, figure: str, groups: dict[str, float | None], remarks: list[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shared_data("odd_files") / name, tmp_path / name))
    vocabulary = ["--vocabulary", folder / "voc.toml"] if (folder / "voc.toml").exists() else []
    found = _scored(folder, *vocabulary)
    for group, expected in groups.items():
        assert found["groups"][group][figure] == (expected and pytest.approx(expected, abs=1e-3))
    said = " ".join(found["remarks"])
    assert bool(said) == bool(remarks)
    for remark in remarks:
        assert remark in said


@pytest.mark.parametrize("name", ["panoptic_03_no_area", "panoptic_21_float_str_size", "panoptic_24_palette_png"])
def test_check_data_reads_them_too(name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_data("odd_files") / name, tmp_path / name))
    shown = concat_here(
        "check-data", "--images", folder / "img", "--annotations", folder / "gt.json", "--json", cache=tmp_path
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "unusable labels" not in shown.stdout


def test_a_part_of_a_pixel_is_refused_with_a_mend_that_fits(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_data("odd_files") / "panoptic_04_float_area", tmp_path / "half"))
    truth = folder / "gt.json"
    content = json.loads(truth.read_text())
    content["annotations"][0]["segments_info"][0]["area"] = 12.5
    truth.write_text(json.dumps(content))
    shown = concat_here("score", "--truth", truth, "--predictions", truth, cache=tmp_path)
    refused(shown, "Expected `int`, got `float`", "segments_info[0].area", "A whole number belongs there")

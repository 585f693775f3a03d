"""Published layouts, whole, in part, packed and given by another of their folders; real samples; clear refusals."""

import zipfile
from pathlib import Path

import pytest
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.data.sets.build import DATA_SETS, find_data_set
from pipelines.data.sets.locations import Location
from pipelines.vocabularies.vocabulary import load_vocabulary


def _make(root: Path, *paths: str) -> Path:
    """Folders, and empty files where a path has a suffix."""
    for path in paths:
        target = root / path
        (target.parent if target.suffix else target).mkdir(parents=True, exist_ok=True)
        if target.suffix:
            target.touch()
    return root


VOC = ("JPEGImages/a.jpg", "SegmentationClass/a.png", *(f"ImageSets/Segmentation/{n}.txt" for n in ("train", "val")))
AUG = ("SegmentationClassAug/a.png", "ImageSets/Segmentation/trainaug.txt")


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("augmented", [False, True])
def test_voc_is_found_with_the_augmented_training_set_if_it_is_there(
    below: str, augmented: bool, tmp_path: Path
) -> None:
    root = _make(tmp_path / below, *VOC, *(AUG if augmented else ()))
    layout = find_data_set("voc", tmp_path)
    labels, listing = ("SegmentationClassAug", "trainaug") if augmented else ("SegmentationClass", "train")
    lists = root / "ImageSets/Segmentation"
    images = root / "JPEGImages"
    assert layout.train == Location(images, labels=root / labels, listing=lists / f"{listing}.txt")
    assert layout.val == Location(images, labels=root / "SegmentationClass", listing=lists / "val.txt")
    assert (layout.vocabulary, layout.ignored) == ("voc20", (0, 255))


def test_voc_with_only_the_augmented_maps_is_found(tmp_path: Path) -> None:
    root = _make(tmp_path, *(path for path in (*VOC, *AUG) if not path.startswith("SegmentationClass/")))
    layout = find_data_set("voc", root)
    assert layout.val == Location(
        root / "JPEGImages", labels=root / "SegmentationClassAug", listing=root / "ImageSets/Segmentation/val.txt"
    )


@pytest.mark.parametrize("below", ["", "VOC2010", "VOCdevkit/VOC2010"])
def test_context_is_found_beside_vocs_own_lists(below: str, tmp_path: Path) -> None:
    lists = [f"ImageSets/SegmentationContext/{n}.txt" for n in ("train", "val")]
    root = _make(tmp_path / below, *VOC, "SegmentationClassContext/a.png", *lists)
    layout = find_data_set("context", tmp_path)
    images, labels = root / "JPEGImages", root / "SegmentationClassContext"
    assert layout.train == Location(images, labels=labels, listing=root / lists[0])
    assert layout.val == Location(images, labels=labels, listing=root / lists[1])
    assert (layout.vocabulary, layout.ignored) == ("pc59", (0, 255))


ADE = tuple(
    f"{kind}/{part}/a.{suffix}"
    for kind, suffix in (("images", "jpg"), ("annotations", "png"))
    for part in ("training", "validation")
)


def test_ade20k_is_found_as_a_folder_and_as_its_zip(tmp_path: Path) -> None:
    _make(tmp_path / "folder/ADEChallengeData2016", *ADE)
    with zipfile.ZipFile(tmp_path / "ADEChallengeData2016.zip", "w") as archive:
        for path in ADE:
            archive.writestr(f"ADEChallengeData2016/{path}", b"")
    top = tmp_path / "ADEChallengeData2016.zip/ADEChallengeData2016"
    for given, root in (
        (tmp_path / "folder", tmp_path / "folder/ADEChallengeData2016"),
        (tmp_path / "folder/ADEChallengeData2016", tmp_path / "folder/ADEChallengeData2016"),
        (tmp_path / "ADEChallengeData2016.zip", top),
    ):
        layout = find_data_set("ade20k", given)
        assert layout.train == Location(root / "images/training", labels=root / "annotations/training")
        assert layout.val == Location(root / "images/validation", labels=root / "annotations/validation")
        assert (layout.vocabulary, layout.ignored) == ("ade150", (0,))


def test_a_part_that_is_not_there_is_none_or_stands_for_both(tmp_path: Path) -> None:
    evaluation = _make(tmp_path / "a", *(path for path in ADE if "validation" in path))
    assert find_data_set("ade20k", evaluation).train is None
    training = _make(tmp_path / "b", *(path for path in ADE if "training" in path))
    layout = find_data_set("ade20k", training)
    assert (
        layout.train == layout.val == Location(training / "images/training", labels=training / "annotations/training")
    )


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("{}", "stuffthingmaps_trainval2017/{}"),
        ("{}", "stuffthingmaps/{}"),
        ("images/{}", "annotations/{}"),
    ],
)
@pytest.mark.parametrize("below", ["", "coco"])
def test_coco_stuff_is_found(images: str, labels: str, below: str, tmp_path: Path) -> None:
    root = tmp_path / below
    for part in ("train2017", "val2017"):
        _make(root, images.format(part), labels.format(part))
    layout = find_data_set("coco-stuff", tmp_path)
    for part, found in (("train2017", layout.train), ("val2017", layout.val)):
        assert found == Location(root / images.format(part), labels=root / labels.format(part))
    assert (layout.vocabulary, layout.ignored) == ("coco_stuff", (255,))


def test_coco_stuff_is_found_in_its_zips(tmp_path: Path) -> None:
    maps = tmp_path / "stuffthingmaps_trainval2017.zip"
    with zipfile.ZipFile(maps, "w") as archive:
        for part in ("train2017", "val2017"):
            archive.writestr(f"{part}/1.png", b"")
            with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as images:
                images.writestr(f"{part}/1.jpg", b"")
    layout = find_data_set("coco-stuff", tmp_path)
    assert layout.train == Location(tmp_path / "train2017.zip", labels=maps / "train2017")
    assert layout.val == Location(tmp_path / "val2017.zip", labels=maps / "val2017")


@pytest.mark.parametrize(
    ("sample", "name", "images", "labels"),
    [
        ("voc_sample3", "voc", "JPEGImages", "SegmentationClass"),
        ("ade20k_sample3", "ade20k", "images", "annotations"),
    ],
)
def test_a_real_flat_folder_is_both_sets(sample: str, name: str, images: str, labels: str) -> None:
    root = shared_data(sample)
    layout = find_data_set(name, root)
    assert layout.train == layout.val == Location(root / images, labels=root / labels)


def test_half_of_a_published_set_is_not_taken_for_a_flat_folder(tmp_path: Path) -> None:
    _make(tmp_path, "images/training/a.jpg", "annotations/validation/a.png")
    with pytest.raises(ConcatError, match="No ade20k data set"):
        find_data_set("ade20k", tmp_path)


@pytest.mark.parametrize("name", DATA_SETS)
def test_nothing_found_lists_the_places_looked_at(name: str, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConcatError, match=f"No {name} data set is there") as error:
            find_data_set(name, root)
        assert error.value.file == root
        expected = {
            "voc": "SegmentationClassAug + ImageSets/Segmentation/trainaug.txt",
            "context": "SegmentationClassContext + ImageSets/SegmentationContext/val.txt",
            "ade20k": "images/validation + annotations/validation",
            "coco-stuff": "stuffthingmaps_trainval2017.zip/train2017",
        }
        assert expected[name] in str(error.value)


@pytest.mark.parametrize("folder", [".", "cls", "dataset/cls", "trainval"])
def test_matlab_files_are_told_apart(folder: str, tmp_path: Path) -> None:
    _make(tmp_path, f"{folder}/2008_000002.mat", "dataset/img/2008_000002.jpg")
    with pytest.raises(ConcatError, match=r"MATLAB files \(.mat\), which are not read") as error:
        find_data_set("voc", tmp_path)
    assert "SegmentationClassAug" in str(error.value)


@pytest.mark.parametrize("name", DATA_SETS)
def test_what_is_ignored_is_no_category_of_the_shipped_vocabulary(name: str, tmp_path: Path) -> None:
    layout = find_data_set(name, _make(tmp_path, "images/a.jpg", "annotations/a.png"))
    assert not set(layout.ignored) & set(load_vocabulary(layout.vocabulary).ids)

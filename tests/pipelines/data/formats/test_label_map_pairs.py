"""Which image belongs to which label map: names, lists as published and broken, and folders that cannot be paired."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.files.archives import open_files
from pipelines.data.formats.label_map_pairs import Pairs, pair_label_maps


def _folder(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _pair(root: Path, images: list[str], labels: list[str], listed: str | None = None) -> Pairs:
    if listed is not None:
        (root / "val.txt").write_text(listed)
    return pair_label_maps(
        open_files(_folder(root / "images", images)),
        open_files(_folder(root / "labels", labels)),
        None if listed is None else root / "val.txt",
    )


def test_all_that_are_there_are_paired_by_name_and_the_rest_is_counted(tmp_path: Path) -> None:
    images = ["b.JPG", "a.jpeg", "sub/a.png", "lonely.jpg", "notes.txt", ".hidden.jpg"]
    pairs = _pair(tmp_path, images, ["a.png", "b.png", "sub/a.png", "map.png", "map2.PNG", "a.txt"])
    assert pairs.names == [("a.jpeg", "a.png"), ("b.JPG", "b.png"), ("sub/a.png", "sub/a.png")]
    assert (pairs.unannotated, pairs.orphaned, pairs.file) == (1, 2, tmp_path / "labels")


@pytest.mark.parametrize(
    "listed",
    [
        "b\na\n",
        "\n b.jpg \r\n\na.png",
        "b.jpg b.png\na.jpg\ta.png\n",
        "/JPEGImages/b.jpg /SegmentationClassAug/b.png\n/JPEGImages/a.jpg /SegmentationClassAug/a.png\n",
        "images/b\nsomewhere/images/a\n",
    ],
)
def test_a_list_names_images_in_every_published_form_and_keeps_its_order(listed: str, tmp_path: Path) -> None:
    pairs = _pair(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], ["a.png", "b.png", "d.png"], listed)
    assert pairs == Pairs([("b.jpg", "b.png"), ("a.jpg", "a.png")], tmp_path / "val.txt")


def test_a_list_pairs_files_of_different_names(tmp_path: Path) -> None:
    images, labels = ["aachen/1_leftImg8bit.png"], ["aachen/1_gtFine_labelIds.png"]
    assert _pair(tmp_path, images, labels, f"{images[0]} {labels[0]}").names == [(images[0], labels[0])]


def test_names_may_hold_dots_and_spaces(tmp_path: Path) -> None:
    assert _pair(tmp_path, ["a.b.jpg", "c d.jpg"], ["a.b.png", "c d.png"], "a.b\nc d").names == [
        ("a.b.jpg", "a.b.png"),
        ("c d.jpg", "c d.png"),
    ]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("a\nc\n", r"no image 'c', which stands in line 2 of val.txt"),
        ("a\nb\n", r"no label map 'b', which stands in line 2"),
        ("a.jpg c.png", "no label map 'c.png'"),
        ("../images/secret", "no image '../images/secret'"),
        ("a x y", "Line 1 of the list holds 3 words"),
        ("\n \n", "names no image"),
        ("a\na.jpg", "names a.jpg more than once"),
    ],
)
def test_a_broken_list_is_one_message(listed: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match=message) as error:
        _pair(tmp_path, ["a.jpg", "b.jpg"], ["a.png", "d.png"], listed)
    assert error.value.mend


def test_a_list_that_is_missing_or_no_text_is_one_message(tmp_path: Path) -> None:
    images, labels = (open_files(_folder(tmp_path / name, [f"a.{name}"])) for name in ("jpg", "png"))
    with pytest.raises(ConcatError, match="List not found"):
        pair_label_maps(images, labels, tmp_path / "val.txt")
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CorruptFileError, match="no text"):
        pair_label_maps(images, labels, tmp_path / "val.txt")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (["a.jpg"], ["b.png"], "None of the 1 label maps has the name of one of the 1 images"),
        (["a.jpg"], ["a.txt"], r"There is no label map \(.png\)"),
        (["a.jpg"], ["a.mat"], r"MATLAB files \(.mat\), which are not read"),
        (["a.jpg", "a.png"], ["a.png"], "Both a.jpg and a.png are there"),
        (["a.txt"], ["a.png"], "one of the 0 images"),
    ],
)
def test_folders_that_cannot_be_paired_are_one_message(
    images: list[str], labels: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConcatError, match=message) as error:
        _pair(tmp_path, images, labels)
    assert error.value.mend


def test_the_real_voc_list_names_an_image_that_is_not_there() -> None:
    root = shared_data("voc_sample3")
    with pytest.raises(ConcatError, match=r"no image '2007_\d+', which stands in line \d+ of seg11valid.txt"):
        pair_label_maps(
            open_files(root / "JPEGImages"), open_files(root / "SegmentationClass"), root / "seg11valid.txt"
        )


@settings(max_examples=200, deadline=None)
@given(listed=st.one_of(st.binary(max_size=60), st.text("ab./ \n\tjpgn\\\0", max_size=40).map(str.encode)))
def test_any_list_ends_in_pairs_of_what_is_there_or_in_a_message(
    listed: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("list")
    images, labels = _folder(root / "i", ["a.jpg", "b.jpg"]), _folder(root / "l", ["a.png", "b.png"])
    (root / "val.txt").write_bytes(listed)
    try:
        pairs = pair_label_maps(open_files(images), open_files(labels), root / "val.txt")
    except ConcatError:
        return
    assert pairs.names
    assert all((images / image).is_file() and (labels / label).is_file() for image, label in pairs.names)

from pathlib import Path

import pytest

from pipelines.data.files.find_photos import find_photos

FILES = ("b.JPG", "a.png", "sub/c.jpeg", "sub/deep/d.webp", "notes.txt", ".hidden.png", ".git/e.png", "out/overlay.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def _names(*arguments: object, outside: Path | None = None) -> list[str]:
    return [photo.name for photo in find_photos([str(argument) for argument in arguments], outside=outside)]


def test_a_folder_is_searched_to_its_ground(folder: Path) -> None:
    names = ["a.png", "b.JPG", "sub/c.jpeg", "sub/deep/d.webp"]
    assert _names(folder, outside=folder / "out") == names
    assert _names(folder) == sorted([*names, "out/overlay.png"])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a.png", "b.JPG"]),
        ("*.png", ["a.png"]),
        ("sub/*", ["c.jpeg"]),
        ("s*/*", ["sub/c.jpeg"]),
        ("sub/**/*", ["c.jpeg", "deep/d.webp"]),
        ("*.gif", []),
    ],
)
def test_globs_are_followed(folder: Path, pattern: str, names: list[str]) -> None:
    assert _names(folder / pattern) == names


def test_a_named_file_counts_whatever_it_is(folder: Path) -> None:
    assert _names(folder / "notes.txt", folder / "missing.png") == ["notes.txt", "missing.png"]


def test_an_image_named_twice_counts_once(folder: Path) -> None:
    assert _names(folder / "sub" / "c.jpeg", folder / "sub", folder / "sub/../a.png", folder / "*.png") == [
        "c.jpeg",
        "deep/d.webp",
        "a.png",
    ]


def test_a_file_may_have_a_name_like_a_glob(folder: Path) -> None:
    (folder / "photo[1].png").touch()
    assert _names(folder / "photo[1].png") == ["photo[1].png"]

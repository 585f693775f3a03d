"""Counting label maps: against a slow version on real and random maps, resumed, on several cores, and broken files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_map_world import LabelMapWorld, write_image, write_label_maps
from numpy.typing import NDArray
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.progress import SilentReporter
from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.label_map_pairs import pair_label_maps
from pipelines.data.splits import label_map_counts
from pipelines.data.splits.label_map_counts import LabelMapTotals, read_label_maps
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary

VOID = 255
Found = list[tuple[int, int, dict[int, int]]]


def _read(images: Files, labels: Files, **changes: Any) -> LabelMapTotals:
    settings = {"vocabulary": VOCABULARY, "ignored": (0, VOID), "workers": 1, "progress": SilentReporter()}
    return read_label_maps(labels, images, pair_label_maps(images, labels), **(settings | changes))


def _read_world(world: LabelMapWorld, **changes: Any) -> LabelMapTotals:
    return _read(world.images, world.labels, **changes)


def _as_found(totals: LabelMapTotals, vocabulary: Vocabulary = VOCABULARY) -> Found:
    """Height, width and category id → pixels of each image."""
    found: Found = [(h, w, {}) for h, w in zip(totals.heights, totals.widths, strict=True)]
    segments = totals.segments
    for row, category, area in zip(segments.row, segments.category, segments.area, strict=True):
        found[row][2][vocabulary.ids[category]] = int(area)
    assert segments.images == len(found)
    assert not segments.iscrowd.any()
    return found


def _slowly_found(labels: Path, vocabulary: Vocabulary) -> Found:
    found: Found = []
    for path in sorted(labels.glob("*.png")):
        with Image.open(path) as image:
            values = np.array(image)
        counts = {i: int((values == i).sum()) for i in sorted(vocabulary.ids)}
        found.append((*values.shape, {i: pixels for i, pixels in counts.items() if pixels}))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("sample", "images", "labels", "vocabulary", "ignored"),
    [
        ("voc_sample3", "JPEGImages", "SegmentationClass", "voc20", (0, 255)),
        ("ade20k_sample3", "images", "annotations", "ade150", (0,)),
        ("coco_panoptic_100train", "train2017", "semantic_derived", "coco_panoptic", (0,)),
    ],
)
def test_real_label_maps_are_counted_as_a_slow_version_does(
    sample: str, images: str, labels: str, vocabulary: str, ignored: tuple[int, ...]
) -> None:
    root, chosen = shared_data(sample), load_vocabulary(vocabulary)
    totals = _read(open_files(root / images), open_files(root / labels), vocabulary=chosen, ignored=ignored)
    assert _as_found(totals, chosen) == _slowly_found(root / labels, chosen)


def test_the_number_of_workers_and_an_earlier_reading_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_map_counts, "CHUNK", 4)
    random = np.random.default_rng(0)
    ids = np.array([0, VOID, *VOCABULARY.ids])
    world = write_label_maps(tmp_path, {f"{n:02d}": random.choice(ids, (5, n + 1)) for n in range(11)})
    alone = _read_world(world)
    several = _read_world(world, workers=2, resume=tmp_path / "counts")
    again = _read_world(world, resume=tmp_path / "counts")
    assert _as_found(alone) == _as_found(several) == _as_found(again) == _slowly_found(world.labels.path, VOCABULARY)


def test_zips_are_counted_as_the_folders_they_were_made_of(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((3, 4), THING), "b": np.array([[STUFF, UNSEEN]])})
    for name, files in (("images", world.images), ("labels", world.labels)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in files.names():
                archive.write(files.path / file, f"train2017/{file}")
    images, labels = (open_files(tmp_path / f"{name}.zip") for name in ("images", "labels"))
    packed = _read(images, labels, workers=2, resume=tmp_path / "counts")
    assert _as_found(packed) == _as_found(_read_world(world)) == _slowly_found(world.labels.path, VOCABULARY)


def test_an_interrupted_reading_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_map_counts, "CHUNK", 2)
    world = write_label_maps(tmp_path, {f"{n}": np.full((3, 4), THING) for n in range(6)})
    real, read = label_map_counts.decode_label_map, []

    def interrupted(data: bytes, file: Path) -> NDArray[np.int32]:
        if file.name == "4.png":
            raise KeyboardInterrupt
        return real(data, file)

    def counted(data: bytes, file: Path) -> NDArray[np.int32]:
        read.append(file.stem)
        return real(data, file)

    monkeypatch.setattr(label_map_counts, "decode_label_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _read_world(world, resume=tmp_path / "counts")
    monkeypatch.setattr(label_map_counts, "decode_label_map", counted)
    totals = _read_world(world, resume=tmp_path / "counts")
    assert read == ["4", "5"]
    assert _as_found(totals) == _slowly_found(world.labels.path, VOCABULARY)


@pytest.mark.parametrize("change", ["damaged", "other maps", "other vocabulary"])
def test_what_was_kept_is_used_only_if_it_is_whole_and_of_the_same_files(change: str, tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((3, 4), THING), "b": np.full((3, 4), VOID)})
    _read_world(world, resume=tmp_path / "counts")
    vocabulary = VOCABULARY
    if change == "damaged":
        for file in (tmp_path / "counts").iterdir():
            file.write_bytes(file.read_bytes()[:-5])
    elif change == "other maps":
        write_label_maps(tmp_path, {"b": np.full((5, 4), STUFF)})
    else:
        vocabulary = Vocabulary(
            name="other", categories=(*VOCABULARY.categories, Category(id=VOID, name="void", isthing=False))
        )
    totals = _read_world(world, resume=tmp_path / "counts", vocabulary=vocabulary)
    assert _as_found(totals, vocabulary) == _slowly_found(world.labels.path, vocabulary)


def test_a_pixel_value_of_neither_vocabulary_nor_ignored_is_named_with_its_file(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((2, 2), THING), "b": np.array([[THING, 13]])})
    with pytest.raises(ConcatError, match="pixel value 13, which is no category of the vocabulary toy") as error:
        _read_world(world)
    assert error.value.file == tmp_path / "labels/b.png"
    assert "list 13 among the ignored" in str(error.value)


def test_an_image_of_another_size_than_its_map_is_named_with_both_sizes(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((2, 3), THING)})
    write_image(tmp_path / "images/a.jpg", 3, 2)
    with pytest.raises(ConcatError, match=r"label map is 3×2 px, but its image a.jpg is 2×3 px"):
        _read_world(world)


@pytest.mark.parametrize("folder", ["images", "labels"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"text"])
def test_a_damaged_file_is_refused_by_name(folder: str, content: bytes, tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((2, 3), THING)})
    file = tmp_path / folder / f"a.{'jpg' if folder == 'images' else 'png'}"
    file.write_bytes(content)
    with pytest.raises(CorruptFileError, match="not readable") as error:
        _read_world(world)
    assert error.value.file == file


def test_a_file_that_vanishes_is_one_message(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": np.full((2, 3), THING)})
    pairs = pair_label_maps(world.images, world.labels)
    for file in ("images/a.jpg", "labels/a.png"):
        (tmp_path / file).unlink()
        with pytest.raises(ConcatError, match=r"not (found|readable)"):
            read_label_maps(
                world.labels,
                world.images,
                pairs,
                vocabulary=VOCABULARY,
                ignored=(),
                workers=1,
                progress=SilentReporter(),
            )


_MAPS = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.sampled_from([0, VOID, THING, OTHER_THING, STUFF, UNSEEN, 40000]),
)
WIDE = Vocabulary(name="wide", categories=(*VOCABULARY.categories[::-1], Category(id=40000, name="far", isthing=False)))


@settings(max_examples=60, deadline=None)
@given(maps=st.lists(_MAPS, min_size=1, max_size=4))
def test_any_maps_are_counted_as_a_slow_version_does(
    maps: list[NDArray[np.int64]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = write_label_maps(tmp_path_factory.mktemp("maps"), {f"{n}": values for n, values in enumerate(maps)})
    assert _as_found(_read_world(world, vocabulary=WIDE), WIDE) == _slowly_found(world.labels.path, WIDE)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_map_ends_in_a_message_or_in_counts_of_all_its_pixels(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    world = write_label_maps(root, {"a": np.arange(12).reshape(3, 4) % 2 * THING})
    whole = (root / "labels/a.png").read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.sampled_from([place, len(whole)]))
    (root / "labels/a.png").write_bytes(whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + 1 : end])
    failure = totals = None
    try:
        totals = _read_world(world, ignored=range(256))
    except ConcatError as error:
        failure = error
    if totals is None:
        assert failure
        assert failure.file == root / "labels/a.png"
    else:
        assert (totals.heights, totals.widths) == ([3], [4])
        assert totals.segments.area.sum() <= 12

"""Samples from files: labels, crowd, void, gray images, planted leaks, broken files, zips."""

import dataclasses
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY, World, segment, write_world
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.data.formats.sample import Sample
from pipelines.data.splits.split import split_panoptic
from pipelines.metrics.panoptic_quality import TruthSegment
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

SEEN = VOCABULARY.seen
IDS = np.array([[9, 9, 9, 0, 0, 0], [9, 9, 70000, 0, 4, 4], [4, 4, 4, 4, 4, 4], [4, 4, 4, 4, 4, 4]], dtype=np.int32)
SEGMENTS = [segment(70000, STUFF, area=1), segment(4, OTHER_THING, area=14, iscrowd=1), segment(9, THING, area=5)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return write_world(tmp_path / "world", {1: (IDS, SEGMENTS), 8: (IDS[::-1].copy(), SEGMENTS)})


def _folder(world: World, vocabulary: Vocabulary = SEEN) -> LabelledImages:
    return open_panoptic_images(world.annotations, world.images, world.png, vocabulary)


def test_another_process_is_given_the_list(world: World) -> None:
    data = _folder(world)
    given = pickle.loads(pickle.dumps(data))
    for _ in range(2):
        assert given.image_ids == data.image_ids
        assert given.image_entries() == data.image_entries()
        assert [given.truth_segments(index) for index in range(2)] == [data.truth_segments(index) for index in range(2)]
        assert torch.equal(given.sample(1).masks, data.sample(1).masks)
        given = pickle.loads(pickle.dumps(given))


def test_a_sample_has_labels_by_index_and_ignores_crowd_and_void(world: World) -> None:
    sample = _folder(world).sample(0)
    assert (sample.image_id, tuple(sample.image.shape), sample.image.dtype) == (1, (3, 4, 6), torch.uint8)
    assert sample.segment_ids.tolist() == [70000, 9]
    assert sample.labels.tolist() == [2, 0]  # indices of sky and cat, not their ids 90 and 7
    assert torch.equal(sample.masks, torch.from_numpy(np.stack([IDS == 70000, IDS == 9])))
    assert torch.equal(sample.ignore, torch.from_numpy((IDS == 0) | (IDS == 4)))
    assert (sample.labels.dtype, sample.masks.dtype) == (torch.int64, torch.bool)


def test_the_folder_tells_names_ids_and_truth(world: World) -> None:
    folder = _folder(world)
    assert (len(folder), folder.image_ids, folder.file_name(1)) == (2, [1, 8], "0008.jpg")
    ids, segments = folder.truth(0)
    assert np.array_equal(ids, IDS)
    assert segments == [
        TruthSegment(70000, STUFF, 1),
        TruthSegment(4, OTHER_THING, 14, True),
        TruthSegment(9, THING, 5),
    ]
    assert folder.truth_segments(0) == segments
    assert folder.image_entries()[1] == {"id": 8, "file_name": "0008.jpg", "height": 4, "width": 6}


def test_another_process_is_given_the_list_and_no_label_at_hand(world: World) -> None:
    shutil.make_archive(str(world.png), "zip", world.png)
    folder = open_panoptic_images(world.annotations, world.images, world.png.with_suffix(".zip"), SEEN)
    expected = folder.sample(1)
    size = len(pickle.dumps(folder))
    folder.sample(0)
    carried = pickle.dumps(folder)
    assert len(carried) == size
    given = pickle.loads(carried)
    assert torch.equal(given.sample(1).masks, expected.masks)
    assert torch.equal(given.sample(1).image, expected.image)
    assert given.image_entries() == folder.image_entries()
    assert given.truth_segments(1) == folder.truth_segments(1)


def test_a_gray_image_becomes_rgb(world: World) -> None:
    Image.fromarray(np.full((4, 6), 77, dtype=np.uint8)).save(world.images / "0001.jpg")
    assert (_folder(world).sample(0).image == 77).all()


def test_an_image_of_void_and_crowd_alone_has_no_segments(tmp_path: Path) -> None:
    ids = np.where(IDS == 4, 4, 0).astype(np.int32)
    folder = _folder(write_world(tmp_path / "w", {1: (ids, SEGMENTS[1:2]), 2: (np.zeros_like(ids), [])}))
    for index in (0, 1):
        sample = folder.sample(index)
        assert tuple(sample.masks.shape) == (0, 4, 6)
        assert sample.ignore.all()


def test_real_segments_are_read_with_the_area_their_json_states() -> None:
    root = shared_data("coco_panoptic_100train")
    vocabulary = load_vocabulary("coco_panoptic")
    annotations = root / "annotations/panoptic_train2017.json"
    folder = open_panoptic_images(annotations, root / "train2017", annotations.with_suffix(""), vocabulary)
    crowded = [i for i in range(100) if any(s.iscrowd for s in folder.truth_segments(i))]
    gray = [i for i in range(100) if Image.open(root / "train2017" / folder.file_name(i)).mode == "L"]
    tiny = [i for i in range(100) if any(s.area < 20 for s in folder.truth_segments(i))]
    assert len(gray) == 1
    assert crowded
    assert tiny
    for index in {*crowded, *gray, *tiny[:3], 0, 99}:
        sample = folder.sample(index)
        plain = [s for s in folder.truth_segments(index) if not s.iscrowd]
        assert sample.masks.flatten(1).sum(1).tolist() == [s.area for s in plain]
        assert [vocabulary.ids[label] for label in sample.labels] == [s.category_id for s in plain]
        assert int(sample.ignore.sum() + sample.masks.sum()) == sample.ignore.numel()


# --- out of the official zips ---


def _zip_folder(path: Path, folder: Path, kind: int = zipfile.ZIP_STORED, **more: Path) -> Path:
    """Zips a folder under its own name, and further files under `annotations`."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            archive.write(file, f"{folder.name}/{file.name}")
        for suffix, file in more.items():
            archive.write(file, f"annotations/panoptic_train2017.{suffix}")
    return path


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_official_zips_give_the_samples_of_the_folders(kind: int, tmp_path: Path) -> None:
    root, vocabulary = shared_data("coco_panoptic_100train"), load_vocabulary("coco_panoptic")
    annotations = root / "annotations/panoptic_train2017.json"
    images = _zip_folder(tmp_path / "train2017.zip", root / "train2017")
    inner = _zip_folder(tmp_path / "inner.zip", annotations.with_suffix(""), zipfile.ZIP_DEFLATED)
    outer = tmp_path / "panoptic_annotations_trainval2017.zip"
    _zip_folder(outer, tmp_path / "none", kind, json=annotations, zip=inner)
    in_zip = outer / "annotations/panoptic_train2017"
    folders = open_panoptic_images(annotations, root / "train2017", annotations.with_suffix(""), vocabulary)
    zips = open_panoptic_images(in_zip.with_suffix(".json"), images, in_zip.with_suffix(".zip"), vocabulary)
    assert zips.image_ids == folders.image_ids
    for index in range(0, len(folders), 5):
        assert _pixels(zips.sample(index)) == _pixels(folders.sample(index))
        assert zips.truth_segments(index) == folders.truth_segments(index)


def _pixels(sample: Sample) -> list[object]:
    fields = [getattr(sample, field.name) for field in dataclasses.fields(sample)]
    return [(f.shape, f.dtype, f.numpy().tobytes()) if isinstance(f, torch.Tensor) else f for f in fields]


def test_a_broken_file_in_a_zip_is_named_by_its_way(world: World, tmp_path: Path) -> None:
    (world.png / "0008.png").write_bytes(b"?")
    png = _zip_folder(tmp_path / "png.zip", world.png)
    with pytest.raises(CorruptFileError, match="Panoptic PNG not readable") as error:
        open_panoptic_images(world.annotations, world.images, png, SEEN).sample(1)
    assert error.value.file == png / "0008.png"


def test_truth_and_sample_of_an_image_read_its_label_once(world: World) -> None:
    folder = _folder(world)
    sample = folder.sample(0)
    (world.png / "0001.png").unlink()
    ids, _ = folder.truth(0)
    assert np.array_equal(ids, IDS)
    assert not ids.flags.writeable
    assert torch.equal(folder.sample(0).masks, sample.masks)


# --- leaks ---


def test_an_unseen_segment_smuggled_into_the_training_list_is_refused_by_name(tmp_path: Path) -> None:
    world = write_world(tmp_path / "w", {1: (IDS, SEGMENTS), 8: (IDS, [*SEGMENTS[:2], segment(9, UNSEEN)])})
    with pytest.raises(ProtocolError, match=r"Image 8 \(0008.jpg\) holds category 21, which is no seen category") as e:
        _folder(world)
    assert e.value.file == world.annotations


def test_a_crowd_segment_leaks_as_well(tmp_path: Path) -> None:
    leak = [*SEGMENTS[:2], segment(9, UNSEEN, iscrowd=1)]
    with pytest.raises(ProtocolError, match="must not hold unseen pixels"):
        _folder(write_world(tmp_path / "w", {1: (IDS, leak)}))


def test_what_the_split_writes_passes_until_a_leak_is_planted(tmp_path: Path) -> None:
    world = write_world(tmp_path / "w", {1: (IDS, SEGMENTS), 8: (IDS, [*SEGMENTS[:2], segment(9, UNSEEN)])})
    train = tmp_path / "train.json"
    split_panoptic(world.annotations, train, vocabulary=VOCABULARY)
    assert open_panoptic_images(train, world.images, world.png, SEEN).image_ids == [1]
    content, given = json.loads(train.read_text()), json.loads(world.annotations.read_text())
    content["images"].append(given["images"][1])
    content["annotations"].append(given["annotations"][1])
    train.write_text(json.dumps(content))
    with pytest.raises(ProtocolError, match=r"Image 8 .* category 21"):
        open_panoptic_images(train, world.images, world.png, SEEN)


def test_unseen_pixels_that_the_json_hides_are_refused(world: World) -> None:
    ids = IDS.copy()
    ids[0, 3] = 555  # painted, but not listed
    write_panoptic_png(world.png / "0001.png", ids)
    with pytest.raises(CorruptFileError, match="Image 1 has segment 555 in its PNG but not in its json"):
        _folder(world).sample(0)


def test_unlisted_pixels_are_void_where_the_protocol_says_so(world: World) -> None:
    ids = IDS.copy()
    ids[0, 3] = 555  # painted, but not listed
    write_panoptic_png(world.png / "0001.png", ids)
    folder = open_panoptic_images(world.annotations, world.images, world.png, SEEN, unlisted="ignore")
    assert np.array_equal(folder.truth(0)[0], IDS)
    assert torch.equal(folder.sample(0).ignore, torch.from_numpy((IDS == 0) | (IDS == 4)))
    write_panoptic_png(world.png / "0008.png", np.where(IDS[::-1] == 9, 0, IDS[::-1]))
    with pytest.raises(CorruptFileError, match="segment 9 in its json but not in its PNG"):
        folder.sample(1)


def test_evaluation_needs_every_category_too(tmp_path: Path) -> None:
    world = write_world(tmp_path / "w", {1: (IDS, [*SEGMENTS[:2], segment(9, 55)])})
    with pytest.raises(ConcatError, match=r"Image 1 .* category 55, which is no category of toy") as error:
        _folder(world, VOCABULARY)
    assert not isinstance(error.value, ProtocolError)


# --- broken files ---


def _edit(change: Callable[[list[dict[str, object]]], None]) -> Callable[[World], None]:
    def edit(world: World) -> None:
        content = json.loads(world.annotations.read_text())
        change(content["annotations"][0]["segments_info"])
        world.annotations.write_text(json.dumps(content))

    return edit


def _truncate(name: str) -> Callable[[World], None]:
    def truncate(world: World) -> None:
        path = world.annotations.parent / name
        path.write_bytes(path.read_bytes()[:-40])

    return truncate


def _unlink(name: str) -> Callable[[World], None]:
    return lambda world: (world.annotations.parent / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message", "file"),
    [
        (_unlink("images/0001.jpg"), "Image not found", "images/0001.jpg"),
        (_unlink("panoptic/0001.png"), "Panoptic PNG not found", "panoptic/0001.png"),
        (_truncate("images/0001.jpg"), "Image not readable", "images/0001.jpg"),
        (_truncate("panoptic/0001.png"), "Panoptic PNG not readable", "panoptic/0001.png"),
        (lambda w: (w.images / "0001.jpg").write_text("no image"), "Image not readable", "images/0001.jpg"),
        (
            lambda w: Image.new("RGB", (7, 4)).save(w.images / "0001.jpg"),
            "Image 1: the json says 6×4 px, but this file has 7×4",
            "images/0001.jpg",
        ),
        (
            lambda w: write_panoptic_png(w.png / "0001.png", IDS[:3]),
            "Image 1: the json says 6×4 px, but this file has 6×3",
            "panoptic/0001.png",
        ),
        (_edit(lambda s: s.pop()), "Image 1 has segment 9 in its PNG but not in its json", "panoptic/0001.png"),
        (
            _edit(lambda s: s.append(segment(123, THING))),
            "Image 1 has segment 123 in its json but not in its PNG",
            "panoptic/0001.png",
        ),
        (_edit(lambda s: s.append(s[0])), "Image 1 lists segment 70000 twice", "panoptic.json"),
    ],
)
def test_a_broken_file_is_named(damage: Callable[[World], None], message: str, file: str, world: World) -> None:
    damage(world)
    with pytest.raises(ConcatError, match=message) as error:
        _folder(world).sample(0)
    assert error.value.file == world.annotations.parent / file
    assert _folder(world).sample(1).image_id == 8  # the others stay readable


def test_truth_refuses_a_png_that_is_not_the_jsons(world: World) -> None:
    write_panoptic_png(world.png / "0001.png", np.where(IDS == 9, 10, IDS))
    with pytest.raises(CorruptFileError, match="segment 10 in its PNG"):
        _folder(world).truth(0)

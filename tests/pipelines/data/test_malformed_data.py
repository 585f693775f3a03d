"""Damage at any byte of a list, a label or an image: one clear error or a sample, no traceback and no wrong label."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_map_world import write_label_maps
from panoptic_world import OTHER_THING, STUFF, THING, VOCABULARY, image_entry, segment, write_panoptic_json, write_world
from PIL import Image
from pycocotools import mask as coco_mask

from pipelines.base.errors import ConcatError
from pipelines.data.formats.instance_images import open_instance_images
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.semantic_images import open_semantic_images

IDS = np.kron(np.array([[9, 9, 70000], [9, 0, 4]]), np.ones((6, 6), int)).astype(np.int32)
VALUES = np.where(IDS == 9, THING, np.where(IDS == 4, STUFF, 255))
Opened = tuple[Callable[[], LabelledImages], Path, Path, Path | None]


def _panoptic(root: Path) -> Opened:
    segments = [segment(9, THING), segment(70000, STUFF), segment(4, OTHER_THING, iscrowd=1)]
    world = write_world(root, {1: (IDS, segments)})
    open_ = lambda: open_panoptic_images(world.annotations, world.images, world.png, VOCABULARY)  # noqa: E731
    return open_, world.annotations, world.images / "0001.jpg", world.png / "0001.png"


def _semantic(root: Path) -> Opened:
    write_label_maps(root, {"0001": VALUES})
    segments = [segment(THING + 1, THING), segment(STUFF + 1, STUFF)]
    listing = write_panoptic_json(root / "train.json", {1: segments}, *VALUES.shape)
    open_ = lambda: open_semantic_images(listing, root / "images", root / "labels", VOCABULARY)  # noqa: E731
    return open_, listing, root / "images/0001.jpg", root / "labels/0001.png"


def _instance(root: Path) -> Opened:
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (18, 12)).save(root / "images/0001.jpg")
    masks = [[[1, 1, 9.5, 2, 4, 8]], {"size": [12, 18], "counts": [5, 20, 191]}, _compressed()]
    instances = [
        {"id": n, "image_id": 1, "category_id": THING, "area": 9.5, "iscrowd": int(n == 1), "segmentation": mask}
        for n, mask in enumerate(masks)
    ]
    content = {"images": [image_entry(1, 12, 18)], "annotations": instances, "categories": []}
    (root / "a.json").write_text(json.dumps(content))
    open_ = lambda: open_instance_images(root / "a.json", root / "images", VOCABULARY)  # noqa: E731
    return open_, root / "a.json", root / "images/0001.jpg", None


@pytest.fixture(scope="module", params=[_panoptic, _semantic, _instance])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    made: Opened = request.param(tmp_path_factory.mktemp("data") / "set")
    return made


def _compressed() -> dict[str, object]:
    mask = np.zeros((12, 18), np.uint8, order="F")
    mask[9:, 9:] = 1
    return {"size": [12, 18], "counts": coco_mask.encode(mask)["counts"].decode()}


def _damaged(data: st.DataObject, content: bytes) -> bytes:
    """A file cut at any byte, with bytes changed at random, or both."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        changed[place] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'0123456789-.,:"{}[]\\/e')))
    return bytes(changed[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])


@pytest.mark.parametrize("opened", [_panoptic, _semantic], indirect=True)
def test_any_wrong_byte_of_a_label_is_an_error_or_changes_nothing(opened: Opened) -> None:
    """PIL reads other pixels from about one in a hundred such files."""
    open_, _, _, label = opened
    assert label is not None
    images, whole = open_(), label.read_bytes()
    read, (entry,) = images._read_labels, images._entries
    wanted = read(*entry).ids
    for place in range(len(whole)):
        for flip in (1, 4, 32, 128, 255):
            label.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with contextlib.suppress(ConcatError):
                assert np.array_equal(read(*entry).ids, wanted), (place, flip)
    label.write_bytes(whole)


def test_undamaged_they_read(opened: Opened) -> None:
    sample = opened[0]().sample(0)
    assert len(sample.labels) == 2


def _with_damage(path: Path, content: bytes, use: Callable[[], None]) -> ConcatError | None:
    """The error of `use` while `path` holds other content."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        use()
    except ConcatError as error:
        return error
    finally:
        path.write_bytes(whole)
    return None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_list_or_image_is_an_error_or_read(opened: Opened, data: st.DataObject) -> None:
    open_, listing, image, _ = opened
    path = data.draw(st.sampled_from([listing, listing, image]))

    def use() -> None:
        images = open_()
        for index in range(len(images)):
            images.truth(index)
            sample = images.sample(index)
            assert sample.masks.shape == (len(sample.labels), *sample.ignore.shape)

    error = _with_damage(path, _damaged(data, path.read_bytes()), use)
    assert error is None or error.file is not None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_label_is_an_error_or_right(opened: Opened, data: st.DataObject) -> None:
    open_, listing, _, label = opened
    label = label or listing  # instances have no label files
    wanted = open_().truth(0)[0]

    def use() -> None:
        images = open_()
        found = images.truth(0)[0] if len(images) else wanted
        assert label == listing or np.array_equal(found, wanted)

    error = _with_damage(label, _damaged(data, label.read_bytes()), use)
    assert error is None or error.file == label

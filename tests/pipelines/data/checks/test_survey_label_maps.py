from pathlib import Path

import numpy as np
from label_map_world import LabelMapWorld, write_image, write_label_maps
from PIL import Image
from shared_data import shared_data

from pipelines.base.progress import SilentReporter
from pipelines.data.checks.survey import Survey
from pipelines.data.checks.survey_label_maps import survey_label_maps
from pipelines.data.files.archives import open_files
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary

VOCABULARY = Vocabulary(
    name="toy", categories=tuple(Category(id=i, name=str(i), isthing=True, unseen=i == 3) for i in (1, 2, 3))
)
HALVES = np.array([[1, 1, 2, 2], [1, 1, 2, 255]])


def survey(world: LabelMapWorld, **options) -> Survey:
    fixed = {"vocabulary": VOCABULARY, "ignored": (0, 255), "workers": 1, "reporter": SilentReporter()}
    defaults = {"listed": None, "most": None}
    scratch = world.root / "list.json"
    return survey_label_maps(world.images, world.labels, scratch, **(fixed | defaults | options))


def found(result: Survey) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.examples for finding in result.findings.sorted()}


def test_maps_become_a_list_of_their_categories(tmp_path: Path) -> None:
    result = survey(write_label_maps(tmp_path, {"a": HALVES, "b": np.full((3, 5), 3)}))
    assert (found(result), result.names) == ({}, {"a.jpg", "b.jpg"})
    assert result.listing is not None
    read = [
        (image.file_name, image.height, image.width, entry) for image, entry in read_panoptic(result.listing).pairs()
    ]
    assert [item[:3] for item in read] == [("a.jpg", 2, 4), ("b.jpg", 3, 5)]
    assert [[(s.id, s.category_id, s.area) for s in item[3].segments_info] for item in read] == [
        [(2, 1, 4), (3, 2, 3)],
        [(4, 3, 15)],
    ]


def test_all_that_is_wrong_is_named(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {"a": HALVES, "b": HALVES, "c": np.array([[7, 9]]), "d": np.array([[7, 1]])})
    (tmp_path / "labels/b.png").write_bytes(b"damaged")
    write_image(tmp_path / "images/alone.jpg", 2, 2)
    Image.new("L", (2, 2)).save(tmp_path / "labels/lonely.png")
    result = survey(world)
    unusable = found(result).pop("unusable labels")
    assert [example.split(":")[0] for example in unusable] == ["b.png"]
    assert {kind: names for kind, names in found(result).items() if kind != "unusable labels"} == {
        "unknown category": ("pixel value 7 in 2 label maps", "pixel value 9 in 1 label map"),
        "unlabelled image": ("alone.jpg",),
        "label map without image": ("lonely.png",),
    }
    assert result.listing is not None
    assert len(read_panoptic(result.listing).images) == 3
    assert result.names == {"a.jpg", "alone.jpg", "b.jpg", "c.jpg", "d.jpg"}


def test_a_part_is_read_where_a_part_is_asked_for(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {f"{n}": HALVES for n in range(5)})
    result = survey(world, most=2)
    assert result.listing is not None
    assert [image.file_name for image in read_panoptic(result.listing).images] == ["0.jpg", "4.jpg"]
    assert len(result.names) == 5


def test_a_list_says_which_images_count(tmp_path: Path) -> None:
    world = write_label_maps(tmp_path, {f"{n}": HALVES for n in range(3)})
    (tmp_path / "val.txt").write_text("1\n")
    result = survey(world, listed=tmp_path / "val.txt")
    assert (result.names, found(result)) == ({"1.jpg"}, {})


def test_real_maps(tmp_path: Path) -> None:
    for name, folders, vocabulary in (
        ("voc_sample3", ("JPEGImages", "SegmentationClass"), "voc20"),
        ("ade20k_sample3", ("images", "annotations"), "ade150"),
    ):
        images, labels = (open_files(shared_data(name) / folder) for folder in folders)
        result = survey_label_maps(
            images,
            labels,
            tmp_path / "list.json",
            vocabulary=load_vocabulary(vocabulary),
            ignored=(0, 255),
            listed=None,
            most=None,
            workers=1,
            reporter=SilentReporter(),
        )
        assert (found(result), len(result.names)) == ({}, 3)

"""What a training list will hold, told from a json, beside the lists that the splits write."""

from pathlib import Path

import pytest

from pipelines.base.errors import CorruptFileError
from pipelines.base.terms import Protocol
from pipelines.data.splits.expected import Counted, count_kept, count_listed, kept_of
from pipelines.data.splits.split import split_panoptic
from pipelines.data.splits.split_instances import split_instances
from pipelines.micrococo.dataset import make_micrococo, training_segments
from pipelines.vocabularies.vocabulary import load_vocabulary

MICROCOCO = load_vocabulary("micrococo")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "world"
    make_micrococo(root, train=24, val=2, tune=2)
    return root / "annotations"


@pytest.mark.parametrize("protocol", ["zps", "zss"])
def test_a_panoptic_list_holds_as_much_as_was_told(protocol: Protocol, annotations: Path, tmp_path: Path) -> None:
    given, out = annotations / "panoptic_train2017.json", tmp_path / "train.json"
    result = split_panoptic(given, out, vocabulary=MICROCOCO, protocol=protocol)
    told = count_kept(given, "panoptic", protocol, MICROCOCO)
    assert told.images == result.kept
    assert told == count_listed(out)
    held = training_segments(24, size=96, seed=0)
    assert kept_of(held, "panoptic", protocol, MICROCOCO) == told


def test_a_list_of_instances_holds_as_much_as_was_told(annotations: Path, tmp_path: Path) -> None:
    given, out = annotations / "instances_train2017.json", tmp_path / "train.json"
    split_instances(given, out, vocabulary=MICROCOCO.things)
    assert count_kept(given, "instance", "zps", MICROCOCO.things) == count_listed(out)


def test_an_image_without_a_seen_segment_is_kept_by_panoptic_zps_alone() -> None:
    seen, unseen = MICROCOCO.seen.ids[0], MICROCOCO.unseen.ids[0]
    images = [[], [(seen, True)], [(seen, False)], [(unseen, False), (seen, False)]]
    assert kept_of(images, "panoptic", "zps", MICROCOCO) == Counted(3, 1)
    assert kept_of(images, "panoptic", "zss", MICROCOCO) == Counted(2, 2)
    assert kept_of(images, "instance", "zps", MICROCOCO) == Counted(1, 1)


def test_another_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": 3}')
    with pytest.raises(CorruptFileError, match="Not a COCO json"):
        count_listed(tmp_path / "a.json")

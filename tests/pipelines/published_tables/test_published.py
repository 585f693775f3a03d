"""Published figures: the tables against what is printed, each row a sound one, ids found by beginning."""

from pathlib import Path

import pytest

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.metrics.harmonic import harmonic_mean
from pipelines.published_tables.published import PublishedResult, find_published, published_results, read_table
from pipelines.vocabularies.vocabulary import load_vocabulary

ROWS = {result.id: result for result in published_results()}

# As printed, though two figures do not make the third (said at the head of each table).
MISPRINTS = {
    "cagnet-zss-coco-stuff-by-clipteacher",
    "cagnet-zss-coco-stuff-by-concat",
    "cagnet-zss-coco-stuff-by-pading",
    "cagnet-zss-context-by-clipteacher",
    "cagnet-zss-voc-by-zsknet",
    "clipteacher-transfer-context-swin-b",
    "sign-zss-coco-stuff-by-zsknet",
    "spnet-zss-voc-by-zsknet",
}


def figures(identity: str, name: str) -> tuple[float | None, ...]:
    groups = ROWS[identity].figures
    return tuple(dict(groups.get(group, {})).get(name) for group in ("harmonic", "seen", "unseen"))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("identity", "name", "expected"),
    [
        ("concat-zps-inductive", "pq", (20.8, 40.5, 14.0)),
        ("concat-zps-transductive", "pq", (27.5, 39.2, 21.2)),
        ("pading-zps-inductive-by-concat", "pq", (0.0, 43.3, 0.0)),
        ("pading-zps-transductive-by-concat", "pq", (22.3, 41.5, 15.3)),
        ("pading-zps-full", "sq", (76.5, 80.6, 72.8)),
        ("pading-released-zps", "pq", (None, 37.7, 14.4)),
        ("zegformer-zss-coco-stuff-by-concat", "miou", (27.2, 37.4, 21.4)),
        ("deop-zss-coco-stuff-by-concat", "miou", (38.2, 38.0, 38.4)),
        ("concat-zss-coco-stuff-r101c", "miou", (39.3, 40.0, 38.6)),
        ("concat-zss-coco-stuff-r50", "miou", (36.1, 40.1, 32.9)),
        ("pading-zss-coco-stuff", "miou", (30.7, 40.4, 24.8)),
        ("concat-ablation-focal-inductive", "pq", (10.9, 31.0, 6.6)),
        ("concat-ablation-all-transductive", "pq", (22.6, 31.0, 17.7)),
        ("concat-ablation-no-fcls-transductive", "pq", (9.8, 11.4, 8.7)),
        ("pading-universal-instance-full", "mask_ap50", (28.1, 52.6, 19.2)),
        ("pading-universal-instance-full", "box_ap50", (28.4, 52.1, 19.6)),
        ("pading-universal-semantic-full", "miou", (27.0, 50.5, 18.5)),
        ("pading-gzsi-48-17", "mask_ap50", (13.9, 53.0, 8.0)),
        ("pading-gzsi-65-15", "mask_recall100", (60.3, 73.2, 51.3)),
        ("clipteacher-zss-voc-segformer-b4", "miou", (86.5, 89.6, 83.6)),
        ("clipteacher-zss-coco-stuff-segformer-b4", "miou", (42.1, 43.3, 41.0)),
        ("clipteacher-zss-context-segformer-b4", "miou", (58.4, 53.0, 64.9)),
        ("clipteacher-transfer-voc-swin-b", "miou", (92.9, 93.1, 92.7)),
        ("zsknet-zss-voc", "miou", (85.7, 91.3, 80.7)),
        ("zsknet-zss-coco-stuff", "miou", (37.3, 39.7, 35.4)),
    ],
)
def test_figures_are_those_in_print(identity: str, name: str, expected: tuple[float | None, ...]) -> None:
    assert figures(identity, name) == expected


def test_open_vocabulary_figures_and_speeds_are_those_in_print() -> None:
    found = {
        method: tuple(ROWS[f"{method}-open-{name}{by}"].figures["all"]["miou"] for name in ("voc20", "pc59", "ade150"))
        for method, by in (("zsseg", "-by-concat"), ("deop", "-by-concat"), ("concat", ""))
    }
    assert found == {"zsseg": (88.4, 47.7, 20.5), "deop": (91.7, 48.8, 22.9), "concat": (93.7, 49.7, 20.9)}
    assert ROWS["concat-zss-coco-stuff-r50"].frames_per_second == 24.0
    assert ROWS["deop-zss-coco-stuff-by-concat"].frames_per_second == 4.37


def test_ids_are_unique() -> None:
    assert len(ROWS) == len(published_results()) == 132


@pytest.mark.parametrize("result", ROWS.values(), ids=lambda result: result.id)
def test_the_harmonic_mean_follows_from_seen_and_unseen(result: PublishedResult) -> None:
    for name, harmonic in result.figures.get("harmonic", {}).items():
        expected = harmonic_mean(result.figures["seen"][name], result.figures["unseen"][name])
        assert expected is not None
        assert (abs(harmonic - expected) <= 0.2) != (result.id in MISPRINTS)


@pytest.mark.parametrize("result", ROWS.values(), ids=lambda result: result.id)
def test_a_row_is_of_the_split_of_its_vocabulary(result: PublishedResult) -> None:
    if result.vocabulary:
        vocabulary = load_vocabulary(result.vocabulary)
        assert result.split in ("", f"{len(vocabulary.seen)}/{len(vocabulary.unseen)}")
    main = {"panoptic": "pq", "semantic": "miou", "instance": "mask_ap50"}[result.task]
    assert all(main in of_group for group, of_group in result.figures.items() if group != "all")
    assert ("seen" in result.figures) == ("unseen" in result.figures)
    assert result.id.endswith("-by-concat") <= result.source.startswith("CONCAT")


def test_an_id_or_what_ids_begin_with_finds_rows() -> None:
    assert [result.id for result in find_published("pading-gzsi-48-17")] == ["pading-gzsi-48-17"]
    assert [result.id for result in find_published("concat-zps")] == ["concat-zps-inductive", "concat-zps-transductive"]


@pytest.mark.parametrize("name", ["concat-zp", "concat-zps-", "", "nothing"])
def test_an_unknown_id_names_the_nearest_and_where_all_are(name: str) -> None:
    with pytest.raises(ConcatError, match="No published result is called") as error:
        find_published(name)
    assert error.value.mend is not None
    assert "`concat compare --list` has all" in error.value.mend
    assert ("concat-zps-inductive" in error.value.mend) == name.startswith("concat-zp")


ROW = '[[rows]]\nid = "a-b"\nmethod = "A"\nfigures = { seen.pq = 1.0 }\n'
SHARED = 'source = "s"\ntask = "panoptic"\ndata_set = "d"\ncandidates = "generalised"\n'


def test_rows_share_what_stands_before_them(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(SHARED + ROW)
    (row,) = read_table(tmp_path / "t.toml")
    assert (row.source, row.data_set, row.setting, row.figures) == ("s", "d", None, {"seen": {"pq": 1.0}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW, "Field required"),
        (SHARED + ROW.replace("1.0", "101.0"), "less than or equal to 100"),
        (SHARED + ROW.replace("pq", "quality"), "figures.seen.quality"),
        (SHARED + ROW.replace("seen.", "everything."), "figures.everything"),
        (SHARED + ROW.replace("method", "methods"), "method"),
        (SHARED, "rows"),
        ("rows = ", "Invalid value"),
    ],
)
def test_a_damaged_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(CorruptFileError, match=message) as error:
        read_table(tmp_path / "t.toml")
    assert error.value.file == tmp_path / "t.toml"

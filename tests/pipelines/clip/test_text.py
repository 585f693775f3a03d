import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from shared_data import shared_data
from tiny_clip import tiny_clip
from torch.nn.functional import normalize

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.clip.encoder import ClipModel
from pipelines.clip.given import given_embeddings
from pipelines.clip.prompts import PROMPTS
from pipelines.clip.text import embed_names, open_text, text_store_path, write_text
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary


def vocabulary(*names: str, **spoken: tuple[str, ...]) -> Vocabulary:
    categories = tuple(
        Category(id=3 * index + 1, name=name, isthing=True, prompt_names=spoken.get(name, ()))
        for index, name in enumerate(names)
    )
    return Vocabulary(name="toy", categories=categories)


def unit_rows(count: int, dim: int = 6, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    return tiny_clip(tmp_path_factory.mktemp("clip"))[0]


# --- embedding ---


def test_prompt_sets_are_those_of_the_papers() -> None:
    facts = json.loads((shared_data("vocabularies") / "prompt_templates.json").read_text())
    for name in ("single", "scene", "select_8"):
        assert list(PROMPTS[name]) == facts[name]
    assert len(set(PROMPTS["imagenet_80"])) == 80
    assert all(prompt.count("{}") == 1 for prompts in PROMPTS.values() for prompt in prompts)


def test_a_name_is_the_renormalised_mean_over_prompts_and_spoken_names(clip: ClipModel) -> None:
    named = vocabulary("wall-brick", "cow", cow=("cow", "bull"))
    found = embed_names(clip, named, "select_8")
    for row, spoken in zip(found, (["wall brick"], ["cow", "bull"]), strict=True):
        total = torch.zeros(clip.dim)
        for name in spoken:
            for prompt in PROMPTS["select_8"]:
                total += clip.encode_text([prompt.replace("{}", name)])[0]
        torch.testing.assert_close(row, total / total.norm())


def test_many_names_are_embedded_in_batches(clip: ClipModel) -> None:
    names = [f"thing {index}" for index in range(70)]
    found = embed_names(clip, vocabulary(*names), "micrococo")  # 280 texts
    assert found.shape == (70, clip.dim)
    torch.testing.assert_close(found[69], embed_names(clip, vocabulary("thing 69"), "micrococo")[0])


def test_an_unknown_prompt_set(clip: ClipModel) -> None:
    with pytest.raises(ConcatError, match="prompt set 'poem'"):
        embed_names(clip, vocabulary("cat"), "poem")


# --- store ---


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    rows, path = unit_rows(3), tmp_path / "text-1.zarr"
    write_text(path, ["cat", "dog", "sky"], rows)
    assert torch.equal(open_text(path, ["cat", "dog", "sky"], stage="train-con"), rows)
    assert [p.name for p in tmp_path.iterdir()] == ["text-1.zarr"]
    store = zarr.open_group(path, mode="r")
    assert store.metadata.zarr_format == 3
    assert (store["embeddings"].shape, str(store["embeddings"].dtype)) == ((3, 6), "float32")


def test_the_key_follows_source_prompts_and_names(tmp_path: Path) -> None:
    def path(named: Vocabulary, source: str = "a", prompts: str = "single") -> Path:
        return text_store_path(tmp_path, named, source=source, prompts=prompts)

    base = path(vocabulary("cat", "dog"))
    assert base == path(vocabulary("cat", "dog"))
    others = {path(vocabulary("dog", "cat")), path(vocabulary("cat", "dog"), "b"), path(vocabulary("cat")),
              path(vocabulary("cat", "dog"), prompts="scene"), path(vocabulary("cat", "dog"), prompts=""),
              path(vocabulary("cat", "dog", dog=("dog", "hound")))}  # fmt: skip
    assert len(others | {base}) == 7


def test_a_planted_unseen_name_is_an_error_that_names_store_stage_and_name(tmp_path: Path) -> None:
    path = tmp_path / "text-1.zarr"
    write_text(path, ["cat", "dog", "cow"], unit_rows(3))
    with pytest.raises(ProtocolError) as caught:
        open_text(path, ["cat", "dog"], stage="train-con")
    assert "text-1.zarr" in caught.value.message
    assert "'cow'" in caught.value.message
    assert "train-con" in caught.value.message
    assert caught.value.file == path


@pytest.mark.parametrize("expected", [["cat", "dog", "sky"], ["dog", "cat"]])
def test_names_that_are_missing_or_in_another_order(tmp_path: Path, expected: list[str]) -> None:
    path = tmp_path / "text-1.zarr"
    write_text(path, ["cat", "dog"], unit_rows(2))
    with pytest.raises(ConcatError) as caught:
        open_text(path, expected, stage="eval")
    assert not isinstance(caught.value, ProtocolError)


@pytest.mark.parametrize("damage", ["cut", "no chunk", "no metadata", "cut metadata", "nan", "zero", "few"])
def test_a_damaged_store(tmp_path: Path, damage: str) -> None:
    path, rows = tmp_path / "text-1.zarr", unit_rows(3)
    if damage in ("nan", "zero"):
        rows[1] = float("nan") if damage == "nan" else 0.0
    write_text(path, ["cat", "dog", "sky"], rows[:2] if damage == "few" else rows)
    chunk, metadata = path / "embeddings/c/0/0", path / "zarr.json"
    if damage == "cut":
        chunk.write_bytes(chunk.read_bytes()[:10])
    elif damage == "no chunk":
        chunk.unlink()
    elif damage == "no metadata":
        metadata.unlink()
    elif damage == "cut metadata":
        metadata.write_text(metadata.read_text()[:30])
    with pytest.raises(CorruptFileError) as caught:
        open_text(path, ["cat", "dog", "sky"], stage="train-con")
    assert caught.value.file == path
    assert caught.value.mend is not None


def test_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="not found"):
        open_text(tmp_path / "text-1.zarr", ["cat"], stage="train-con")


# --- given embeddings ---


def give(folder: Path, rows: np.ndarray, names: list[str], kind: str = "txt") -> tuple[Path, Path]:
    np.save(folder / "rows.npy", rows)
    path = folder / f"names.{kind}"
    if kind == "txt":
        path.write_text("\n".join(names) + "\n")
    elif kind == "json":
        path.write_text(json.dumps({"dataset": "x", "categories": [{"id": 0, "name": name} for name in names]}))
    else:
        path.write_text("".join(f"[[categories]]\nid = 1\nname = {json.dumps(name)}\n" for name in names))
    return folder / "rows.npy", path


@pytest.mark.parametrize("kind", ["txt", "json", "toml"])
def test_rows_are_found_by_exact_then_by_clean_name(tmp_path: Path, kind: str) -> None:
    rows = (10 * torch.randn(4, 6)).half()
    files = give(tmp_path, rows.numpy(), ["wall-brick", "dog", "playing field", "cat"], kind)
    found = given_embeddings(*files, vocabulary("cat", "wall brick", "playingfield"))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, normalize(rows.float()[[3, 0, 2]], dim=1))


def test_a_merged_category_takes_the_mean_of_its_constituents(tmp_path: Path) -> None:
    rows = unit_rows(5)
    files = give(tmp_path, rows.numpy(), ["grass", "moss", "straw", "hill", "table"])
    found = given_embeddings(*files, vocabulary("grass-merged", "table-merged"))
    mean = rows[:3].sum(0)
    torch.testing.assert_close(found[0], mean / mean.norm())
    torch.testing.assert_close(found[1], rows[4])  # its other constituent has no row
    files = give(tmp_path, rows.numpy(), ["grass", "moss", "straw", "grass-merged", "table"])
    torch.testing.assert_close(given_embeddings(*files, vocabulary("grass-merged"))[0], rows[3])


@pytest.mark.parametrize("name", ["coco_multi.npy", "coco_single.npy"])
def test_all_133_panoptic_categories_come_out_of_the_171_of_coco_stuff(name: str) -> None:
    rows = shared_data("clip_text_embeddings") / name
    names = shared_data("vocabularies") / "coco_stuff.json"
    panoptic = load_vocabulary("coco_panoptic")
    found = given_embeddings(rows, names, panoptic)
    assert found.shape == (133, 512)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(133))
    given = torch.from_numpy(np.load(rows)).float()
    stuff = [category["name"] for category in json.loads(names.read_text())["categories"]]
    for category in ("person", "giraffe", "wall-brick"):
        expected = normalize(given[stuff.index(category)], dim=0)
        torch.testing.assert_close(found[panoptic.names.index(category)], expected)
    hill_and_mountain = (found[panoptic.names.index("mountain-merged")] @ normalize(given, dim=1).T).topk(2).indices
    assert {stuff[index] for index in hill_and_mountain.tolist()} == {"hill", "mountain"}


def test_a_name_without_a_row_is_named(tmp_path: Path) -> None:
    files = give(tmp_path, np.eye(2), ["cat", "dog"])
    with pytest.raises(ConcatError, match="no row for 'cow'"):
        given_embeddings(*files, vocabulary("cat", "cow"))


def test_an_ambiguous_clean_name_is_refused(tmp_path: Path) -> None:
    files = give(tmp_path, np.eye(2), ["floor-other", "floor-stuff"])
    with pytest.raises(ConcatError, match="several rows that could be meant for 'floor'"):
        given_embeddings(*files, vocabulary("floor"))


@pytest.mark.parametrize(
    ("rows", "names", "says"),
    [
        (np.eye(3), ["cat", "dog"], "3 text embeddings, but 2 names"),
        (np.eye(2), ["cat", "cat"], "'cat' stands more than once"),
        (np.ones(2), ["cat", "dog"], "not of shape"),
        (np.array([[1.0, 0.0], [np.nan, 1.0]]), ["cat", "dog"], "Row 1 is zero or not finite"),
        (np.array([[0.0, 0.0], [1.0, 1.0]]), ["cat", "dog"], "Row 0 is zero or not finite"),
        (np.array([["a", "b"], ["c", "d"]]), ["cat", "dog"], "Not a table of numbers"),
    ],
)
def test_rows_and_names_that_do_not_fit(tmp_path: Path, rows: np.ndarray, names: list[str], says: str) -> None:
    with pytest.raises(ConcatError, match=says):
        given_embeddings(*give(tmp_path, rows, names), vocabulary("cat"))


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    rows, names = give(tmp_path, np.eye(2), ["cat", "dog"])
    with pytest.raises(ConcatError, match="Text embeddings not found"):
        given_embeddings(tmp_path / "no.npy", names, vocabulary("cat"))
    with pytest.raises(ConcatError, match="Names of the given"):
        given_embeddings(rows, tmp_path / "no.txt", vocabulary("cat"))
    (tmp_path / "bad.json").write_text('{"categories": 3}')
    with pytest.raises(CorruptFileError, match="Not a list of names"):
        given_embeddings(rows, tmp_path / "bad.json", vocabulary("cat"))
    rows.write_bytes(rows.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match="Not a table of numbers"):
        given_embeddings(rows, names, vocabulary("cat"))

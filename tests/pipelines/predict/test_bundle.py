import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trained_world import random_model, smoke_recipe

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.predict.bundle import read_bundle, write_bundle
from pipelines.predict.predictions import PanopticResult
from pipelines.predict.segmenter import Segmenter
from pipelines.predict.trained import TrainedModel

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return random_model()


@pytest.fixture(scope="module")
def exported(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.concat"
    write_bundle(path, model)
    return path


def _predict(segmenter: Segmenter, **options: Any) -> PanopticResult:
    found = segmenter.predict(PIXELS, threshold=0.0, **options)
    assert isinstance(found, PanopticResult)
    return found


@pytest.mark.parametrize("finetuned", [True, False])
@pytest.mark.parametrize("with_clip", [True, False])
def test_an_exported_model_predicts_bit_for_bit_as_its_run(tmp_path: Path, finetuned: bool, with_clip: bool) -> None:
    model = random_model(finetuned=finetuned)
    path = tmp_path / "deep" / "model.concat"
    write_bundle(path, model, with_clip=with_clip)
    before, after = Segmenter(model, CPU), Segmenter.load(path, device="cpu")
    assert after.vocabulary == before.vocabulary
    assert after.model.clip == model.clip
    assert (after.model.packed is not None) == with_clip
    typed = "red circle, turquoise heart"
    for options in ({}, {"setting": "inductive"}, {"vocabulary": typed}):
        one, other = _predict(before, **options), _predict(after, **options)
        assert np.array_equal(one.ids, other.ids)
        assert one.segments == other.segments
    assert torch.equal(before.embeddings(before.vocabulary), after.embeddings(after.vocabulary))
    assert [entry.name for entry in path.parent.iterdir()] == ["model.concat"]


def test_the_same_run_gives_the_same_bytes_and_a_bundle_can_be_exported_again(
    model: TrainedModel, exported: Path, tmp_path: Path
) -> None:
    for number, source in enumerate((model, read_bundle(exported))):
        write_bundle(tmp_path / f"{number}", source)
        assert (tmp_path / f"{number}").read_bytes() == exported.read_bytes()


def test_it_holds_safetensors_and_json_alone_stored(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        for info in archive.infolist():
            assert info.filename.endswith((".json", ".safetensors"))
            assert info.compress_type == zipfile.ZIP_STORED
            assert not archive.read(info).startswith(b"\x80")  # how pickles begin


def test_with_clip_names_can_be_typed_where_its_weights_are_not(model: TrainedModel, tmp_path: Path) -> None:
    elsewhere = smoke_recipe(f'clip.pretrained="{tmp_path}/absent.safetensors"')
    names = "turquoise heart, red circle"
    expected = _predict(Segmenter(model, CPU), vocabulary=names)
    write_bundle(tmp_path / "with", model, with_clip=True)
    carried = replace(read_bundle(tmp_path / "with"), recipe=elsewhere)
    assert np.array_equal(_predict(Segmenter(carried, CPU), vocabulary=names).ids, expected.ids)
    write_bundle(tmp_path / "without", replace(model, recipe=elsewhere))
    bare = Segmenter.load(tmp_path / "without", device="cpu")
    _predict(bare)
    with pytest.raises(ConcatError, match="cannot be loaded here") as caught:
        _predict(bare, vocabulary=names)
    assert "--with-clip" in str(caught.value.mend)
    write_bundle(tmp_path / "again", carried, with_clip=True)  # packed once, packed for good
    assert read_bundle(tmp_path / "again").packed is not None


def test_names_without_a_row_are_embedded_for_the_export(model: TrainedModel, tmp_path: Path) -> None:
    rows = {name: row for name, row in model.rows.items() if name != "red circle"}
    write_bundle(tmp_path / "m", replace(model, rows=rows))
    torch.testing.assert_close(read_bundle(tmp_path / "m").rows["red circle"], model.rows["red circle"])


def _rewritten(source: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy with members replaced, added, or (None) left out."""
    with zipfile.ZipFile(source) as archive:
        members: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in {**members, **changes}.items():
            if data is not None:
                archive.writestr(name, data)
    return target


def _head(source: Path, **changes: Any) -> bytes:
    with zipfile.ZipFile(source) as archive:
        return json.dumps({**json.loads(archive.read("bundle.json")), **changes}).encode()


def test_every_member_is_checked_by_its_hash(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "bundle.json"}
    assert len(members) == 6
    for name, data in members.items():
        changed = data[:-1] + bytes([data[-1] ^ 1])
        with pytest.raises(CorruptFileError, match=f"damaged: {name} has changed"):
            read_bundle(_rewritten(exported, tmp_path / "m", {name: changed}))
        with pytest.raises(CorruptFileError, match=name):
            read_bundle(_rewritten(exported, tmp_path / "m", {name: None}))


def test_a_flipped_bit_or_a_cut_is_found_wherever_it_is(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    for place in range(40, len(data) - 2000, len(data) // 25):
        (tmp_path / "m").write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(CorruptFileError):
            read_bundle(tmp_path / "m")
    for size in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "m").write_bytes(data[:size])
        with pytest.raises(CorruptFileError, match="Not an exported model"):
            read_bundle(tmp_path / "m")


def test_other_versions_and_other_files_are_told_apart(exported: Path, tmp_path: Path) -> None:
    newer = _rewritten(exported, tmp_path / "newer", {"bundle.json": _head(exported, version=7, more="fields")})
    with pytest.raises(ConcatError, match="version 7 of the format; this concat reads version 1"):
        read_bundle(newer)
    for name, head in (
        ("format", _head(exported, format="something else")),
        ("json", b"{"),
        ("list", b"[]"),
    ):
        with pytest.raises(CorruptFileError, match=r"bundle\.json is none"):
            read_bundle(_rewritten(exported, tmp_path / name, {"bundle.json": head}))
    with pytest.raises(CorruptFileError, match="members: Input should be"):
        read_bundle(_rewritten(exported, tmp_path / "members", {"bundle.json": _head(exported, members=3)}))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(CorruptFileError, match="another zip"):
        read_bundle(tmp_path / "other.zip")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(CorruptFileError, match="Not an exported model"):
        Segmenter.load(tmp_path / "picture.png")


def test_settings_of_another_concat_are_one_message(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        recipe = json.loads(archive.read("recipe.json"))
        members = json.loads(archive.read("bundle.json"))["members"]
    data = json.dumps({**recipe, "unheard_of": 1}).encode()
    members["recipe.json"] = hashlib.sha256(data).hexdigest()
    changed = {"recipe.json": data, "bundle.json": _head(exported, members=members)}
    with pytest.raises(CorruptFileError, match="unheard_of: Extra inputs"):
        read_bundle(_rewritten(exported, tmp_path / "m", changed))

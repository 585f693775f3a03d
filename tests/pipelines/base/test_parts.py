"""Parts by their kind: from the table, from a file, from an installed package; what each says of a mistake."""

import shutil
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from pipelines.base import parts
from pipelines.base.errors import ConcatError
from pipelines.base.parts import outside_code, part_file
from pipelines.generators.build import GENERATORS, build_generator
from pipelines.losses.build import ALIGNMENTS
from pipelines.models.build import CLASSIFIERS
from pipelines.recipes.load import load_recipe, override, write_recipe
from pipelines.recipes.paths import with_absolute_paths
from pipelines.recipes.recipe import Recipe
from pipelines.segmentors.build import SEGMENTORS

TOY = Path(__file__).parents[2] / "parts/toy_generator.py"
OWN = f"{TOY}:TOY"


@pytest.mark.parametrize("table", [ALIGNMENTS, CLASSIFIERS, GENERATORS, SEGMENTORS], ids=lambda table: table.what)
def test_every_kind_states_what_it_is_and_builds_by_a_name_that_is_there(table: parts.PartTable) -> None:
    for kind, part in table.parts.items():
        assert (part.settings().kind, bool(part.settings.__doc__)) == (kind, True)
        assert isinstance(part.build, str)
        module, _, name = part.build.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_a_generator_from_a_file_is_chosen_set_kept_and_built(tmp_path: Path) -> None:
    recipe = override(load_recipe("micrococo"), (f'cat.generator.kind="{OWN}"', "cat.generator.noise=0"))
    assert recipe.cat.generator.model_dump() == {"kind": OWN, "noise": 0.0}  # what only the CVAE knows fell away
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe
    text = torch.eye(2, 4)
    made = build_generator(recipe.cat.generator, query_dim=3, text_dim=4).generate(text, torch.Generator())
    assert made.shape == (2, 3)
    assert outside_code(recipe.cat, "cat") == {"code of cat.generator": TOY}
    assert outside_code(Recipe().con, "con") == {}


def test_a_relative_file_is_made_absolute_where_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(TOY, tmp_path / "own.py")
    monkeypatch.chdir(tmp_path)
    recipe = with_absolute_paths(override(Recipe(), ("cat.generator.kind=own.py:TOY",)))
    assert recipe.cat.generator.kind == f"{tmp_path / 'own.py'}:TOY"
    assert part_file("cvae") is None


def test_an_installed_package_offers_one_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY.parent))
    offered = EntryPoints([EntryPoint("toy", "toy_generator:TOY", "concat.generators")])
    monkeypatch.setattr(metadata, "entry_points", lambda group: offered.select(group=group))
    assert override(Recipe(), ("cat.generator.kind=toy",)).cat.generator.model_dump() == {"kind": "toy", "noise": 0.5}
    with pytest.raises(ConcatError, match="no segmentor 'toy'"):
        override(Recipe(), ("con.segmentor.kind=toy",))


def test_a_change_of_kind_keeps_what_both_kinds_know() -> None:
    changed = override(load_recipe("smoke"), ("con.segmentor.kind=maskformer", "con.segmentor.queries=7")).con.segmentor
    assert (changed.backbone, changed.hidden_dim, changed.queries) == ("test_resnet", 64, 7)
    back = override(Recipe(con={"segmentor": changed}), ("con.segmentor=mask2former",)).con.segmentor
    assert back.model_dump()["encoder_layers"] == 6
    assert back.queries == 7


def test_one_more_alignment_stands_beside_the_papers_two() -> None:
    recipe = override(Recipe(), ("con.alignment.near.kind=cia", "con.alignment.near.weight=0.5"))
    assert list(recipe.con.alignment) == ["cga", "cia", "near"]
    assert recipe.con.alignment["near"].model_dump()["negatives"] == "image"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("cat.generator.kind=wgan", "no generator 'wgan'"),
        ("cat.generator.kind=absent.py:TOY", "file of a part is missing"),
        (f"cat.generator.kind={TOY}:Toy", "no generator"),
        (f"cat.generator.kind={TOY}:ABSENT", "has no ABSENT"),
        ("cat.generator.kind=broken.py:TOY", "fails: ZeroDivisionError"),
        ("cat.generator=7", "cat.generator"),
        ("cat.generator.latent_width=7", "Unknown setting 'cat.generator.latent_width'"),
        ("con.segmentor.heads=0", "con.segmentor.heads"),
        ("con.alignment.cga.gamma=-1", "con.alignment.cga.gamma"),
        ("con.alignment.near.weight=1", "no alignment loss 'near'"),
    ],
)
def test_a_mistake_is_named(assignment: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("1 / 0")
    with pytest.raises(ConcatError, match=message):
        override(Recipe(), (assignment,))

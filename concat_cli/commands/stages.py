"""precompute, train-con, dump-queries, train-cat and finetune: the same options, another stage."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel
from rich.markup import escape

from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, Force, RunDir, Seed, Set
from concat_cli.runs import bring_up_to_date, open_run
from pipelines.recipes.recipe import Recipe

HELP = {
    "precompute": "Cache what CLIP sees: CLS tokens of complete and of masked images, and the seen names' embeddings.",
    "train-con": "CON: train the extractor, its queries aligned with CLIP. Runs precompute first where it must.",
    "dump-queries": "Write all queries of every training image, with their labels, to HDF5.",
    "train-cat": "CAT: train the generator of queries, from the dump alone. Runs dump-queries first where it must.",
    "finetune": "Finetune the projector on real seen and generated unseen queries; no image is opened.",
}
NAMES = tuple(HELP)
SECTIONS = {
    "split-coco": ("data",),
    "precompute": ("clip",),
    "train-con": ("con",),
    "dump-queries": ("dump",),
    "train-cat": ("cat",),
    "finetune": ("finetune",),
    "eval": ("eval",),
}


def stage_command(name: str) -> Callable[..., None]:
    """The command of one stage."""

    @guarded
    def command(
        run: RunDir,
        settings: Set = None,
        seed: Seed = None,
        device: Device = None,
        cache: Cache = None,
        force: Force = False,
        debug: Debug = False,
    ) -> None:
        opened = open_run(run, cache=cache, settings=settings, seed=seed, device=device)
        bring_up_to_date(opened, name, force=force)

    command.__doc__ = HELP[name]
    return command


def settings_help(stage: str) -> str:
    """Every setting of a stage with meaning, unit and default, for the foot of its `--help`."""
    lines = ["[bold]Settings[/] [dim](--set KEY=VALUE; defaults at the papers' scale, a recipe may differ)[/]"]
    for section in (*SECTIONS[stage], "runtime"):
        lines += list(_settings(getattr(Recipe(), section), section))
    return "\n".join(lines)


def _settings(model: BaseModel, prefix: str) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        value: Any = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}.{name}")
        else:
            shown = escape(str(list(value) if isinstance(value, tuple) else value)) or "''"
            yield f"  [cyan]{prefix}.{name}[/] [dim]= {shown}[/]  {escape(field.description or '')}"

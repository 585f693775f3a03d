"""A recipe: every setting of a run, a section a stage. Field descriptions are the `--help`; presets are TOML values.

Defaults are the paper's at COCO scale (method.md, "Recipes at paper scale"); recipes/*.toml change what differs. Every
room states its own settings, and a recipe puts them together.
"""

from typing import Any

from pydantic import model_validator

from pipelines.base.settings import Settings, cosmetic, section, setting
from pipelines.base.terms import Task
from pipelines.clip.settings import ClipSettings
from pipelines.data.sets.settings import DataSettings
from pipelines.recipes.cat import CatSettings
from pipelines.recipes.con import ConSettings
from pipelines.recipes.dump import DumpSettings
from pipelines.recipes.earlier import as_now
from pipelines.recipes.eval import EvalSettings
from pipelines.recipes.finetune import FinetuneSettings
from pipelines.training.settings import RuntimeSettings


class Recipe(Settings):
    """All settings of a run."""

    name: str = cosmetic("custom", "Name of the recipe.")
    seed: int = setting(0, "Seed of everything random but the data.", ge=0)
    task: Task = setting("panoptic", "What is predicted and scored: panoptic, semantic or instance.")
    data: DataSettings = section(DataSettings)
    clip: ClipSettings = section(ClipSettings)
    con: ConSettings = section(ConSettings)
    dump: DumpSettings = section(DumpSettings)
    cat: CatSettings = section(CatSettings)
    finetune: FinetuneSettings = section(FinetuneSettings)
    eval: EvalSettings = section(EvalSettings)
    runtime: RuntimeSettings = section(RuntimeSettings)

    @model_validator(mode="before")
    @classmethod
    def _as_now(cls, values: Any) -> Any:
        return as_now(values) if isinstance(values, dict) else values

"""How a part learns, and where a run computes."""

from typing import Literal

from pydantic import Field

from pipelines.base.settings import Settings, cosmetic, setting


class OptimiserSettings(Settings):
    """AdamW and its schedule."""

    learning_rate: float = setting(1e-4, "Learning rate.", gt=0)
    backbone_factor: float = setting(0.1, "Factor on the learning rate for the backbone.", ge=0)
    weight_decay: float = setting(0.05, "Weight decay; norms, embeddings and single numbers have none.", ge=0)
    decay_biases: bool = setting(True, "Whether biases decay, too, as in Mask2Former.")
    clip_norm: float = setting(0.01, "Largest norm of the gradient; 0: no clipping.", ge=0)
    schedule: Literal["steps", "one-cycle", "constant"] = setting(
        "steps", "steps (×0.1 at each milestone), one-cycle (8 % warm-up, then cosine) or constant."
    )
    milestones: tuple[float, ...] = setting((0.9, 0.95), "Where the schedule `steps` has its steps (shares of all).")


class RuntimeSettings(Settings):
    """How a run is executed."""

    device: str = setting("auto", "auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting(
        "auto", "lightning-fabric precision; auto: bf16-mixed on a CUDA device that has it, else 32-true."
    )
    threads: int = cosmetic(0, "CPU threads of torch; 0: one a core.", ge=0)
    workers: int = cosmetic(0, "Processes that read images for precompute and train-con; 0: the run's own.", ge=0)
    cache: str = Field(
        "",
        description="Where CLIP stores, query dumps and rendered scenes are kept, as last given; empty: ./cache.",
        json_schema_extra={"cosmetic": True, "path": "always"},
    )

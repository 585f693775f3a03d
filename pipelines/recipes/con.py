"""The section of train-con."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from pipelines.base.parts import PartSettings
from pipelines.base.settings import Settings, cosmetic, section, setting
from pipelines.data.loading.settings import InputSettings
from pipelines.losses.alignment_settings import AlignmentSettings
from pipelines.losses.build import ALIGNMENTS
from pipelines.losses.cga_settings import CgaSettings
from pipelines.losses.cia_settings import CiaSettings
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.build import CLASSIFIERS
from pipelines.models.projector_settings import ProjectorSettings
from pipelines.segmentors.build import SEGMENTORS
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.settings import SegmentorSettings
from pipelines.training.settings import OptimiserSettings


class ConSettings(Settings):
    """train-con: extractor and projector."""

    iterations: int = setting(140350, "Optimisation steps.", ge=1)
    batch_size: int = setting(16, "Images a step, on all devices together (images).", ge=1)
    images_per_forward: Annotated[int, Field(ge=1)] | Literal["auto"] = cosmetic(
        "auto", "Images that one device holds at once; auto: its share of a step, or half as often as that is too many."
    )
    checkpointing: bool = cosmetic(
        False, "Remember what goes into each layer alone: a third of the memory, for a forward pass more of the layers."
    )
    cuda_graphs: bool = cosmetic(
        True, "Start the segmentor's kernels all at once on CUDA, where a step is one part on one device."
    )
    segmentor: Annotated[SegmentorSettings, SEGMENTORS] = section(Mask2FormerSettings)
    classifier: Annotated[PartSettings, CLASSIFIERS] = section(ProjectorSettings)
    input: InputSettings = section(InputSettings)
    optimiser: OptimiserSettings = section(OptimiserSettings)
    matching: MatchingSettings = section(MatchingSettings)
    alignment: dict[str, Annotated[AlignmentSettings, ALIGNMENTS]] = Field(
        default_factory=lambda: {"cga": CgaSettings(), "cia": CiaSettings()},
        description="Alignment losses by name; one more is [con.alignment.NAME] with its kind, unless NAME is one.",
    )
    checkpoint_every: int = cosmetic(500, "Steps between checkpoints (steps).", ge=1)
    log_every: int = cosmetic(20, "Steps between lines of metrics.jsonl (steps).", ge=1)
    panels: int = cosmetic(4, "Training images drawn for TensorBoard at ten checkpoints; 0: none (images).", ge=0)

    @field_validator("alignment", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """Entries are of the kind they are named for, unless they state one; CGA and CIA are there unless changed."""
        if not isinstance(given, dict):
            return given
        stated = {n: {"kind": n, **value} if isinstance(value, dict) else value for n, value in given.items()}
        return {"cga": {"kind": "cga"}, "cia": {"kind": "cia"}} | stated

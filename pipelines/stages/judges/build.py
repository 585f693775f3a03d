"""The judge of each task."""

from collections.abc import Callable, Mapping
from typing import Final

from pipelines.base.terms import Task
from pipelines.stages.judges.instance import InstanceJudge
from pipelines.stages.judges.judge import Judge, Judged
from pipelines.stages.judges.panoptic import PanopticJudge
from pipelines.stages.judges.semantic import SemanticJudge

JUDGES: Final[Mapping[Task, Callable[[Judged], Judge]]] = {
    "panoptic": PanopticJudge,
    "semantic": SemanticJudge,
    "instance": InstanceJudge,
}

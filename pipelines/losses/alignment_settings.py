"""What every alignment with CLIP is told, whatever its kind."""

from pipelines.base.parts import PartSettings
from pipelines.base.settings import setting


class AlignmentSettings(PartSettings):
    """A loss that aligns semantic queries with CLIP's tokens."""

    weight: float = setting(1.0, "Weight of this loss; 0 switches it off.", ge=0)

"""The section of dump-queries."""

from typing import Literal

from pipelines.base.settings import Settings, cosmetic, setting


class DumpSettings(Settings):
    """dump-queries: all K queries of every training image, with assigned labels."""

    views: tuple[Literal["plain", "flipped"], ...] = setting(("plain",), "Views dumped of each image.")
    shard: int = setting(4096, "Rows a shard (images × views).", ge=1)
    batch_size: int = cosmetic(8, "Images a forward pass (images).", ge=1)
    memory: float = cosmetic(
        8.0, "Memory that its queries may take in train-cat and finetune; a larger dump is read from disk (GiB).", ge=0
    )

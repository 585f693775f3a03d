"""The guard against weights that were taught an unseen category, or do not say what they were taught."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipelines.base.errors import ProtocolError
from pipelines.vocabularies.vocabulary import clean_name

IMAGENET_ORIGIN = "ImageNet-1k classification"


class Taught(Protocol):
    """What is asked about weights."""

    @property
    def subject(self) -> str:
        """What the weights are of, in words that begin a sentence."""

    @property
    def origin(self) -> str:
        """What they were trained on, in words."""

    @property
    def training_labels(self) -> tuple[str, ...] | None:
        """Names of the categories they were trained to tell apart; None where not listed."""

    @property
    def silent(self) -> bool:
        """Whether these names must be known and are not."""

    @property
    def path(self) -> Path | None:
        """Their file, if they have one."""


def check_training_labels(
    origin: Taught, *, seen_names: Iterable[str] | None = None, unseen_names: Iterable[str] | None = None
) -> None:
    """Refuses weights whose recorded training labels go beyond the seen categories, or should be recorded and are not.

    A stage that may know unseen names passes them; one that may not passes the seen names alone, and then every label
    must be among these. A record of exactly "ImageNet-1k classification", and a classifier's weights without recorded
    labels, pass. Names are compared as spoken, without case.

    Raises:
        ProtocolError: a label is an unseen category, or no seen one; or labels that must be known are not.
    """
    if origin.silent:
        raise ProtocolError(
            f"{origin.subject} was trained on labels that its file does not record, so they may be unseen categories.",
            file=origin.path,
            mend="Save the weights as safetensors with the metadata training_labels (a JSON list of names), or "
            "give --allow-seen-unseen: results are then not zero-shot, and say so.",
        )
    if origin.training_labels is None or origin.origin == IMAGENET_ORIGIN:
        return
    unseen = {_spoken(name) for name in unseen_names or ()}
    seen = None if seen_names is None else {_spoken(name) for name in seen_names}
    for label in origin.training_labels:
        if _spoken(label) in unseen or (seen is not None and _spoken(label) not in seen):
            what = "an unseen category" if _spoken(label) in unseen else "no seen category"
            raise ProtocolError(
                f"{origin.subject} was trained on the label {label!r}, which is {what} of this vocabulary.",
                file=origin.path,
                mend="Use weights trained on seen categories or ImageNet-1k, or con.segmentor.backbone_weights=none; "
                "or give --allow-seen-unseen: results are then not zero-shot, and say so.",
            )


def _spoken(name: str) -> str:
    return clean_name(name).casefold()

"""Segment any picture by any names: a finished run or an exported model, as one object.

Segmenter.load("runs/zps").predict("street.jpg", "cow; cattle, giraffe, road [stuff]").overlay().show()
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Setting, Task
from pipelines.clip.name_embeddings import NameEmbeddings
from pipelines.data.formats.photo import Photo, pixels_of
from pipelines.data.loading.transforms import test_transform
from pipelines.inference.masks import Padding
from pipelines.inference.probabilities import query_probabilities
from pipelines.models.projector import ProjectionHead
from pipelines.predict.bundle import read_bundle
from pipelines.predict.painting import Painting, paint
from pipelines.predict.predictions import Prediction
from pipelines.predict.trained import TrainedModel
from pipelines.predict.trained_run import read_run
from pipelines.training.devices import choose_device
from pipelines.vocabularies.typed_names import vocabulary_of
from pipelines.vocabularies.vocabulary import Vocabulary


def read_model(source: Path, cache: Path | None = None) -> TrainedModel:
    """A run directory or an exported file as a trained model; arguments and errors as of `Segmenter.load`."""
    return read_bundle(source) if source.is_file() else read_run(source, cache)


class Segmenter:
    """A trained model that answers for pictures; make one with `Segmenter.load`."""

    def __init__(self, model: TrainedModel, device: torch.device) -> None:
        self.model, self.device = model, device
        self._extractor = model.extractor.to(device).eval()
        self._finetuned = model.finetuned.to(device).eval() if model.finetuned else None
        self._embed = NameEmbeddings(
            model.own, model.rows, lambda: model.text_encoder(device), model.recipe.clip.prompts
        )

    @classmethod
    def load(cls, source: Path | str, *, device: str = "auto", cache: Path | str | None = None) -> "Segmenter":
        """A finished run, or a file that `concat export` wrote.

        Args:
            source: run directory (`train-con` at least has run) or exported file.
            device: auto, cpu, cuda or cuda:N.
            cache: where the run's text stores lie, if it was moved; names that are missing are embedded anew.

        Raises:
            ConcatError: it is neither, or not finished, or there is no such device.
            CorruptFileError: it is damaged.
        """
        chosen = choose_device(device)
        return cls(read_model(Path(source), Path(cache) if cache else None), chosen)

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's own categories: seen, unseen and taught ones."""
        return self.model.own

    def predict(
        self,
        image: Photo,
        vocabulary: Vocabulary | Path | str | None = None,
        *,
        task: Task | None = None,
        setting: Setting | None = None,
        threshold: float | None = None,
        increment: float | None = None,
        max_side: int | None = None,
    ) -> Prediction:
        """Segments one image.

        Args:
            image: path, PIL image of any mode, or uint8 H×W×3 (RGB); a camera's note on orientation is followed.
            vocabulary: typed names ("cow; cattle, road [stuff]"), a shipped vocabulary, a file, or None: the model's.
            task: panoptic, semantic or instance; None: the run's.
            setting: transductive (the finetuned projector) or inductive; None: transductive if there is one.
            threshold: least score of a segment or instance; None: the recipe's, or for instances the best hundred.
            increment: added to the logits of names unknown to training; None: 0 for the finetuned projector, else the
                recipe's.
            max_side: the picture is looked at with its longer side at most so long (px), to save time and memory;
                the prediction is brought back to its size.

        Raises:
            ConcatError: the image, the vocabulary or a setting cannot be used.
        """
        question = self._question(vocabulary, task, setting, threshold, increment, max_side)
        return next(self._answers([image], question, batch_size=1))

    def predict_all(
        self,
        images: Iterable[Photo],
        vocabulary: Vocabulary | Path | str | None = None,
        *,
        task: Task | None = None,
        setting: Setting | None = None,
        threshold: float | None = None,
        increment: float | None = None,
        max_side: int | None = None,
        batch_size: int = 1,
    ) -> Iterator[Prediction]:
        """Segments images in order, `batch_size` neighbours of one input size at a time; otherwise as `predict`."""
        question = self._question(vocabulary, task, setting, threshold, increment, max_side)
        return self._answers(images, question, batch_size=batch_size)

    def embeddings(self, vocabulary: Vocabulary) -> Tensor:
        """Text embeddings of any names, N×C, float32, unit length, on the CPU."""
        return self._embed(vocabulary)

    def _question(
        self,
        vocabulary: Vocabulary | Path | str | None,
        task: Task | None,
        setting: Setting | None,
        threshold: float | None,
        increment: float | None,
        max_side: int | None,
    ) -> "_Question":
        recipe = self.model.recipe
        task = task or recipe.task
        if threshold is not None and task == "semantic":
            raise ConcatError("A semantic prediction has no threshold.", mend="Leave it out.")
        if max_side is not None and max_side < 1:
            raise ConcatError(f"The longest side cannot be {max_side} px.", mend="Give at least 32.")
        head, finetuned = self._head(setting)
        names = self._names(vocabulary, task)
        return _Question(
            vocabulary=names,
            text=self._embed(names).to(self.device),
            head=head,
            increment=(0.0 if finetuned else recipe.eval.increment) if increment is None else increment,
            painting=Painting(task, recipe.eval, threshold),
            max_side=max_side,
        )

    def _head(self, setting: Setting | None) -> tuple[ProjectionHead, bool]:
        """The projector to ask, and whether it is the finetuned one."""
        if setting == "transductive" and self._finetuned is None:
            raise ConcatError(
                "This model has no finetuned projector.", file=self.model.source, mend="Use the inductive setting."
            )
        if self._finetuned is None or setting == "inductive":
            return self._extractor.head, False
        return self._finetuned, True

    def _names(self, vocabulary: Vocabulary | Path | str | None, task: Task) -> Vocabulary:
        """The names to ask for, those unknown to training marked unseen; things alone for instances."""
        if vocabulary is None:
            vocabulary = self.model.own
        elif not isinstance(vocabulary, Vocabulary):
            vocabulary = vocabulary_of(vocabulary, known=[self.model.own])
        vocabulary = vocabulary.things if task == "instance" else vocabulary
        if not len(vocabulary):
            raise ConcatError("The vocabulary names no thing.", mend="Instances are things; mark one as [thing].")
        return vocabulary.unseen_relative_to(self.model.seen)

    def _answers(self, images: Iterable[Photo], question: "_Question", *, batch_size: int) -> Iterator[Prediction]:
        waiting: list[_Prepared] = []
        for image in images:
            prepared = self._prepared(pixels_of(image), question.max_side)
            if waiting and (len(waiting) == batch_size or waiting[0].input.shape != prepared.input.shape):
                yield from self._predicted(waiting, question)
                waiting = []
            waiting.append(prepared)
        if waiting:
            yield from self._predicted(waiting, question)

    def _prepared(self, pixels: NDArray[np.uint8], max_side: int | None) -> "_Prepared":
        settings = self.model.recipe.con.input
        short, long = settings.test_short, settings.test_long
        if max_side is not None:
            short, long = min(short, max_side), min(long, max_side)
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)  # 3×H×W
        return _Prepared(pixels, *test_transform(image, short=short, long=long))

    @torch.inference_mode()
    def _predicted(self, batch: list["_Prepared"], question: "_Question") -> list[Prediction]:
        images = torch.stack([prepared.input for prepared in batch]).to(self.device)
        mixed = self.model.recipe.runtime.precision == "bf16-mixed"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            output = self._extractor(images)
        predictions = []
        for row, prepared in enumerate(batch):
            height, width = prepared.input.shape[1:]
            predictions.append(
                paint(
                    question.painting,
                    self._probabilities(output.queries[-1][row].float(), question),
                    output.mask_logits[-1][row].float(),
                    Padding(input=(height, width), content=prepared.content),
                    pixels=prepared.pixels,
                    vocabulary=question.vocabulary,
                    max_side=question.max_side,
                )
            )
        return predictions

    def _probabilities(self, queries: Tensor, question: "_Question") -> Tensor:
        """P of every query, K×N."""
        return query_probabilities(
            question.head,
            queries,
            question.text,
            torch.tensor([category.unseen for category in question.vocabulary.categories], device=self.device),
            increment=question.increment,
            softmax=self.model.recipe.con.matching.classification == "softmax",
        )


@dataclass(frozen=True)
class _Question:
    """What is asked of every image: names (embedded as `text`, N×C), projector, increment, and how to paint."""

    vocabulary: Vocabulary
    text: Tensor
    head: ProjectionHead
    increment: float
    painting: Painting
    max_side: int | None


class _Prepared(NamedTuple):
    """A picture (H×W×3), the extractor's input (3×H'×W') and the part of it that is picture."""

    pixels: NDArray[np.uint8]
    input: Tensor
    content: tuple[int, int]

"""The batches of a training run, which a seed decides."""

from collections.abc import Callable, Sequence

from torch.utils.data import Dataset

from pipelines.base.errors import ConcatError
from pipelines.base.seeding import derive_seed
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.sample import Sample
from pipelines.data.loading.transforms import SampleTransform
from pipelines.training.order import PermutationBatches


class StepBatches(Dataset[list[Sample] | ConcatError]):
    """The batches of the steps `first_step` to `iterations` - 1, item k that of step `first_step` + k.

    What a batch holds derives from seed, step and image id alone, so any worker makes the same one, and a resumed run
    goes on as if it had not stopped. Use it with `DataLoader(batch_size=None)`.

    Args:
        data: the images.
        batch_size: images a step.
        first_step: the step to begin or go on with.
        iterations: number of steps of the whole run.
        seed: of order and augmentation.
        transform: the augmentation.
        share: a batch's indices → those of this process; None: all.

    Raises:
        ConcatError: there are no images.
    """

    def __init__(
        self,
        data: LabelledImages,
        *,
        batch_size: int,
        first_step: int,
        iterations: int,
        seed: int,
        transform: SampleTransform,
        share: Callable[[Sequence[int]], Sequence[int]] | None = None,
    ) -> None:
        self._data, self._seed, self._transform = data, seed, transform
        self._share = share or _all
        self._steps = range(first_step, iterations)
        self._order = PermutationBatches(len(data), batch_size, seed)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, item: int) -> list[Sample] | ConcatError:
        """The samples of a step, or what is wrong with them: raised in a loader process, it would lose its parts."""
        step = self._steps[item]
        try:
            return [self._augmented(index, step) for index in self._share(self._order(step).tolist())]
        except ConcatError as error:
            return error

    def _augmented(self, index: int, step: int) -> Sample:
        sample = self._data.sample(index)
        return self._transform(sample, derive_seed(self._seed, "augment", step, sample.image_id))


def _all(indices: Sequence[int]) -> Sequence[int]:
    return indices

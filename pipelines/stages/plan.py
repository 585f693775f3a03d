"""What a command would do: the stages that would run and why, what they would read, and what they would write where.

Nothing is written, and no torch is imported.
"""

from dataclasses import dataclass
from pathlib import Path

from pipelines.base.disk import LARGER, free_bytes, in_words, one_disk
from pipelines.base.errors import ConcatError
from pipelines.runs.freshness import State, Status, needed_stages, status
from pipelines.runs.run import Run, Stage
from pipelines.stages.counts import training_images_of, validation_images_of
from pipelines.stages.plan_details import Details, Place, details_of


@dataclass(frozen=True)
class Planned:
    """One stage.

    Attributes:
        state: whether it is fresh, and then does not run.
        why: why it runs.
        shared: whether several devices share its work.
    """

    name: str
    state: State
    why: str
    details: Details
    shared: bool = False

    @property
    def runs(self) -> bool:
        """Whether it would run."""
        return self.state != "fresh"


@dataclass(frozen=True)
class Disk:
    """Where a plan writes.

    Attributes:
        places: what lies there: the cache, the run, or both in one file system.
        needed: bytes still to be written, as far as they are known.
        free: bytes.
    """

    places: tuple[Place, ...]
    folder: Path
    needed: int
    free: int

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.needed <= self.free


@dataclass(frozen=True)
class Plan:
    """What a command would do, stage by stage; `disks` tell whether it fits."""

    stages: tuple[Planned, ...]
    disks: tuple[Disk, ...]

    @property
    def running(self) -> list[Planned]:
        """The stages that would run."""
        return [stage for stage in self.stages if stage.runs]

    def check_room(self) -> None:
        """Refuses what does not fit, as the stages themselves would.

        Raises:
            ConcatError: less is free than will be written.
        """
        for disk in self.disks:
            if not disk.fits:
                mend = LARGER if "cache" in disk.places else "Make room, or give --run DIR on a larger disk."
                raise ConcatError(
                    f"These stages need {in_words(disk.needed)}, but {in_words(disk.free)} are free.",
                    file=disk.folder,
                    mend=mend,
                )


def plan_of(run: Run, chain: list[Stage], target: str, *, force: bool = False) -> Plan:
    """The plan of bringing `target` up to date; `force` as in the runner.

    Raises:
        ConcatError: there is no such stage, or a list or json that tells the images is damaged.
    """
    wanted = needed_stages(chain, target)
    states = [_forced(state, target) if force else state for state in status(run, chain) if state.name in wanted]
    split_stands = any(state.name == "split-coco" and state.state == "fresh" for state in states)
    train = val = None
    if any(state.state != "fresh" for state in states):
        train, val = training_images_of(run, split=split_stands), validation_images_of(run, split=split_stands)
    planned, shared = [], {stage.name for stage in chain if stage.shared}
    for state in states:
        details = Details() if state.state == "fresh" else details_of(run, state.name, train, val)
        planned.append(Planned(state.name, state.state, state.why, details, state.name in shared))
    return with_disks(run, tuple(planned))


def _forced(state: Status, target: str) -> Status:
    return Status(state.name, "stale", "forced") if state.name == target and state.state == "fresh" else state


def with_disks(run: Run, stages: tuple[Planned, ...]) -> Plan:
    """A plan of these stages, and whether the disks have room for what they write."""
    if one_disk(run.cache, run.folder):
        return Plan(stages, (_disk(("cache", "run"), run.cache, stages),))
    return Plan(stages, (_disk(("cache",), run.cache, stages), _disk(("run",), run.folder, stages)))


def _disk(places: tuple[Place, ...], folder: Path, stages: tuple[Planned, ...]) -> Disk:
    """The most that lies there at once: what stages before left, and what a stage holds while it runs."""
    left = most = 0
    for stage in stages:
        here = [written for written in stage.details.writes if written.place in places]
        most = max(most, left + sum(written.needed for written in here))
        left += sum(written.needed for written in here if written.lasts)
    return Disk(places, folder, most, free_bytes(folder))

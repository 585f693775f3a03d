"""A plan as a table and a few lines, or as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from concat_cli.console import out, table
from pipelines.base.disk import in_words

if TYPE_CHECKING:
    from pipelines.runs.run import Run
    from pipelines.stages.plan import Disk, Plan, Planned
    from pipelines.stages.plan_details import Written
    from pipelines.stages.timing import Timed, Timing

UNKNOWN = "?"
_SIGNS = {"listed": "", "estimated": "~", "at most": "≤"}


def show_plan(run: Run, plan: Plan, timing: Timing | None = None, *, devices: int = 1) -> None:
    """Prints what would be done; with times and memory, if they were measured."""
    columns = ["stage", "why", "work", "writes"]
    rows = [[stage.name, _why(stage), _work(stage), _writes(stage)] for stage in plan.stages]
    if timing is not None:
        columns.append("takes")
        for row, stage in zip(rows, plan.stages, strict=True):
            row.append(_measured(timing.times.get(stage.name)))
    table(f"{run.folder}  ({run.recipe.name})", columns, rows, texts=4, unbroken=(0, 2, 3, 4))
    for line in [*_disk_lines(run, plan), *_remarks(plan, timing, devices)]:
        out.print(escape(line), soft_wrap=True)


def plan_values(run: Run, plan: Plan, timing: Timing | None = None, *, devices: int = 1) -> dict[str, Any]:
    """What `show_plan` shows, for json: sizes in bytes, times in seconds, null where something is unknown."""
    times = timing.times if timing else {}
    values: dict[str, Any] = {
        "run": str(run.folder),
        "recipe": run.recipe.name,
        "stages": [_stage_values(stage, times.get(stage.name)) for stage in plan.stages],
        "disks": [
            {
                "holds": list(disk.places),
                "folder": str(disk.folder),
                "needed": disk.needed,
                "free": disk.free,
                "fits": disk.fits,
            }
            for disk in plan.disks
        ],
    }
    if timing is not None:
        values |= {"device": timing.device, "devices": devices, "seconds": timing.seconds}
    return values


def _stage_values(stage: Planned, time: Timed | None) -> dict[str, Any]:
    images = stage.details.images
    return {
        "name": stage.name,
        "state": stage.state,
        "why": stage.why,
        "images": images and {"count": images.count, "segments": images.segments, "how": images.how},
        "views": stage.details.views,
        "steps": stage.details.steps,
        "writes": [vars(written) for written in stage.details.writes],
        "seconds": time and time.seconds,
        "seconds_each": time.each if time and time.peak is not None else None,
        "each": time and time.unit,
        "peak_memory": time and time.peak,
        "whole": time and time.whole,
    }


def _why(stage: Planned) -> str:
    return escape(stage.why or stage.state) if stage.runs else "[green]fresh[/]"


def _work(stage: Planned) -> str:
    details = stage.details
    lines = [f"{details.steps:,} steps"] if details.steps else []
    if details.images is not None:
        views = f" × {details.views}" if details.views > 1 else ""
        lines.append(f"{_SIGNS[details.images.how]}{details.images.count:,}{views} images")
    elif details.writes and not details.steps:
        lines.append(f"{UNKNOWN} images")
    return "\n".join(lines)


def _writes(stage: Planned) -> str:
    return "\n".join(_written(written) for written in stage.details.writes)


def _written(written: Written) -> str:
    if written.size is None:
        return f"{written.what} {UNKNOWN}"
    there = f"\n{in_words(written.there)} are there" if written.there else ""
    return f"{written.what} {in_words(written.size)}{there}"


def _measured(time: Timed | None) -> str:
    """Time and memory."""
    if time is None:
        return ""
    if time.peak is None:
        return "[red]too much\nmemory[/]"
    memory = in_words(time.peak) if time.whole else f"> {in_words(time.peak)}"
    return f"{UNKNOWN if time.seconds is None else duration(time.seconds)}\n{memory}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 1:
        return "< 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _disk_lines(run: Run, plan: Plan) -> list[str]:
    return [_disk_line(run, disk) for disk in plan.disks]


def _disk_line(run: Run, disk: Disk) -> str:
    folders = {"cache": run.cache, "run": run.folder}
    where = " and ".join(f"{place} {folders[place]}" for place in disk.places)
    fits = "" if disk.fits else ": too little"
    return f"{where}: {in_words(disk.needed)} to write, {in_words(disk.free)} free{fits}"


def _remarks(plan: Plan, timing: Timing | None, devices: int) -> list[str]:
    remarks = []
    if not plan.running:
        remarks.append("all is fresh; nothing to do")
    if timing is not None and timing.times:
        total = UNKNOWN if timing.seconds is None else duration(timing.seconds)
        such = f", assuming {devices} such devices that share the images" if devices > 1 else ""
        remarks.append(f"in all {total} on {timing.device}{such}; reading images and scoring are not counted")
    if timing is not None and not all(time.whole for time in timing.times.values()):
        remarks.append("> was measured on some of the images that are held at once, as many as a CPU can be asked for")
    how = {stage.details.images.how for stage in plan.running if stage.details.images}
    if "estimated" in how:
        remarks.append("~ is told from annotations that are still to be split")
    if "at most" in how:
        remarks.append("≤ is before the protocol leaves images out")
    running = [written for stage in plan.running for written in stage.details.writes]
    if any(written.size is None for written in running):
        remarks.append("? is known once the split stands, or, of networks, when `concat plan` builds them")
    return remarks

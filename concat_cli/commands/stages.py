"""precompute, train-con, dump-queries, train-cat and finetune: the same options, another stage."""

from collections.abc import Callable

from concat_cli.errors import guarded
from concat_cli.launch import relaunched
from concat_cli.options import Cache, Debug, Device, Devices, DryRun, Force, RunDir, Seed, Set
from concat_cli.runs import bring_up_to_date, open_run
from pipelines.runs.run import Stage


def stage_command(stage: Stage) -> Callable[..., None]:
    """The command of one stage."""

    @guarded
    def command(
        run: RunDir,
        settings: Set = None,
        seed: Seed = None,
        device: Device = None,
        devices: Devices = None,
        cache: Cache = None,
        force: Force = False,
        dry_run: DryRun = False,
        debug: Debug = False,
    ) -> None:
        if not dry_run and relaunched(devices):
            return
        opened = open_run(run, cache=cache, settings=settings, seed=seed, device=device)
        bring_up_to_date(opened, stage.name, force=force, dry_run=dry_run)

    command.__doc__ = stage.about
    return command

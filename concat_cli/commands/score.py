"""score: anyone's predictions against their ground truth, without a run directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from concat_cli.completion import vocabularies
from concat_cli.console import RichReporter
from concat_cli.errors import guarded
from concat_cli.options import Debug
from concat_cli.pixel_values import pixel_values
from pipelines.base.errors import ConcatError
from pipelines.base.progress import SilentReporter
from pipelines.base.terms import Candidates, Task
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary

EXAMPLES = """[bold]Examples[/]
  [dim]Panoptic: two jsons, beside each the folder (or zip) of its PNGs[/]
  concat score --truth gt.json --predictions mine.json --per-category
  [dim]The same with COCO's zip as it is, seen and unseen told apart, for a spreadsheet[/]
  concat score --truth coco.zip/annotations/panoptic_val2017.json \\
    --predictions mine.json --vocabulary coco_panoptic --csv scores.csv
  [dim]Semantic: two folders (or zips) of label maps with the same names[/]
  concat score --truth SegmentationClass --predictions mine \\
    --vocabulary voc20 --list val.txt
  [dim]Instances: COCO's json and results, the unseen names alone[/]
  concat score --truth instances_val2014.json --predictions results.json \\
    --vocabulary coco_instances_48_17 --candidates novel-only"""


@guarded
def score(
    truth: Annotated[
        Path,
        typer.Option(
            help="COCO-panoptic json, COCO instances json, or a folder of label maps; zips need no unpacking."
        ),
    ],
    predictions: Annotated[
        Path, typer.Option(help="COCO-panoptic json, COCO results json, or a folder or zip of label maps.")
    ],
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Shipped vocabulary or a .toml/.json of one's own: which categories count and which are unseen.",
            show_default="the categories of the truth's json, none unseen",
            autocompletion=vocabularies,
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(metavar="TASK", help="panoptic, semantic or instance.", show_default="told by the truth"),
    ] = None,
    candidates: Annotated[
        Candidates,
        typer.Option(
            metavar="WHICH",
            help="Names that competed in the predictions: all (generalised) or the unseen alone (novel-only), for "
            "which seen pixels of the truth do not count.",
        ),
    ] = "generalised",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count images without prediction as empty, and say which.")
    ] = False,
    truth_png: Annotated[
        Path | None, typer.Option(help="PNGs of a panoptic truth.", show_default="beside its json")
    ] = None,
    predictions_png: Annotated[
        Path | None, typer.Option(help="PNGs of panoptic predictions.", show_default="beside their json")
    ] = None,
    ignore: Annotated[
        str | None,
        typer.Option(
            help="Values of label maps that are no category: they do not count in the truth and are no prediction.",
            show_default="0,255 but for category ids",
        ),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", help="Text file that names the label maps to score.", show_default="all of the truth"),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", min=1, show_default="as many as pay")] = None,
    per_category: Annotated[bool, typer.Option("--per-category", help="Show every category too.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print json in place of tables.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write groups and categories as csv.", dir_okay=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Write groups and categories as json.", dir_okay=False)] = None,
    debug: Debug = False,
) -> None:
    """Score anyone's predictions: PQ, mIoU or AP over all, things, stuff, seen, unseen and their harmonic mean."""
    from concat_cli.score_table import show_score
    from pipelines.base.files import write_text
    from pipelines.scoring.start import zero_shot_of
    from pipelines.scoring.task import task_of

    task = task or task_of(truth)
    _refuse({"truth-png": truth_png, "predictions-png": predictions_png}, task, "panoptic")
    _refuse({"ignore": ignore, "list": listed}, task, "semantic")
    chosen = load_vocabulary(vocabulary) if vocabulary else None
    reporter = SilentReporter() if json_output else RichReporter()
    if task == "panoptic":
        from pipelines.scoring.panoptic import score_panoptic

        scores = score_panoptic(
            truth,
            predictions,
            vocabulary=chosen,
            truth_png=truth_png,
            predictions_png=predictions_png,
            candidates=candidates,
            allow_missing=allow_missing,
            workers=workers,
            reporter=reporter,
        )
    elif task == "semantic":
        from pipelines.scoring.semantic import score_label_maps

        scores = score_label_maps(
            truth,
            predictions,
            vocabulary=_needed(chosen),
            ignored=None if ignore is None else pixel_values(ignore),
            listed=listed,
            candidates=candidates,
            allow_missing=allow_missing,
            workers=workers,
            reporter=reporter,
        )
    else:
        from pipelines.scoring.instance import score_instances

        scores = score_instances(truth, predictions, vocabulary=chosen, candidates=candidates)
    scores = scores.model_copy(update={"zero_shot": zero_shot_of(predictions)})
    as_json = scores.model_dump_json(indent=1) + "\n"
    if csv is not None:
        write_text(csv, scores.to_csv())
    if out is not None:
        write_text(out, as_json)
    if json_output:
        typer.echo(as_json, nl=False)
    else:
        show_score(scores, per_category=per_category)


def _refuse(options: Mapping[str, object], task: Task, owner: Task) -> None:
    """Refuses options of another task, which would change nothing."""
    for name, value in options.items():
        if value is not None and task != owner:
            raise ConcatError(
                f"--{name} says something about {owner} data, but these are {task}.", mend=f"Leave --{name} out."
            )


def _needed(vocabulary: Vocabulary | None) -> Vocabulary:
    if vocabulary is None:
        raise ConcatError(
            "Label maps do not say what their values mean.",
            mend="Give --vocabulary: a shipped one (voc20, pc59, ade150, coco_stuff) or a file of one's own.",
        )
    return vocabulary

"""`concat compare` as it is typed: the table, what is said below it, json, csv, the list and errors."""

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from concat_cli import console
from concat_cli.commands.compare import compare

app = typer.Typer()
app.command()(compare)


@pytest.fixture(params=[80, 120])
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(console.out, "_width", request.param)
    return int(request.param)


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_table_shows_seen_unseen_harmonic_and_differences(wide: int) -> None:
    shown = typed("concat-zps-transductive", "pading-zps-full")
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    assert lines[0] == "PQ, %: all names compete (generalised)"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows == [
        ["concat-zps-transductive", "39.2", "21.2", "27.5"],
        ["pading-zps-full", "41.5", "15.3", "22.3"],
        ["", "+2.3", "-5.9", "-5.2"],
    ]
    assert max(map(len, lines)) <= wide
    text = " ".join(" ".join(lines).split())
    for said in ("panoptic, transductive, ZPS, generalised, coco_panoptic.", "the best iterate", "table 1"):
        assert said in text
    assert "!" not in text


def test_long_names_are_shown_whole_and_mixed_figures_named(wide: int) -> None:
    shown = typed("clipteacher-transfer-context-segformer-b4", "concat-zps-inductive", "zsi-gzsi-48-17-by-pading")
    names = "".join(line.split("│")[1].strip() for line in shown.stdout.splitlines() if line.startswith("│"))
    assert "clipteacher-transfer-context-segformer-b4" in names
    assert shown.stdout.startswith("mIoU and PQ and mask AP50, %")
    assert "! Different tasks side by side (semantic, panoptic, instance)" in shown.stdout


def test_json_and_csv_are_written(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    shown = typed("concat-zps", "--json", "--csv", str(path))
    assert [row["values"]["harmonic"] for row in json.loads(shown.stdout)["rows"]] == [20.8, 27.5]
    assert [row["unseen"] for row in csv.DictReader(path.open())] == ["14.0", "21.2"]


def test_the_list_has_every_published_result_or_those_asked_for(wide: int) -> None:
    everything = typed("--list").stdout
    for said in ("clipteacher-zss-voc-swin-b", "concat-open-ade150", "zsknet-zss-voc", "ZSK-Net (Tajwar et al. 2023)"):
        assert said in everything
    assert max(map(len, everything.splitlines())) <= wide
    some = typed("--list", "pading-gzsi")
    assert "pading-gzsi-65-15" in some.stdout
    assert "pading-zps" not in some.stdout
    assert len(json.loads(typed("--list", "--json").stdout)) == 132


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to compare"),
        (["concat-zsp"], "no published result"),
        (["--list", "nothing"], "No published result is called 'nothing'"),
        (["concat-zps", "--figure", "speed"], "None of these has the figure 'speed'"),
    ],
)
def test_mistakes_end_with_a_message(arguments: list[str], message: str) -> None:
    shown = typed(*arguments)
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert message in shown.stderr


def test_a_run_that_is_not_evaluated_ends_with_a_message(tmp_path: Path) -> None:
    assert typed(str(tmp_path)).exit_code == 2

"""Shell completion: commands, options and shipped names."""

import pytest
from typer.testing import CliRunner

from concat_cli.app import app


def _completed(*words: str) -> list[str]:
    environment = {
        "_CONCAT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    return CliRunner().invoke(app, [], env=environment, prog_name="concat").stdout.split()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("concat", "sta"), ["status"]),
        (("concat", "train"), ["train-con", "train-cat"]),
        (("concat", "train-con", "--de"), ["--device", "--devices", "--debug"]),
        (("concat", "run", "concat_zss"), ["concat_zss", "concat_zss_r101c"]),
        (("concat", "split-coco", "--vocabulary", "coco_i"), ["coco_instances_48_17", "coco_instances_65_15"]),
        (("concat", "score", "--vocabulary", "voc"), ["voc20"]),
        (("concat", "split-data", "co"), ["context", "coco-stuff"]),
    ],
)
def test_what_tab_gives(typed: tuple[str, ...], expected: list[str]) -> None:
    assert _completed(*typed) == expected

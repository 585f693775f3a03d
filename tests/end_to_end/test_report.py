import json
import shutil
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from chromium import chromium, opened
from concat_command import FinishedRun, concat_here, refused

from pipelines.published_tables.published import find_published

RUN, COMPARISON = "run.html", "comparison.html"


@pytest.fixture(scope="module")
def pages(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a run, and with one that compares two seeds and another recipe."""
    root = tmp_path_factory.mktemp("pages")
    other = _with(smoke.copy(root / "seed"), "seed = 0", "seed = 1")
    third = _with(smoke.copy(root / "recipe"), "pseudo_unseen = 64", "pseudo_unseen = 32")
    for name, runs in ((RUN, [smoke.folder]), (COMPARISON, [smoke.folder, other, third])):
        shown = concat_here("report", *runs, "--out", root / name, cache=smoke.cache)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert str(root / name) in shown.stdout.replace("\n", "")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def _with(run: Path, old: str, new: str) -> Path:
    """The run with another line in its recipe, as if it had been made so."""
    path = run / "recipe.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return run


# --- the page as it is looked at --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [RUN, COMPARISON])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_and_nothing_is_fetched(
    pages: Path, browser: Any, name: str, width: int, scheme: str
) -> None:
    with opened(browser, pages / name, width=width, scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", [RUN, COMPARISON])
def test_pictures_have_size_and_words_and_tables_have_scopes(pages: Path, browser: Any, name: str) -> None:
    with opened(browser, pages / name) as page:
        images = page.eval_on_selector_all(
            "img", "all => all.map(i => [i.naturalWidth, +i.getAttribute('width'), +i.getAttribute('height'), i.alt])"
        )
        drawn = page.eval_on_selector_all(
            "svg",
            "all => all.map(s => [+s.getAttribute('width'), +s.getAttribute('height'), "
            "s.getAttribute('aria-label') || s.getAttribute('aria-hidden')])",
        )
        headless = page.eval_on_selector_all("th", "all => all.filter(h => !h.scope).length")
        unnamed = page.eval_on_selector_all("table", "all => all.filter(t => !t.caption?.textContent.trim()).length")
    assert all(natural == width > 0 and height > 0 and len(alt) > 10 for natural, width, height, alt in images)
    assert bool(images) == (name == RUN)
    assert len(drawn) >= 3
    assert all(width > 0 and height > 0 and words for width, height, words in drawn)
    assert (headless, unnamed) == (0, 0)


@pytest.mark.parametrize("name", [RUN, COMPARISON])
def test_headings_go_down_one_level_at_a_time_below_one_title(pages: Path, browser: Any, name: str) -> None:
    with opened(browser, pages / name) as page:
        levels = page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(h => +h.tagName[1])")
        landmarks = page.eval_on_selector_all("header, nav, main, footer", "all => all.map(e => e.localName)")
        broken = page.eval_on_selector_all(
            "nav a", "all => all.filter(a => !document.querySelector(a.getAttribute('href'))).length"
        )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert landmarks == ["header", "nav", "main", "footer"]
    assert broken == 0


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_heading_sorts_its_table_both_ways(pages: Path, browser: Any, by: str) -> None:
    with opened(browser, pages / RUN) as page:
        button = page.locator("table.seen thead button").nth(2)

        def press() -> list[str]:
            if by == "mouse":
                button.click()
            else:
                button.focus()
                page.keyboard.press("Enter")
            return page.eval_on_selector_all("table.seen tbody tr", "all => all.map(row => row.cells[2].dataset.value)")

        falling, rising = press(), press()
        head = page.locator("table.seen thead th").nth(2)
        assert head.get_attribute("aria-sort") == "ascending"
        known = [float(value) for value in falling if value]
        assert known == sorted(known, reverse=True)
        assert [float(value) for value in rising if value] == sorted(known)
        assert falling[len(known) :] == rising[len(known) :] == [""] * (len(falling) - len(known))
        page.locator("table.seen thead button").first.click()
        names = page.eval_on_selector_all("table.seen tbody th", "all => all.map(head => head.dataset.value)")
        assert names == sorted(names)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_the_button_says_otherwise(
    pages: Path, browser: Any, by: str, scheme: str
) -> None:
    def is_dark(page: Any) -> bool:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 300

    with opened(browser, pages / RUN, scheme=scheme) as page:
        assert is_dark(page) == (scheme == "dark")
        if by == "mouse":
            page.locator(".theme").click()
        else:
            page.locator(".theme").focus()
            page.keyboard.press("Space")
        assert is_dark(page) == (scheme == "light")
        assert page.locator(".theme").inner_text() == ("Dark theme" if scheme == "dark" else "Light theme")


def test_a_picture_is_enlarged_and_put_back_by_keyboard(pages: Path, browser: Any) -> None:
    with opened(browser, pages / RUN) as page:
        page.locator(".gallery button").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("dialog img").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
        assert page.evaluate("document.activeElement.parentElement.parentElement.className") == "gallery"


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_page_is_small_and_holds_every_part(pages: Path, smoke: FinishedRun) -> None:
    text = (pages / RUN).read_text(encoding="utf-8")
    assert len(text) < 10e6
    for part in ("results", "categories", "pictures", "queries", "choices", "losses", "provenance"):
        assert f'<section id="{part}"' in text
    metrics = json.loads((smoke.folder / "eval/metrics.json").read_text())
    assert f"{metrics['transductive']['panoptic']['seen']['pq']:.1f}</dd>" in text
    assert "no published figures to compare with" in text
    assert "demo --recipe smoke" in text
    assert "dropped (ZPS)" in text


def test_the_comparison_averages_seeds_and_names_what_differs(pages: Path) -> None:
    text = (pages / COMPARISON).read_text(encoding="utf-8")
    assert "3 runs of 2 recipes" in text
    assert "± 0.0" in text
    assert "finetune.pseudo_unseen" in text


def test_a_report_lies_in_its_run_unless_told_otherwise(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    assert concat_here("report", run, cache=smoke.cache).returncode == 0
    assert (run / "report.html").stat().st_size > 10_000


def test_published_figures_stand_below_those_of_the_run(
    smoke: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.report.run_page.comparable_results", lambda *_: find_published("concat-zps"))
    concat_here("report", smoke.folder, "--out", tmp_path / RUN, cache=smoke.cache)
    text = (tmp_path / RUN).read_text(encoding="utf-8")
    assert "CONCAT, ResNet-50, transductive, published" in text
    assert '<td class="n">27.5</td><td class="n">39.2</td><td class="n">21.2</td>' in text
    assert "table 1; the best iterate of finetuning on the test set" in text
    assert "no published figures" not in text


def test_an_inductive_run_has_no_transductive_part(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "finetune")
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    recipe["finetune"]["unseen"] = False
    (run / "recipe.toml").write_text(tomli_w.dumps(recipe))
    path = run / "eval/metrics.json"
    metrics = json.loads(path.read_text())
    kept = {key: metrics[key] for key in metrics if not key.startswith(("transductive", "finetune"))}
    kept["novel_only"].pop("transductive")
    path.write_text(json.dumps(kept))
    shown = concat_here("report", run, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "Transductive" not in text
    assert "Finetuning" not in text
    assert "the inductive projector" in text


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_an_unfinished_run_is_told_what_is_missing(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "eval", "finetune")
    shown = concat_here("report", run, cache=smoke.cache)
    refused(shown, "finetune, eval have not run", f"concat eval --run {run}")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    "name",
    ["eval/metrics.json", "eval/categories.csv", "eval/transductive.json", "eval/queries/000.h5", "con/metrics.jsonl",
     "con/manifest.json", "cat/generator.safetensors", "finetune/projector.safetensors", "split/unseen.json"],
)  # fmt: skip
def test_a_damaged_file_is_named(smoke: FinishedRun, tmp_path: Path, name: str) -> None:
    run = smoke.copy(tmp_path)
    path = run / name
    path.write_bytes(path.read_bytes()[:40])
    refused(concat_here("report", run, cache=smoke.cache), path.name)


def test_a_missing_prediction_is_named(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    gone = next((run / "eval/inductive").glob("*.png"))
    gone.unlink()
    refused(concat_here("report", run, cache=smoke.cache), gone.name)


def test_runs_that_cannot_be_compared_are_refused(smoke: FinishedRun, tmp_path: Path) -> None:
    refused(concat_here("report", smoke.folder, smoke.folder, cache=smoke.cache), "named twice")
    other = tmp_path / "empty"
    other.mkdir()
    refused(concat_here("report", smoke.folder, other, cache=smoke.cache), "no recipe.toml")
    shutil.rmtree(other)

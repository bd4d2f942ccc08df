"""Numbers in the pages are those of the JSON that the pages name."""

import json
from typing import Any

import pytest

from benchmarks.common.record import ROOT, read_rows
from benchmarks.common.tables import folded
from benchmarks.emoji.page import TABLES, record
from benchmarks.emoji.rows import Rows
from benchmarks.pages import blocks, write
from patch_forcing.core.errors import UserError
from patch_forcing.runs.recipes import RECIPES

RESULTS = ROOT / "docs/results"
EMOJI = RESULTS / "emoji"
GUIDED = {"sampler": "euler", "nfe": 50, "guidance": 3.0, "grid": "uniform"}


def doubled(numbers: dict[str, float]) -> str:
    """What the blocks below hold."""
    return f"## Twice\n\n| n |\n| --- |\n| {2 * numbers['n']} |\n" if numbers else "nothing"


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    monkeypatch.setitem(vars(blocks), "doubled", doubled)
    (tmp_path / "n.json").write_text('{"n": 4}')
    file = tmp_path / "page.md"
    file.write_text(
        "before\n\n<!-- benchmarks.pages.blocks:doubled n.json -->\n<!-- end -->\nafter\n"
    )
    return file


def test_a_block_holds_what_its_function_makes_of_its_file(page):
    (problem,) = blocks.problems(page)
    assert problem == (
        "page.md:3: benchmarks.pages.blocks:doubled writes it otherwise: "
        "run python -m benchmarks.pages.write"
    )
    write.write(page)
    assert page.read_text() == (
        "before\n\n<!-- benchmarks.pages.blocks:doubled n.json -->\n"
        "## Twice\n\n| n |\n| --- |\n| 8 |\n<!-- end -->\nafter\n"
    )
    assert blocks.problems(page) == []


def test_a_list_is_folded_below_its_title():
    assert folded("a < b", ["n: 1", "`x`"]) == (
        '<details markdown="1">\n<summary>a &lt; b</summary>\n\n- n: 1\n- `x`\n\n</details>\n'
    )


def test_a_number_changed_by_hand_or_in_the_json_is_named(page):
    write.write(page)
    text = page.read_text()
    page.write_text(text.replace("| 8 |", "| 9 |"))
    assert len(blocks.problems(page)) == 1
    page.write_text(text)
    (page.parent / "n.json").write_text('{"n": 5}')
    assert len(blocks.problems(page)) == 1


def test_no_section_is_lost_where_the_file_has_nothing_of_it_any_more(page):
    write.write(page)
    text = page.read_text()
    (page.parent / "n.json").write_text("{}")
    with pytest.raises(UserError, match="would lose ## Twice: empty the block first"):
        write.write(page)
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("<!-- benchmarks.pages.blocks:doubled m.json -->", "m.json is not there"),
        ("<!-- benchmarks.pages.blocks:tripled n.json -->", "blocks:tripled is not there"),
        ("<!-- benchmarks.pages.nowhere:doubled n.json -->", "nowhere:doubled is not there"),
        ("<!-- benchmarks.pages.blocks:doubled -->", "2 marks are not pairs"),
        ("<!-- end -->\n<!-- benchmarks.pages.blocks:doubled n.json -->", "3 marks are not pairs"),
    ],
)
def test_a_block_without_its_source_is_named(page, mark, message):
    page.write_text(f"{mark}\n<!-- end -->\n")
    (problem,) = blocks.problems(page)
    assert problem.startswith("page.md: ")
    assert message in problem


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("| a |\n|---|\n| 1 |\n", [1]),
        ("\n| a |\n|---|\n| b |\n| **1.5** |\n", [2]),
        ("| 16 |\n|---|\n| none below the header |\n", []),
        ("| a |\n|---|\n| `--n 1`, [page](1.md) |\n", []),
        ("<!-- no measurements: settings -->\n\n| a |\n|---|\n| 1 |\n", []),
        ("<!-- no measurements: settings -->\ntext\n\n| a |\n|---|\n| 1 |\n", [4]),
        ("<!-- no measurements: -->\n| a |\n|---|\n| 1 |\n", [2]),
    ],
)
def test_a_table_with_numbers_names_its_source_or_holds_settings(text, lines):
    assert blocks.unsourced(text) == lines


@pytest.mark.parametrize("path", blocks.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_in_a_table_is_that_of_the_json_it_names(path):
    assert blocks.problems(path) == []


def test_the_page_of_the_emoji_tables_has_every_section():
    text = (EMOJI / "tables.md").read_text(encoding="utf-8")
    assert [f"## {title}" in text for title, _ in TABLES.values()] == [True] * 6


@pytest.mark.parametrize("name", TABLES)
def test_the_json_of_an_emoji_table_is_what_the_rows_say(name):
    held = json.loads((EMOJI / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    entries = record(name, Rows(read_rows(EMOJI / "rows.jsonl")))
    assert held == json.loads(json.dumps(entries))


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def test_recipes_promise_what_was_measured():
    (emoji,) = (
        row
        for row in read_rows(EMOJI / "rows.jsonl")
        if row["kind"] == "samples" and row["model"]["size"] == "emoji-64"
        if row["sampling"] == {**GUIDED, "interval": [0.1, 0.8]}
    )
    assert RECIPES["emoji-64"].reaches.startswith(
        f"FD {emoji['fd']:.1f}; {100 * emoji['accuracy']:.0f} % of samples classified"
    )
    euler = {
        (row["budget"], row["guidance"]): f"{100 * row['accuracy']:.0f} %"
        for row in read("digits.json")["rows"]
        if row["sampler"] == "euler"
    }
    output = (
        f"{euler[48, 1]} of samples classified as the requested digit, {euler[48, 2]} with guid"
    )
    assert RECIPES["digits"].reaches.startswith(output)
    real, _, euler, _ = read_rows(RESULTS / "natural/rows.jsonl")
    judged = euler["measures"][0]
    output = (
        f"FD {judged['fd']['held-out']['value']:.1f} to held-out images in features of Efficient"
        f"Net-Lite0 (Euler, {euler['nfe']:g} evaluations); {100 * judged['accuracy']:.0f} % of "
        "samples read as their class, of held-out images "
        f"{100 * real['judges'][0]['accuracy']:.0f} %"
    )
    assert RECIPES["cifar10"].reaches.startswith(output)


@pytest.mark.parametrize("row", read("paper.json")["rows"], ids=lambda row: row["size"])
def test_recipes_name_the_papers_numbers(row):
    size = row["size"].removesuffix("/2").lower()
    assert f"FID-50k {row['sit, euler']} (Euler)," in RECIPES[f"imagenet256-sit-{size}"].reaches
    by_sampler = [f"{row[f'pft, {name}']} ({name})" for name in ("dual-loop", "look-ahead")]
    output = f"FID-50k {row['pft, euler']} (Euler), {', '.join(by_sampler)},"
    assert output in RECIPES[f"imagenet256-pft-{size}"].reaches


@pytest.mark.parametrize("row", read("inputs.json")["rows"], ids=lambda row: row["kind"])
def test_the_tests_that_hold_a_kind_of_inputs_exist(row):
    for test in row["tests"]:
        file, _, name = test.partition("[")[0].partition("::")
        assert f"def {name or 'test_'}" in (ROOT / file).read_text(encoding="utf-8")

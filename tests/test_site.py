"""What the site is made of: pages with working links, docstrings, help pages, notebooks."""

import json
import re
import shlex
import tomllib

import pytest

from docs.website import commands, names, notebooks
from docs.website.sources import DOCS, MOVED, ROOT, SHOWN, Sources, page_of
from patch_forcing.core.errors import UserError
from patch_forcing.runs.recipes import RECIPES

NAV = tomllib.loads((DOCS / "website/zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
PAGES = [*DOCS.rglob("*.md"), *(ROOT / name for name in MOVED)]


def places(nav: list[dict]) -> list[str]:
    """All pages of a navigation."""
    entries = [place for entry in nav for place in entry.values()]
    return [p for one in entries for p in ([one] if isinstance(one, str) else places(one))]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    Sources(folder).write()
    return folder


def test_every_link_of_a_page_leads_to_a_page_or_a_file_beside_it(written):
    page = (written / "architecture.md").read_text(encoding="utf-8")
    link = re.search(r"\]\((source/src/patch_forcing/__init__\.py\.md)\)", page)
    assert link is not None
    source = (written / link[1]).read_text(encoding="utf-8")
    assert source.startswith("# `src/patch_forcing/__init__.py`\n\n````python\n")
    assert (written / "images/floors.png").is_file()


def test_a_link_that_leads_nowhere_is_named_and_code_is_left_alone(tmp_path):
    sources = Sources(tmp_path)
    text = "[a](nowhere.md#x) `[b](no.md)`\n```\n[c](no.md)\n```\n[d](https://e.org) [f](#g)\n"
    assert sources.linked(text, DOCS / "page.md", "page.md") == text
    assert sources.problems == ["docs/page.md: nowhere.md#x is not there"]


def test_a_folder_becomes_a_list_of_its_files(tmp_path):
    sources = Sources(tmp_path)
    linked = sources.linked("[code](../.ci)", DOCS / "page.md", "a/page.md")
    assert linked == "[code](../source/.ci/index.md)"
    page = (tmp_path / "source/.ci/index.md").read_text(encoding="utf-8")
    assert "- [run](run.md)" in page
    assert "" in SHOWN


def test_the_navigation_has_every_page():
    made = [page_of(name) for name in Sources._pages()] + [*MOVED.values()]
    assert sorted(places(NAV)) == sorted({*made})


def test_every_public_name_has_a_page_and_a_docstring():
    assert [*names.unplaced(), *names.undocumented()] == []
    pages = names.name_pages()
    assert "::: patch_forcing.generation.pipeline.Pipeline\n" in pages["sampling"]
    assert "| `dual-loop` | `pf.samplers.DualLoopSampler` |" in pages["samplers"]


def test_a_public_name_without_docstring_or_page_stops_the_build(monkeypatch):
    class Silent:
        __module__ = "patch_forcing.silent"

        def method(self) -> None: ...

    monkeypatch.setattr(names.api, "__all__", [*names.api.__all__, "Silent"])
    monkeypatch.setattr(names.pf, "Silent", Silent, raising=False)
    with pytest.raises(
        UserError, match=r"Silent is public or in .*; Silent has no docstring; Sile"
    ):
        names.name_pages()


def test_help_becomes_a_list_of_every_option():
    page = commands.command_page("sample")
    assert "`--maps`, `--no-maps`\n:   Also write sheets/maps.png" in page
    assert "patch-forcing sample emoji-64 --labels cat-face,drink --count 8\n```" in page
    option = r"--[a-z][\w.-]*\w"
    known = set(re.findall(option, commands.printed("sample", "--help")))
    assert known - {"--help"} <= set(re.findall(option, page))
    assert "| emoji-64-repa |" in commands.command_page("train")


@pytest.mark.parametrize("path", notebooks.notebooks(), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    text = path.read_text(encoding="utf-8")
    assert text == notebooks.as_text(notebooks.stripped(json.loads(text))), (
        "run python -m docs.website.notebooks --strip"
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks.notebooks(), ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(path, monkeypatch):
    pytest.importorskip("nbclient")
    monkeypatch.setenv("PATCH_FORCING_SMALL", "1")
    notebooks.run(path)


def shown_commands(text: str) -> list[list[str]]:
    """The commands of ours in the code of a page, as words."""
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").split("\n") + re.findall(r"`([^`\n]+)`", text)
    shown = []
    for line in lines:
        for part in re.split(r"&&|\|\||;| \| ", line):
            match = re.search(r"(?:patch-forcing|-m patch_forcing) ([a-z].*)", part)
            if match is not None:
                try:
                    shown.append(shlex.split(match[1], comments=True))
                except ValueError:  # a part of a sentence
                    continue
    return [words for words in shown if words and words[0] in commands.COMMANDS]


def help_of(words: list[str]) -> str:
    """The help of a command, of the recipe or the part of it that is named."""
    command, first = words[0], next((word for word in words[1:] if word[0] != "-"), "")
    parts = commands.PARTS.get(command, {})
    if command == "train":
        recipe = first if first in RECIPES else "folder"
        return commands.printed("train", recipe, "--help") + "--list"
    if command == "evaluate" and first not in parts:
        return commands.printed("evaluate", "--help")
    if parts:
        part = "FOLDER --features" if command == "encode" and "--features" in words else first
        return commands.printed(command, *parts.get(part, parts.get("FOLDER", [])))
    return commands.printed(command, "--help")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_of_commands_in_pages_exist(path):
    for words in shown_commands(path.read_text(encoding="utf-8")):
        options = {word.partition("=")[0] for word in words if re.match(r"--[a-z][\w.-]*", word)}
        known = set(re.findall(r"--[a-z][\w.-]*", help_of(words))) | {"--help"}
        assert options <= known, f"{' '.join(words)}: {sorted(options - known)}"

"""Pages for readers: short sentences, the field's words, links that lead somewhere."""

import re
from pathlib import Path

import pytest

from benchmarks.common.record import ROOT
from benchmarks.pages.sentences import mean_words, public_pages, sentences, texts

PAGES = public_pages()
JARGON = re.compile(r"\b(?:asked|must|aim(?:s|ed)?|(?<!progress )(?<!colour )bars?)\b", re.I)
LINK = re.compile(r"!?\[[^\]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"^(```+).*?^\1 *$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
PAGE = """---
title: A page. It has two sentences.
---
# A heading. Of its own.

One, two `three --four`. Five [six
seven](a.md)! By e.g. numbers 1.5 and 2.

```
code. More code.
```

- An item
  of two lines. And more.
- **Bold.** Then

| a table. | b |
|---|---|

<!-- a comment. -->
![a picture.](a.png)
"""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_sentences_are_those_of_the_prose():
    counted = [(sentence.text, sentence.words) for sentence in sentences(PAGE)]
    assert counted == [
        ("One, two `three --four`.", 4),
        ("Five six seven!", 3),
        ("By e.g. numbers 1.5 and 2.", 6),
        ("An item of two lines.", 5),
        ("And more.", 2),
        ("**Bold.", 1),
        ("Then", 1),
    ]
    assert mean_words(PAGE) == pytest.approx(22 / 7)
    assert mean_words("| only | a table |\n") == 0


def test_pages_can_be_those_of_the_working_tree():
    assert texts(["README.md"], None)["README.md"].startswith("# patch-forcing")


def test_the_readme_is_short():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert mean_words(readme) <= 18


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_of_a_page_are_short(page):
    assert mean_words(page.read_text(encoding="utf-8")) <= 18


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_do_not_use_our_own_jargon(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    assert [match[0] for match in JARGON.finditer(text)] == []


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links."""
    text = CODE.sub(lambda code: "" if code[1] else code[0], page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    shown = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in shown}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "LOG.md"], ids=name)
def test_links_lead_somewhere(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for path, anchor in LINK.findall(text):
        there = page.parent / path if path else page
        assert there.exists(), path
        if anchor:
            assert anchor in anchors(there), f"{path}#{anchor}"

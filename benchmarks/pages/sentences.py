"""How long the sentences of the pages are: mean, longest, and how many are over thirty words.

    python -m benchmarks.pages.sentences                      # all pages of this working tree
    python -m benchmarks.pages.sentences README.md --longest 5
    python -m benchmarks.pages.sentences --at COMMIT          # the pages as they were then

Front matter, blocks of code, tables, headings, pictures and comments are left out. Code and links
within a sentence count as the words that they show. An item of a list is a paragraph.
"""

import argparse
import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.record import ROOT
from benchmarks.common.tables import table
from benchmarks.pages.blocks import pages
from patch_forcing.core.errors import UserError

LONG = 30
ALSO = ("CONTRIBUTING.md", "SECURITY.md")
LEFT_OUT = [  # before lines are looked at one by one
    re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE),
    re.compile(r"^(?P<fence> *(?:```+|~~~+)).*?^(?P=fence) *$", re.DOTALL | re.MULTILINE),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
]
NO_PROSE = re.compile(r"\s*(?:\||#|!\[|!!!|:::|<)|\s*[-=*]{3,}\s*$")
ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
END = re.compile(r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bal\.)[*_”\")]*\s+")


@dataclass(frozen=True)
class Sentence:
    """A sentence as a reader sees it."""

    text: str

    @property
    def words(self) -> int:
        """Pieces between spaces that have a letter or a digit."""
        return sum(bool(re.search(r"\w", piece)) for piece in self.text.split())


def paragraphs(page: str) -> list[str]:
    """Prose of a page, a line for each paragraph or item of a list."""
    for pattern in LEFT_OUT:
        page = pattern.sub("\n", page)
    blocks: list[list[str]] = [[]]
    for line in page.splitlines():
        if not line.strip() or NO_PROSE.match(line):
            blocks.append([])
        elif ITEM.match(line):
            blocks.append([ITEM.sub("", line, count=1)])
        else:
            blocks[-1].append(line.strip())
    return [" ".join(lines) for lines in blocks if lines]


def sentences(page: str) -> list[Sentence]:
    """Sentences of a page in order; those without a word are none."""
    shown = (LINK.sub(r"\1", paragraph) for paragraph in paragraphs(page))
    split = (Sentence(text) for paragraph in shown for text in END.split(paragraph))
    return [sentence for sentence in split if sentence.words]


def mean_words(page: str) -> float:
    """Mean number of words in a sentence of the page; 0 without any."""
    words = [sentence.words for sentence in sentences(page)]
    return sum(words) / len(words) if words else 0.0


def public_pages() -> list[Path]:
    """Every page that is written for readers. The log is a notebook of its days."""
    return [*pages(), *(path for name in ALSO if (path := ROOT / name).is_file())]


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def texts(names: list[str], commit: str | None) -> dict[str, str]:
    """Pages by name, of the working tree or of a commit; all where none is named."""
    if commit is None:
        chosen = names or [str(page.relative_to(ROOT)) for page in public_pages()]
        return {name: (ROOT / name).read_text(encoding="utf-8") for name in chosen}
    listed = _git("ls-tree", "-r", "--name-only", commit, "--", *names).split("\n")
    public = re.compile(r"(?:README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|(?:docs|src)/.*\.md")
    return {name: _git("show", f"{commit}:{name}") for name in listed if public.fullmatch(name)}


def row(name: str, page: str) -> list[str]:
    """A line of the table: page, lines, sentences, mean, longest, how many are long."""
    words = [sentence.words for sentence in sentences(page)] or [0]
    over = sum(count > LONG for count in words)
    lines, mean = len(page.splitlines()), f"{mean_words(page):.1f}"
    return [name, str(lines), str(len(words)), mean, str(max(words)), str(over)]


def main() -> None:
    """Print the table, and the longest sentences if wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", help="from the root of the repository; default: all")
    parser.add_argument("--at", metavar="COMMIT", help="the pages of that commit")
    parser.add_argument("--longest", type=int, default=0, metavar="N", help="print so many, too")
    options = parser.parse_args()
    try:
        chosen = texts(options.pages, options.at)
    except (UserError, OSError) as error:
        parser.error(str(error))
    header = ["page", "lines", "sentences", "mean words", "longest", f"over {LONG}"]
    print(table(header, [row(*page) for page in chosen.items()]), end="")
    for name, page in chosen.items():
        longest = sorted(sentences(page), key=lambda sentence: -sentence.words)
        for sentence in longest[: options.longest]:
            print(textwrap.fill(f"{name}, {sentence.words}: {sentence.text}", 100))


if __name__ == "__main__":
    main()

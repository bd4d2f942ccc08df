"""The pages of the site from those of the repository: the same text, with links that work there.

A link leads to another page, to a file that is copied beside the pages, or to a file of the source,
which becomes a page that shows it. So nothing of the site needs a network, and the pages of the
repository read as well on any git host.
"""

import json
import os
import re
from pathlib import Path

from patch_forcing.core.errors import UserError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MOVED = {
    "README.md": "index.md",
    "LOG.md": "log.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Where pages outside of docs/ are on the site. The first page stands for the README."""
SHOWN = {".py": "python", ".toml": "toml", ".sh": "bash", ".txt": "text", "": "text"}
"""Files that are shown on a page of their own, by ending, and how they are coloured."""

FENCE = re.compile(r"^ *(```|~~~)")
CODE = re.compile(r"(`+[^`]*`+)")
LINK = re.compile(r'(?P<before>\]\(|\b(?:src|href)=")(?P<target>[^)"\s]+)')


class Sources:
    """The folder that the site is built of."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.places = {DOCS / name: name for name in self._pages()}
        self.places |= {ROOT / name: place for name, place in MOVED.items()}
        self.problems: list[str] = []

    @staticmethod
    def _pages() -> list[str]:
        """The pages in docs/, by their paths there."""
        pages = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
        return sorted(str(path.relative_to(DOCS)) for path in pages)

    def write(self) -> None:
        """Writes all pages and the files that they need. Raises UserError naming broken links."""
        for source, place in list(self.places.items()):
            if source.is_file() and source != ROOT / "README.md":
                text = source.read_text(encoding="utf-8")
                if source.suffix == ".ipynb":
                    text = notebook_page(text, source.name)
                self.add(page_of(place), self.linked(text, source, page_of(place)))
        if self.problems:
            raise UserError("; ".join(self.problems))

    def add(self, place: str, text: str) -> None:
        """Writes one page."""
        page = self.folder / place
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")

    def linked(self, text: str, source: Path, place: str) -> str:
        """The text of a page with the links that it has at that place; code stays as it is."""
        lines, fenced = text.split("\n"), False
        for number, line in enumerate(lines):
            fence = bool(FENCE.match(line))
            fenced ^= fence
            if fenced or fence:
                continue
            parts = CODE.split(line)
            for i in range(0, len(parts), 2):
                parts[i] = LINK.sub(lambda link: self._link(link, source, place), parts[i])
            lines[number] = "".join(parts)
        return "\n".join(lines)

    def _link(self, link: re.Match[str], source: Path, place: str) -> str:
        """One link of a page, as it is on the site."""
        path, mark, anchor = link["target"].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        target = Path(os.path.normpath(source.parent / path))
        if not target.exists():
            self.problems.append(f"{source.relative_to(ROOT)}: {link['target']} is not there")
            return link[0]
        there = os.path.relpath(self.place_of(target), Path(place).parent)
        return f"{link['before']}{there}{mark}{anchor}"

    def place_of(self, target: Path) -> str:
        """Where a file of the repository is on the site; it is brought there if it is no page."""
        if target in self.places:
            return page_of(self.places[target])
        inside = target.is_relative_to(DOCS) and target.suffix != ".py"
        place = str(
            target.relative_to(DOCS) if inside else Path("source") / target.relative_to(ROOT)
        )
        if target.is_dir() or target.suffix in SHOWN:
            self.places[target] = f"{place}/index.md" if target.is_dir() else f"{place}.md"
            self._show(target)
            return self.places[target]
        copy = self.folder / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(target.read_bytes())
        return place

    def _show(self, target: Path) -> None:
        """Makes a page of a file of the source, or of a folder."""
        place, name = self.places[target], target.relative_to(ROOT)
        if target.is_dir():
            entries = sorted(path for path in target.iterdir() if path.name[0] not in "._")
            rows = "\n".join(f"- [{path.name}]({path.relative_to(target)})" for path in entries)
            self.add(place, self.linked(f"# `{name}`\n\n{rows}\n", target / "index", place))
            return
        text = target.read_text(encoding="utf-8").replace("````", "```")
        self.add(place, f"# `{name}`\n\n````{SHOWN[target.suffix]}\n{text}````\n")


def page_of(place: str) -> str:
    """The page of a notebook, or the page itself."""
    return f"{place.removesuffix('.ipynb')}.md" if place.endswith(".ipynb") else place


def notebook_page(text: str, name: str) -> str:
    """The cells of a notebook as a page. It begins with its own title."""
    cells = ["".join(cell["source"]).strip("\n") for cell in json.loads(text)["cells"]]
    kinds = [cell["cell_type"] for cell in json.loads(text)["cells"]]
    shown = [
        cell if kind == "markdown" else f"```python\n{cell}\n```"
        for kind, cell in zip(kinds, cells, strict=True)
    ]
    shown.insert(1, f"*This page is the notebook `docs/notebooks/{name}`.*")
    return "\n\n".join(shown) + "\n"

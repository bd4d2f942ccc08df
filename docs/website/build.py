"""Builds the site of the documents.

    pip install -e ".[docs]" && python -m docs.website.build      # writes build/site

The pages lie in docs/. Sources with working links (`sources`) and the reference (`names`,
`commands`) are made first; Zensical makes the site of them, and refuses links that lead nowhere.
Equations become MathML, which browsers show by themselves. The site needs no network: a page that
would load anything from one is an error.
"""

import argparse
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from latex2mathml.converter import convert

from docs.website.commands import command_pages
from docs.website.names import name_pages
from docs.website.sources import ROOT, Sources
from patch_forcing.core.errors import UserError

EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
LOADED = re.compile(
    r'<(?:script|img|iframe|video|source)\b[^>]*\bsrc="?(?:https?:)?//[^" >]+'
    r'|<link\b[^>]*\brel="?(?:stylesheet|preload|preconnect|icon)\b[^>]*\bhref="?https?://[^" >]+'
)
"""What a browser would load from elsewhere while it shows a page."""


def build(out: Path) -> None:
    """Makes the site in a folder. Raises UserError naming what is broken."""
    sources = out.parent / f"{out.name}-sources"
    for folder in (sources, out):
        shutil.rmtree(folder, ignore_errors=True)
    pages = Sources(sources / "docs")
    pages.write()
    config = (ROOT / "docs/website/zensical.toml").read_text(encoding="utf-8")
    for kind, texts in (("names", name_pages()), ("commands", command_pages())):
        entries = []
        for name, text in texts.items():
            pages.add(f"reference/{kind}/{name}.md", text)
            title = text.partition("\n")[0].removeprefix("# ").removeprefix("patch-forcing ")
            entries.append(f'{{ "{title}" = "reference/{kind}/{name}.md" }},')
        config = config.replace(f"# {kind}\n", "\n".join(entries) + "\n")
    (sources / "zensical.toml").write_text(config, encoding="utf-8")
    shutil.copy(ROOT / "docs/website/style.css", sources / "docs/style.css")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    run = subprocess.run(
        command, cwd=sources, env=here, capture_output=True, text=True, check=False
    )
    if run.returncode:
        report = re.sub(r"\x1b\[[\d;]*m", "", run.stdout + run.stderr)  # without its colours
        raise UserError(f"zensical refuses:\n{report}")
    shutil.move(sources / "site", out)
    for page in out.rglob("*.html"):
        finish(page)


def finish(page: Path) -> None:
    """Renders the equations of a page. Raises UserError if it loads anything from elsewhere."""
    text = EQUATION.sub(_equation, page.read_text(encoding="utf-8"))
    loaded = LOADED.search(text)
    if loaded is not None:
        raise UserError(f"{page.name} loads from the network: {loaded[0]}")
    page.write_text(text, encoding="utf-8")


def _equation(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    return convert(html.unescape(match["latex"]).strip(), display=display)


def main() -> None:
    """The command. Exit status 1 if anything is broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/site", help="replaced")
    out: Path = parser.parse_args().out
    try:
        build(out.absolute())
    except UserError as error:
        raise SystemExit(f"docs: {error}") from None
    count = sum(1 for _ in out.rglob("*.html"))
    print(f"{out}: {count} pages; to see them: python -m http.server -d {out}")


if __name__ == "__main__":
    main()

"""Pages whose numbers are those of the JSON: write them, or name what differs.

    python -m benchmarks.pages.write            # all blocks of all pages anew
    python -m benchmarks.pages.write --check    # changes nothing; status 1 if a number differs

benchmarks/pages/blocks.py says what a block is. What is outside of the blocks stays.
"""

import argparse
import re
import sys
from pathlib import Path

from benchmarks.pages.blocks import pages, problems, rewritten
from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import write_atomic

HEADING = re.compile(r"^#+ .*$", re.MULTILINE)


def write(page: Path) -> None:
    """Every block of the page anew. Raises UserError, and leaves the page as it was.

    A section that the files have nothing of any more is such an error, too.
    """
    text = page.read_text(encoding="utf-8")
    try:
        anew = rewritten(text)
    except UserError as error:
        raise UserError(f"{page}: {error}") from None
    lost = [heading for heading in HEADING.findall(text) if heading not in anew]
    if lost:
        raise UserError(
            f"{page} would lose {'; '.join(lost)}: empty the block first if that is meant"
        )
    if anew != text:
        write_atomic(page, anew)
        print(f"{page} written")


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path, help="default: all")
    parser.add_argument("--check", action="store_true", help="name what differs, write nothing")
    options = parser.parse_args()
    chosen = [page.resolve() for page in options.pages] or pages()
    if not options.check:
        try:
            for page in chosen:
                write(page)
        except UserError as error:
            parser.error(str(error))
    faults = [problem for page in chosen for problem in problems(page)]
    print(*faults, sep="\n", end="\n" if faults else "")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

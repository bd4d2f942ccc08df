"""The examples of a page, run one after the other as they stand there."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent.parent / "docs"


def run_examples(page: str) -> list[dict[str, Any]]:
    """The names that there are after each."""
    names: dict[str, Any] = {}
    after = []
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, example {number + 1}", "exec"), names)
        after.append(dict(names))
    return after

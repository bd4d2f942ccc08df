"""The notebooks: kept without outputs, and run from top to bottom before a change is taken.

    python -m docs.website.notebooks --strip      # removes outputs and counts of executions
    python -m docs.website.notebooks --run        # runs each; needs pip install -e ".[notebooks]"

With PATCH_FORCING_SMALL=1 in the environment they train for a few steps only.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError

FOLDER = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""What a notebook says of itself, whoever saved it last."""


def notebooks() -> list[Path]:
    """All of them."""
    return sorted(FOLDER.glob("*.ipynb"))


def stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    """The same without what running it leaves behind."""
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        kept = {"cell_type": cell["cell_type"], "id": f"cell-{number}", "metadata": {}}
        kept["source"] = "".join(cell["source"]).splitlines(keepends=True)
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        cells.append(kept)
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def as_text(notebook: dict[str, Any]) -> str:
    """As a file holds it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def strip(path: Path) -> None:
    """Strips a file."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(as_text(stripped(notebook)), encoding="utf-8")


def run(path: Path, seconds: int = 600) -> None:
    """Runs a notebook in an empty folder. Raises UserError naming the cell that fails."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=seconds, resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except CellExecutionError as error:
            raise UserError(f"{path.name}: {error}") from None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strip", action="store_true", help="remove outputs")
    parser.add_argument("--run", action="store_true", help="run each")
    chosen = parser.parse_args()
    for path in notebooks():
        if chosen.strip:
            strip(path)
        if chosen.run:
            run(path)
            small = " at a small size" if os.environ.get("PATCH_FORCING_SMALL") else ""
            print(f"{path.name} ran{small}")


if __name__ == "__main__":
    main()

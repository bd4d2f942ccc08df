"""What commands and named recipes resolve to, to be compared with what was recorded.

python -m tests.scripts.golden_recipes    # records it; for test_golden.py
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patch_forcing.cli.options import parse
from patch_forcing.cli.train import Options
from patch_forcing.runs.recipes import RECIPES, find_recipe
from patch_forcing.runs.run_folder import open_run
from tests.support.golden import GOLDEN

FILE = GOLDEN / "resolved.json"
COMMANDS = (
    "train digits",
    "train digits --steps 40 --accumulate 2 --optimizer.name muon --timesteps ltg:levels=8",
    "train digits --timesteps shared-uniform --network.no-predict-difficulty --ema-decay 0.9",
    "train digits --alignment.encoder emoji --alignment.weight 0.1 --network.patch-size 4",
)


def of_command(command: str) -> dict[str, Any]:
    """The recipe and the network that a command of this line trains."""
    _, name, *args = command.split()
    default = Options(find_recipe(name).recipe)
    recipe = parse(Options, args, prog=command, description="", default=default).recipe
    return {"recipe": asdict(recipe), "model": recipe.network.config(recipe.data.open()).stored()}


def of_recipe(name: str) -> dict[str, Any]:
    """The recipe as a run's record has it."""
    with tempfile.TemporaryDirectory() as folder:
        open_run(Path(folder), name, RECIPES[name].recipe)
        record = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    return {"recipe": record["recipe"]}


def resolved() -> dict[str, dict[str, Any]]:
    """By command, and by name of the recipe."""
    commands = {command: of_command(command) for command in COMMANDS}
    return json.loads(json.dumps(commands)) | {name: of_recipe(name) for name in RECIPES}


if __name__ == "__main__":
    FILE.write_text(json.dumps(resolved(), indent=1) + "\n", encoding="utf-8")

"""Losses of every recipe, and its averaged weights, to be compared with those recorded.

python -m tests.scripts.golden_losses          # records all, after a change meant to change them
python -m tests.scripts.golden_losses NAME …   # these recipes, such as a new one
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from patch_forcing.io.model_layout import WEIGHTS
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from tests.support.feature_networks import encoder_of
from tests.support.golden import GOLDEN, machine
from tests.support.same_runs import losses, without_key_bias
from tests.support.small_recipes import small

FILE = GOLDEN / "losses.json"
STEPS, EVERY = 10, 2
"""Of each run, and between the losses that are kept."""


def trained(name: str, folder: Path) -> dict[str, Any]:
    """What a recipe gives: losses, and the norm and the probe of each average at the end.

    In fp32, whatever the recipe's precision: bf16 rounds as each processor's kernels do.
    folder: of the data and the run.
    """
    recipe = replace(small(name, folder, STEPS), precision="fp32", log_every=EVERY)
    encoder = None if recipe.alignment.encoder is None else encoder_of()
    outcome = train(name, recipe, folder / "runs" / name, progress=False, encoder=encoder)
    averages = {
        path.name: statistics(load_file(path / WEIGHTS))
        for path in sorted(outcome.checkpoint.glob("ema*"))
    }
    curve = [loss for _, loss in losses(folder / "runs" / name)]
    return {"on": processor(), "losses": curve, "averages": averages}


def processor() -> dict[str, str]:
    """What rounding depends on; releases of torch gave the same numbers."""
    return {key: value for key, value in machine().items() if key != "torch"}


def tolerance(name: str, on: dict[str, str]) -> tuple[float, float]:
    """Of a recorded loss, relatively, and of an average's statistics, as shares of its norm.

    With the kernels of other processors AdamW's runs were 4e-7 and 1e-6 apart. Muon's were 2e-5 and
    4e-3 apart, and once 1.04e-4: it makes orthogonal in bf16.
    """
    if RECIPES[name].recipe.optimizer.name == "muon" and on != processor():
        return 2e-4, 1e-2
    return 1e-6, 3e-6


def statistics(weights: Mapping[str, Tensor]) -> list[float]:
    """√Σw² and Σw·cos(n), where n counts all weights, in the order of their names."""
    tensors = without_key_bias(weights)
    flat = torch.cat([tensors[name].flatten() for name in sorted(tensors)]).double()
    return [float(flat.norm()), float(flat @ torch.arange(len(flat)).double().cos())]


def recorded() -> dict[str, dict[str, Any]]:
    """By recipe."""
    rows: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return rows


def main(names: list[str]) -> None:
    """Record these recipes, or all."""
    torch.set_num_threads(1)  # as in the tests
    rows = recorded() if names else {}
    with tempfile.TemporaryDirectory() as folder:
        rows |= {name: trained(name, Path(folder)) for name in names or RECIPES}
    kept = [name for name in RECIPES if name in rows]
    lines = [f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in kept]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

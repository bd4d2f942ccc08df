"""`train RECIPE --dry-run`: the run in full, and what it will take on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from patch_forcing.cli.train import Options
from patch_forcing.data.batch import Inferred
from patch_forcing.io.provenance import hardware
from patch_forcing.models.cost import matrix_rate
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.init import init_weights
from patch_forcing.runs.parts import build_network
from patch_forcing.runs.recorded import open_data


def resolved_run(
    name: str, options: Options, run: Path, device: str, track: tuple[str, ...]
) -> dict[str, Any]:
    """The run in full, and what it will take on this machine."""
    recipe, data = open_data(run, options.recipe, options.allow_changed_data)
    rate = matrix_rate(device, torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    figures = asdict(estimate(recipe, data, rate))
    resolved = {
        "name": name,
        "out": str(run),
        "track": track,
        "recipe": asdict(recipe),
        **(
            {"description": data.summary.splitlines(), "found": data.facts}
            if isinstance(data, Inferred)
            else {}
        ),
        "model": recipe.network.config(data).stored(),
        "estimate": {
            **{k: float(f"{x:.3g}") if isinstance(x, float) else x for k, x in figures.items()},
            "machine": hardware(device),
            "machine_tflop_per_second": float(f"{rate / 1e12:.3g}"),
        },
    }
    if options.init_from is not None:
        network = build_network(recipe.network, data)
        resolved["init_from"] = init_weights(network, options.init_from)
    return resolved

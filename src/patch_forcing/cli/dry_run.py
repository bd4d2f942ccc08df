"""`train RECIPE --dry-run`: the run in full, and what it will take on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from patch_forcing.cli.train import Options
from patch_forcing.data.batch import Inferred, TrainingData
from patch_forcing.io.provenance import hardware
from patch_forcing.models.cost import matrix_rate
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.init import init_weights
from patch_forcing.runs.named_recipe import KnownSizes
from patch_forcing.runs.parts import build_network
from patch_forcing.runs.recorded import open_data
from patch_forcing.views.progress import duration

H200_RATE, H200_SHARE = 684e12, 0.95
"""Operations a second of one large product in bf16 on one H200; and of eight times one card's
throughput, what eight are taken to reach. Measured: the first, and the second on two
(docs/results/speed.md, scaling.md)."""


def resolved_run(
    name: str,
    options: Options,
    run: Path,
    device: str,
    track: tuple[str, ...],
    sizes: KnownSizes | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The run in full, and what it will take on this machine.

    sizes: of data that are not read; None: they are read. seconds: of the whole command, where its
    steps were planned by them; None: they follow from the operations of the steps.
    """
    recipe: Any = options.recipe
    data: Any = sizes
    if sizes is None:
        recipe, data = open_data(run, recipe, options.allow_changed_data)
    rate = matrix_rate(device, torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    figures: dict[str, Any] = asdict(estimate(recipe, data, rate))
    if sizes is not None:
        hours = figures["hours"] * rate / H200_RATE
        figures |= {"hours_on_1_h200": hours, "hours_on_8_h200": hours / (8 * H200_SHARE)}
    if seconds is not None:
        figures["hours"] = seconds / 3600
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
    if options.init_from is not None and isinstance(data, TrainingData):
        network = build_network(recipe.network, data)
        resolved["init_from"] = init_weights(network, options.init_from, recipe.train_only)
    return resolved


def in_words(resolved: dict[str, Any]) -> str:
    """What was found in the data, and one sentence about what the run takes."""
    figures = resolved["estimate"]
    time = duration(3600 * figures["hours"])
    disk = figures["checkpoints_gib"] + figures["snapshots_gib"]
    larger = []
    if "hours_on_1_h200" in figures:
        one, eight = (duration(3600 * figures[f"hours_on_{count}_h200"]) for count in (1, 8))
        larger = [f"one H200 would take about {one}, eight {eight}, by an estimate"]
    return "\n".join(
        [
            *resolved.get("description", []),
            *larger,
            f"{figures['steps']:,} steps of {resolved['recipe']['batch_size']} images train "
            f"{_parameters(figures)} million parameters in about {time} on "
            f"{figures['machine']}, with {figures['memory_gib']:.3g} GiB of memory and "
            f"{disk:.3g} GiB of disk",
        ]
    )


def _parameters(figures: dict[str, Any]) -> str:
    trained, whole = (figures[name] / 1e6 for name in ("trained_parameters", "parameters"))
    return f"{whole:.3g}" if trained == whole else f"{trained:.3g} of {whole:.3g}"

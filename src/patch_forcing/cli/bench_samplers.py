"""`patch-forcing bench samplers MODEL`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from patch_forcing.cli.options import (
    DeviceName,
    ModelName,
    check_file,
    check_replaced,
    is_report,
    parse,
    parse_device,
)
from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.generation.find import check_model
from patch_forcing.sampling.grids import GRIDS
from patch_forcing.sampling.names import SAMPLER_NAMES
from patch_forcing.views.charts import can_draw


@dataclass(frozen=True)
class Options:
    """What `bench samplers` takes."""

    model: ModelName
    samplers: str = "euler;dual-loop;look-ahead;adams-bashforth;multirate"
    """Separated by semicolons, with their options; without, the best known for each budget."""
    nfe: str = "8,12,16,25,50,100"
    """Budgets of network evaluations per image, guidance counted."""
    images: int = 64
    """Images of each sampler at each budget."""
    grid: str | None = None
    """How time steps are placed: uniform, shifted:shift=1.6, or fitted."""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1 is none."""
    guidance_interval: tuple[float, float] | None = None
    """Times between which guidance acts, such as 0.2 0.9."""
    features: Literal["emoji", "none"] | None = None
    """Measure the Fréchet distance and accuracy too. Default: emoji, for models of emoji scenes."""
    batch_size: int = 64
    """Images sampled at once."""
    out: Path = Path("samplers.json")
    """All numbers; beside it, with the ending .png, the chart."""
    device: DeviceName = None


def samplers(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing bench samplers",
        description="Quality against evaluations and seconds, on the same seeds.",
        example="patch-forcing bench samplers emoji-64 --samplers 'euler;heun' --nfe 8,16",
    )
    check_file("--out", options.out, ".json")
    check_range("--images", options.images, 2, 1_000_000)
    check_range("--batch-size", options.batch_size, 1)
    chart = options.out.with_suffix(".png")
    check_file("--out", chart, ".png")
    check_replaced("--out", options.out, own=is_report)
    if can_draw():
        from patch_forcing.io.image_file import is_own_image

        check_replaced("--out", chart, own=is_own_image)
    names, budgets = _names(options.samplers), _budgets(options.nfe)
    if options.grid not in (None, "fitted"):
        build("time grid", GRIDS, options.grid)
    check_model(options.model)
    from patch_forcing.cli.comparing import compare_samplers

    compare_samplers(options, names, budgets, parse_device(options.device))


def _names(text: str) -> list[str]:
    """The samplers, with their options."""
    names = [name.strip() for name in text.split(";") if name.strip()]
    for name in names:
        if name.partition(":")[0] not in SAMPLER_NAMES:
            raise unknown_name("sampler", name.partition(":")[0], SAMPLER_NAMES)
        if names.count(name) > 1:
            raise UserError(f"--samplers: {name} is there twice: name it once")
    if not names:
        raise UserError(f"--samplers {text!r}: name at least one, such as euler")
    return names


def _budgets(text: str) -> tuple[float, ...]:
    """Network evaluations per image."""
    try:
        budgets = tuple(float(part) for part in text.split(","))
    except ValueError:
        budgets = ()
    if not budgets or not all(1 <= budget <= 100_000 for budget in budgets):
        raise UserError(f"--nfe {text!r}: write budgets from 1 to 100000, such as 8,12,16")
    return budgets

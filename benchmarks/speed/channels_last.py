"""Are convolutions faster with channels last? Autoencoders of real size, random weights.

    python -m benchmarks.speed.channels_last --out docs/results/channels-last.json

Stable Diffusion's, and the tiny decoder, encoding and decoding; both layouts by turns.
"""

import argparse
import statistics
from collections import defaultdict
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.common.tables import table
from patch_forcing.models.cost import timed

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
TURNS = 3


def stable_diffusion() -> Any:
    """f8, 4 channels."""
    return AutoencoderKL(
        block_out_channels=[128, 256, 512, 512],
        layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
    )


def compared(network: Any, dtype: torch.dtype, options: argparse.Namespace) -> list[Row]:
    """Encoding and decoding, TURNS times in each layout: seconds, and how many times faster."""
    device = options.device
    shape = options.batch_size, 3, options.pixels, options.pixels
    x = torch.rand(shape, device=device) * 2 - 1
    z = torch.randn(shape[0], 4, shape[2] // 8, shape[3] // 8, device=device)
    calls = {"encode": lambda: network.encode(x), "decode": lambda: network.decode(z)}
    seconds = defaultdict(list)
    low = dtype == torch.bfloat16
    with torch.no_grad(), torch.autocast(torch.device(device).type, dtype, enabled=low):
        for _ in range(TURNS):
            for layout, memory_format in LAYOUTS.items():
                network.to(memory_format=memory_format)
                for what, call in calls.items():
                    took = timed(call, device, options.seconds).median
                    seconds[what, layout].append(took)
    rows = []
    for what in calls:
        first, last = (seconds[what, layout] for layout in LAYOUTS)
        medians = map(statistics.median, (first, last))
        rows.append(
            {
                "what": what,
                "dtype": str(dtype).removeprefix("torch."),
                "seconds": dict(zip(LAYOUTS, medians, strict=True)),
                "times_faster": [a / b for a, b in zip(first, last, strict=True)],
            }
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__, "seconds")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--pixels", type=int, default=128)
    options = parser.parse_args()
    rows: list[Row] = []
    for name, make in (("Stable Diffusion's", stable_diffusion), ("tiny", AutoencoderTiny)):
        torch.manual_seed(0)
        network = make().eval().to(options.device)
        for dtype in (torch.float32, torch.bfloat16):
            made = compared(network, dtype, options)
            rows += [{"autoencoder": name, **row} for row in made]
            print(name, dtype, [row["times_faster"] for row in made], flush=True)
    about = provenance(__file__, options.device)
    about |= {"batch_size": options.batch_size, "pixels": options.pixels, "rows": rows}
    write_json(options.out, about)
    header = ["autoencoder", "", "numbers", *LAYOUTS, "times faster"]
    print(table(header, [line(row) for row in rows]))


def line(row: Row) -> list[str]:
    """A row of the table."""
    milliseconds = [f"{1e3 * seconds:.0f} ms" for seconds in row["seconds"].values()]
    faster = f"{statistics.median(row['times_faster']):.2f}"
    return [row["autoencoder"], row["what"], row["dtype"], *milliseconds, faster]


if __name__ == "__main__":
    main()

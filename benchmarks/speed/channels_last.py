"""Are convolutions faster with channels last? Autoencoders of real size, random weights.

    python -m benchmarks.speed.channels_last --out docs/results/channels-last.json

Stable Diffusion's, and the tiny decoder, encoding and decoding; both layouts by turns.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from benchmarks.emoji.tables import table
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.provenance import origin
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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a repeat")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, make in (("Stable Diffusion's", stable_diffusion), ("tiny", AutoencoderTiny)):
        torch.manual_seed(0)
        network = make().eval().to(options.device)
        shape = options.batch_size, 3, options.pixels, options.pixels
        x = torch.rand(shape, device=options.device) * 2 - 1
        z = torch.randn(shape[0], 4, shape[2] // 8, shape[3] // 8, device=options.device)
        calls = {
            "encode": lambda n=network, x=x: n.encode(x),
            "decode": lambda n=network, z=z: n.decode(z),
        }
        for dtype in (torch.float32, torch.bfloat16):
            found = defaultdict(list)
            for _ in range(TURNS):
                for layout, memory_format in LAYOUTS.items():
                    network.to(memory_format=memory_format)
                    with (
                        torch.no_grad(),
                        torch.autocast(
                            torch.device(options.device).type,
                            dtype,
                            enabled=dtype == torch.bfloat16,
                        ),
                    ):
                        for what, call in calls.items():
                            took = timed(call, options.device, options.seconds).median
                            found[what, layout].append(took)
            for what in calls:
                first, last = (found[what, layout] for layout in LAYOUTS)
                ratios = [a / b for a, b in zip(first, last, strict=True)]
                rows.append(
                    {
                        "autoencoder": name,
                        "what": what,
                        "dtype": str(dtype).removeprefix("torch."),
                        "seconds": dict(
                            zip(LAYOUTS, map(statistics.median, (first, last)), strict=True)
                        ),
                        "times_faster": ratios,
                    }
                )
                print(name, what, dtype, [round(ratio, 2) for ratio in ratios], flush=True)
    about = {"command": "python -m benchmarks.speed.channels_last", **origin(options.device)}
    about |= {"batch_size": options.batch_size, "pixels": options.pixels, "rows": rows}
    write_atomic(options.out, json.dumps(about, indent=1) + "\n")
    header = ["autoencoder", "", "numbers", *LAYOUTS, "times faster"]
    print(
        table(
            header,
            [
                [
                    row["autoencoder"],
                    row["what"],
                    row["dtype"],
                    *(f"{1e3 * seconds:.0f} ms" for seconds in row["seconds"].values()),
                    f"{statistics.median(row['times_faster']):.2f}",
                ]
                for row in rows
            ],
        )
    )


if __name__ == "__main__":
    main()

"""Captioned scenes, from prompt to image: does a sample show what its prompt says?

    python -m benchmarks.text.judge --atlas data/emoji --out runs/text/judge
    python -m benchmarks.text.run --atlas data/emoji --judge runs/text/judge --models RUN [RUN …]

Prompts are those of scenes that no training draws: of combinations that training saw, and of those
that it never saw. A judge of real scenes answers for each sample what GenEval asks (Ghosh et al.
2023, arXiv 2310.11513): object, colour, count, relation. Appends a row for each model, sampler and
kind of prompts to OUT, and goes on with what is missing.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, provenance, read_rows
from benchmarks.text.judge import SIZE, judged, load_judge
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji_text import CaptionedScenes, Scenes, caption
from patch_forcing.generation.pipeline import Pipeline, load

PROMPTS = 3001
"""The seed of the scenes whose captions are prompts."""
SAMPLERS: dict[str, dict[str, Any]] = {
    "default": {},
    "euler 12": {"sampler": "euler", "nfe": 12},
    "adams-bashforth 12": {"sampler": "adams-bashforth", "nfe": 12},
    "euler 24": {"sampler": "euler", "nfe": 24},
    "dual-loop 24": {"sampler": "dual-loop", "nfe": 24},
    "look-ahead 24": {"sampler": "look-ahead", "nfe": 24},
    "adams-bashforth 24": {"sampler": "adams-bashforth", "nfe": 24},
    "euler 48": {"sampler": "euler", "nfe": 48},
    "dual-loop 48": {"sampler": "dual-loop", "nfe": 48},
    "look-ahead 48": {"sampler": "look-ahead", "nfe": 48},
    "adams-bashforth 48": {"sampler": "adams-bashforth", "nfe": 48},
}
"""At guidance 1 that is an image's evaluations; guidance adds its own."""
SETTING = ("model", "sampler", "guidance", "grid", "interval", "kind", "prompts")
"""What makes a row another one."""


def prompts_of(data: CaptionedScenes, count: int) -> tuple[Scenes, list[str]]:
    """So many scenes, and what they are called."""
    scenes, _, _ = data.draw(PROMPTS, torch.arange(count))
    return scenes, [caption(*row) for row in torch.stack(scenes, dim=1).tolist()]


def sampled(
    pipe: Pipeline, prompts: list[str], options: dict[str, Any], batch_size: int
) -> tuple[torch.Tensor, float]:
    """Images (M, 3, H, W) in [−1, 1], as an 8-bit file keeps them, and evaluations an image."""
    result = pipe(prompt=prompts, seeds=range(len(prompts)), batch_size=batch_size, **options)
    pixels = torch.stack(
        [
            torch.frombuffer(bytearray(one.tobytes()), dtype=torch.uint8).view(
                one.height, one.width, 3
            )
            for one in result.images
        ]
    )
    return pixels.movedim(3, 1).float() / 127.5 - 1, result.nfe


def main() -> None:
    """Sample, judge, append."""
    parser = command_line(__doc__, "atlas", out="docs/results/text/rows.jsonl")
    parser.add_argument("--judge", type=Path, default=Path("runs/text/judge"))
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["default"])
    parser.add_argument("--guidance", type=float, nargs="+", help="scales; default: recommended")
    parser.add_argument("--interval", type=float, nargs=2, default=(0.1, 0.8), help="of guidance")
    parser.add_argument("--grids", nargs="+", default=[None], help="default: the model's own")
    parser.add_argument("--prompts", type=int, default=1000, help="of each kind")
    parser.add_argument("--kinds", nargs="+", default=["seen", "unseen"], help="of combinations")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--batch-size", type=int, default=250)
    options = parser.parse_args()
    judge, _ = load_judge(options.judge, options.device)
    atlas = load_atlas(options.atlas)
    done = [{key: row.get(key) for key in SETTING} for row in read_rows(options.out)]
    data = {kind: CaptionedScenes(atlas, SIZE, kind == "unseen") for kind in options.kinds}
    settings = list(product(options.samplers, options.guidance or [None], options.grids, data))
    for name in options.models:
        pipe = load(name, options.device, precision=options.precision)
        for sampler, scale, grid, kind in settings:
            row = {"model": Path(name).name, "sampler": sampler, "guidance": scale, "grid": grid}
            row |= {"interval": scale and list(options.interval), "kind": kind}
            row |= {"prompts": options.prompts}
            if row not in done:
                append_row(options.out, measured(row, pipe, data[kind], judge, options))


def measured(
    row: Row, pipe: Pipeline, data: CaptionedScenes, judge: Any, options: argparse.Namespace
) -> Row:
    """One row: shares of right answers, and of how many."""
    scenes, prompts = prompts_of(data, options.prompts)
    chosen = dict(SAMPLERS[row["sampler"]])
    if row["guidance"] is not None:
        chosen |= {"guidance_scale": row["guidance"], "guidance_interval": tuple(row["interval"])}
    if row["grid"] is not None:
        chosen["time_grid"] = row["grid"]
    started = time.perf_counter()
    images, nfe = sampled(pipe, prompts, chosen, options.batch_size)
    seconds = time.perf_counter() - started
    answers = judged(judge, images, scenes, options.device)
    shares = {name: float(right.mean()) for name, right in answers.items()}
    asked = {name: len(right) for name, right in answers.items()}
    result = {"nfe": nfe, "seconds": round(seconds, 1), "shares": shares, "asked": asked}
    print({**row, "nfe": nfe, **shares}, flush=True)
    return {**row, **result, **provenance(__file__, options.device)}


if __name__ == "__main__":
    main()

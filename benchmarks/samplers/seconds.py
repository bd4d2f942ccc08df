"""Seconds for 10,000 emoji images: at the paper's best distance, against the published design; and
where patches choose for themselves when they are evaluated, against all at every step.

    python -m benchmarks.samplers.seconds --out docs/results/emoji/seconds.json

The published design as in benchmarks/speed/run.py, by the paper's best sampler at 50 evaluations;
ours by the fewest evaluations that give a lower distance, in bf16 and (with torchao) in FP8. The
first batch compiles, and is not timed; where later ones meet shapes that it did not, the median of
the repeats leaves that out.
"""

import argparse
import json
import statistics
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

import patch_forcing as pf
from benchmarks.emoji.claims import AB2, GUIDED_INTERVAL, GUIDED_SCALE, REUSING
from benchmarks.emoji.measure import Real, Row, Sampling, measure, real_scenes
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.io.provenance import origin
from patch_forcing.models.inference import cast_weights, compile_whole
from patch_forcing.models.loading import load_model

GUIDED = (GUIDED_SCALE, GUIDED_INTERVAL)
PUBLISHED, OURS, FP8 = "published", "ours", "ours, FP8"
COMPARED = {  # each a design and a sampling; the first is what the others are held against
    "not guided": (
        (PUBLISHED, Sampling("dual-loop", 50)),
        (OURS, Sampling(AB2, 6, grid="fitted")),
    ),
    "guided": (
        (PUBLISHED, Sampling("dual-loop", 50, *GUIDED)),
        *((OURS, Sampling(REUSING, nfe, *GUIDED, "fitted")) for nfe in (8, 12)),
        *((OURS, Sampling(AB2, nfe, *GUIDED, "fitted")) for nfe in (10, 12)),
    ),
    "patches that choose": (
        (OURS, Sampling(AB2, 16, grid="fitted")),
        (OURS, Sampling("adaptive", 16, grid="fitted")),
    ),
    "patches that choose, guided": (
        (OURS, Sampling(AB2, 16, *GUIDED, "fitted")),
        (OURS, Sampling("adaptive:tolerance=0.05", 16, *GUIDED, "fitted")),
    ),
    "FP8": tuple((design, Sampling(AB2, 6, grid="fitted")) for design in (OURS, FP8)),
    "FP8, guided": tuple((design, Sampling(AB2, 12, *GUIDED, "fitted")) for design in (OURS, FP8)),
}
BATCH = 2500


def as_published(model: pf.PatchDiT, compiled: bool) -> None:
    """Every token has a condition of its own; blocks compiled one by one; autocast."""
    plain = model.forward
    if compiled:
        for block in model.blocks:
            block.compile()

    def forward(x_t: Tensor, t: pf.PatchTime, condition: Tensor | None = None) -> pf.ModelOutput:
        with torch.autocast(x_t.device.type, torch.bfloat16):
            return plain(x_t, pf.PatchTime.dense(t.to_dense()), condition)

    model.forward = forward  # type: ignore[method-assign,assignment]


def designed(design: str, *, weights: Path, device: str) -> pf.PatchDiT:
    """The model in it; on a CPU ours is neither compiled nor cast."""
    model = load_model(weights, device)
    if design == PUBLISHED:
        as_published(model, device != "cpu")
    elif device != "cpu":
        cast_weights(model, "fp8" if design == FP8 else "bf16")
        compile_whole(model)
    return model


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    weights = Path("src/patch_forcing/bundled/emoji-64")
    parser.add_argument("--weights", type=Path, default=weights)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=COMPARED, default=list(COMPARED))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = options.device
    models = cache(partial(designed, weights=options.weights, device=device))
    features = load_emoji_features(device=device)
    real = real_scenes(EmojiSource(str(options.atlas)).open(), features, options.samples, device)
    first = _first(real)
    rows: list[Row] = []
    report: Row = {
        "command": "python -m benchmarks.samplers.seconds",
        **origin(device),
        "times": {},
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for what in options.only:
        base = 0.0
        for name, sampling in COMPARED[what]:
            model = models(name)
            measure(model, sampling, features, first, device)
            found = [
                measure(model, sampling, features, real, device) for _ in range(options.repeats)
            ]
            seconds = [row["seconds"] for row in found]
            median = statistics.median(seconds)
            rows.append(
                {"what": what, "design": name, **found[0], "seconds": median, "all": seconds}
            )
            fd, nfe = (found[0][key] for key in ("fd", "nfe"))
            print(
                f"{what}, {name}, {sampling.sampler} {nfe:.1f}: FD {fd:.2f}, {median} s", flush=True
            )
            if base:
                report["times"][f"{what}, {sampling.sampler} {sampling.nfe:g}"] = base / median
                print(f"{what}: {base / median:.1f} times faster", flush=True)
            base = base or median
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _first(real: Real) -> Real:
    """One batch of them."""
    return replace(real, labels=real.labels[:BATCH], features=real.features[:BATCH])


if __name__ == "__main__":
    main()

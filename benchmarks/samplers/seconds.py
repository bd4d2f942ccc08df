"""Seconds for 10,000 emoji images: at the paper's best distance, against the published design; and
where patches choose for themselves when they are evaluated, against all at every step.

    python -m benchmarks.samplers.seconds --out docs/results/emoji/seconds.json

The published design as in benchmarks/speed/run.py, by the paper's best sampler at 50 evaluations;
ours by the fewest evaluations that give a lower distance, in bf16 and (with torchao) in FP8. The
first batch compiles, and is not timed; where later ones meet shapes that it did not, the median of
the repeats leaves that out.
"""

import statistics
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

import patch_forcing as pf
from benchmarks.common.record import Row, check_kept, provenance, write_json
from benchmarks.common.tasks import Sampling
from benchmarks.emoji.bundled import bundled_command_line, compared_with
from benchmarks.emoji.measure import Real, measure
from benchmarks.emoji.samplings import AB2, GUIDED_INTERVAL, GUIDED_SCALE, REUSING
from patch_forcing.core.errors import UserError
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
    parser = bundled_command_line(__doc__, COMPARED)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    try:
        check_kept(options.out, options.only, lambda held: [row["what"] for row in held["rows"]])
    except UserError as error:
        parser.error(str(error))
    device = options.device
    models = cache(partial(designed, weights=options.weights, device=device))
    features, real = compared_with(options, device)
    rows: list[Row] = []
    report: Row = {**provenance(__file__, device), "times": {}, "rows": rows}
    for what in options.only:
        base = 0.0
        for name, sampling in COMPARED[what]:
            model = models(name)
            measure(model, sampling, features, _first(real), device)
            repeats = [
                measure(model, sampling, features, real, device) for _ in range(options.repeats)
            ]
            seconds = [row["seconds"] for row in repeats]
            median = statistics.median(seconds)
            row = {**repeats[0], "seconds": median, "all": seconds}
            rows.append({"what": what, "design": name, **row})
            measured = f"{sampling.sampler} {row['nfe']:.1f}: FD {row['fd']:.2f}, {median} s"
            print(f"{what}, {name}, {measured}", flush=True)
            if base:
                report["times"][f"{what}, {sampling.sampler} {sampling.nfe:g}"] = base / median
                print(f"{what}: {base / median:.1f} times faster", flush=True)
            base = base or median
        write_json(options.out, report)


def _first(real: Real) -> Real:
    """One batch of them."""
    assert real.side.vectors is not None
    side = replace(real.side, vectors=real.side.vectors[:BATCH])
    return replace(real, labels=real.labels[:BATCH], side=side)


if __name__ == "__main__":
    main()

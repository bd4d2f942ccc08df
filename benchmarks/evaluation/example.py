"""Two samplers of emoji-64 on the same seeds → docs/results/evaluation-example.json.

python -m benchmarks.evaluation.example        # minutes on a CPU
"""

from dataclasses import asdict

import patch_forcing as pf
from benchmarks.common.options import command_line
from benchmarks.common.record import write_json
from patch_forcing.io.provenance import origin
from patch_forcing.scoring.comparison import differences

COUNT, NFE = 100, 8


def main() -> None:
    """Write the file."""
    out = (
        command_line(__doc__, out="docs/results/evaluation-example.json", device=False)
        .parse_args()
        .out
    )
    pipe = pf.load("emoji-64")
    first, second = (
        pf.evaluate(
            pipe, "emoji", features=["emoji"], metrics=["fd", "is"], count=COUNT, nfe=NFE, **more
        )
        for more in ({}, {"sampler": "euler"})
    )
    numbers = {
        "n": COUNT,
        "nfe": NFE,
        "model_hash": pipe.hash,
        "alone": {metric: dict(first[metric]) for metric in ("fd", "is")},
        "differences": [asdict(row) for row in differences(first, second)],
    }
    write_json(out, numbers | origin("cpu"))


if __name__ == "__main__":
    main()

"""Two samplers of emoji-64 on the same seeds → docs/results/evaluation-example.json.

python -m benchmarks.evaluation.example        # minutes on a CPU
"""

import json
from dataclasses import asdict

import patch_forcing as pf
from benchmarks.common.record import ROOT
from patch_forcing.io.provenance import origin
from patch_forcing.scoring.comparison import differences

OUT = ROOT / "docs/results/evaluation-example.json"
COUNT, NFE = 100, 8


def main() -> None:
    """Write the file."""
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
    OUT.write_text(json.dumps(numbers | origin("cpu"), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

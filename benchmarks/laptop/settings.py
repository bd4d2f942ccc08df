"""What some hundred steps from a model make of their settings → docs/results/laptop/settings.json.

    python -m benchmarks.laptop.settings --images DIR --device cuda

Each row is one training of `train folder` from emoji-64 on as many images, and reads its samples at
three guidances, as `benchmarks.laptop.run` does. Chooses what `train folder` takes on a laptop,
where one such training takes 20 minutes; here it takes half of one.
"""

import argparse
from pathlib import Path

from benchmarks.common.options import command_line
from benchmarks.common.record import provenance, write_json
from benchmarks.laptop.run import judged, real_images, samples, train
from patch_forcing.generation.pipeline import load
from patch_forcing.io.run_metrics import read_metrics

STEPS = 640
"""Of 32 images: what two cores do in 20 minutes."""
SETTINGS = {  # what differs from the warm start of AdamW at 5e-4
    "5e-4": {},
    "1e-3": {"optimizer.lr": 1e-3},
    "1e-3, long average": {"optimizer.lr": 1e-3, "ema-decay": 0.995},
    "2e-3, long average": {"optimizer.lr": 2e-3, "ema-decay": 0.995},
    "1e-3, falls": {"optimizer.lr": 1e-3, "optimizer.decay-share": 0.5},
    "1e-3, 16 at once": {"optimizer.lr": 1e-3, "ema-decay": 0.995, "batch-size": 16},
    "Muon 1e-3, 480 steps": {"optimizer.name": "muon", "optimizer.lr": 1e-3, "steps": 480},
}
GUIDANCES = (2.0, 3.0, 4.0)


def main() -> None:
    """Train, sample, judge, print, write."""
    parser = command_line(__doc__, out="docs/results/laptop/settings.json")
    parser.add_argument("--images", type=Path, required=True, help="subfolders, one for each class")
    parser.add_argument("--runs", type=Path, default=Path("runs/laptop-settings"))
    parser.add_argument("--each", type=int, default=16, help="samples of a class")
    parser.add_argument("--features", nargs="+", default=["emoji"])
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    rows = []
    for name in options.only:
        run = options.runs / name.replace(" ", "-").replace(",", "")
        chosen = {
            "steps": options.steps,
            "batch-size": 32,
            "optimizer.lr": 5e-4,
            "optimizer.warmup-steps": 20,
            "ema-decay": 0.99,
            "snapshot-every": 0,
            "sample-every": 0,
            **SETTINGS[name],
        }
        if chosen["batch-size"] != 32:
            chosen["steps"] = options.steps * 32 // int(chosen["batch-size"])
        rest = ["--init-from", "emoji-64"]
        rest += [word for key, value in chosen.items() for word in (f"--{key}", str(value))]
        seconds = train(
            argparse.Namespace(
                images=options.images, run=run, minutes=None, device=options.device, rest=rest
            )
        )
        pipe = load(run, options.device)
        real = real_images(options.images, pipe.model.config.image_size[0], pipe.class_names)
        last = {key: read_metrics(run)[-1].get(key) for key in ("velocity", "held_out", "seen")}
        for guidance in GUIDANCES:
            images, labels, nfe = samples(pipe, options.each, 1000, guidance)
            judges = [
                judged(one, real, (images, labels), options.device) for one in options.features
            ]
            row = {"settings": name, "guidance": guidance, "nfe": nfe, "seconds": seconds, **last}
            rows.append({**row, "judges": judges})
            read = {judge["features"]: round(judge["accuracy"], 3) for judge in judges}
            print(name, guidance, read, f"{seconds:.0f} s", last, flush=True)
    write_json(options.out, {**provenance(__file__, options.device), "rows": rows})


if __name__ == "__main__":
    main()

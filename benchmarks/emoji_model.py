"""Measure a trained emoji-64, and make the model folder that comes with the package.

    python benchmarks/emoji_model.py runs/emoji-64 --atlas data/emoji --out FOLDER \\
        --report docs/results/emoji/model.json

What is measured is what is shipped: weights rounded to fp16. FOLDER gets a model card beside them.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from emoji_measure import Row, Sampling, measure, measure_difficulty, real_scenes
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.evaluation.emoji import load_emoji_features
from patch_forcing.evaluation.metrics import frechet_distance
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.models.loading import load_model
from patch_forcing.runs.find import find_model
from patch_forcing.runs.speed import compile_whole

CALLS = 48
SAMPLERS = ("euler", "dual-loop", "look-ahead", "random-order", "multirate")
SCALES = (1.0, 1.5, 2.0, 3.0)

CARD = """# emoji-64

Emoji on coloured backgrounds, 64×64, in 99 classes (Unicode's subgroups): the model of
`patch-forcing demo`.

- Network: PatchDiT, {weights:.0f} M weights, fp16, patches of 8 pixels, per-patch times; it
  predicts difficulty.
- Trained by `patch-forcing train emoji-64`: {steps:,} steps of {batch_size}, {hours:.2f} hours on
  one {trained_on}.
- Data: scenes drawn on the fly from Noto Color Emoji (SIL Open Font License 1.1). No photographs.
- Good for trying samplers, for tests and demonstrations.
- Licence: Apache-2.0.

{samples:,} samples, {calls} calls of the network each, labels as in held-out scenes. FD: Fréchet
distance in the features of the benchmark's own network (real against real {floor:.1f}). Accuracy:
how many samples that network reads as the subgroup asked for.

| sampler | guidance | FD | accuracy | precision | recall |
|---|---|---|---|---|---|
{table}

{hardware}; torch {torch}; {date}; commit {commit}.
All numbers: docs/results/emoji/model.json.
"""


def samplings(smoke: bool) -> list[Sampling]:
    """Every sampler without guidance and with 2; Euler on all scales. Guidance doubles the cost."""
    calls = 2 if smoke else CALLS
    chosen = [("euler", scale) for scale in SCALES]
    chosen += [(name, scale) for name in SAMPLERS[1:] for scale in (1.0, 2.0)]
    if smoke:
        chosen = chosen[:2]
    return [Sampling(name, calls * (1 if scale == 1 else 2), scale) for name, scale in chosen]


def card(report: Row) -> str:
    """The model card, from what was measured."""
    lines = [
        f"| {row['sampling']['sampler']} | {row['sampling']['guidance']:g} | {row['fd']:.1f} "
        f"| {row['accuracy']:.1%} | {row['precision']:.2f} | {row['recall']:.2f} |"
        for row in report["rows"]
        if row["kind"] == "samples"
    ]
    training = report["training"]
    return CARD.format(
        weights=report["weights"] / 1e6,
        steps=training["steps"],
        batch_size=training["batch_size"],
        hours=training["seconds"] / 3600,
        trained_on=report["hardware"],
        samples=report["samples"],
        calls=CALLS,
        floor=report["floor"],
        table="\n".join(lines),
        hardware=report["hardware"],
        torch=report["versions"]["torch"],
        date=report["date"],
        commit=report["commit"],
    )


def main() -> None:
    """Round, save, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--report", type=Path, default=Path("docs/results/emoji/model.json"))
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="few samplings of two steps")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = options.device
    (options.out / "README.md").unlink(missing_ok=True)  # the card of an earlier measure
    load_model(find_model(options.run)).half().save(options.out)
    model = load_model(options.out, device)
    weights = sum(weight.numel() for weight in model.parameters())
    if device != "cpu":
        compile_whole(model)
    recipe = json.loads((options.run / "run.json").read_text(encoding="utf-8"))["recipe"]
    lines = (options.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    data = EmojiSource(path=str(options.atlas)).open()
    features = load_emoji_features(device=device)
    real = real_scenes(data, features, options.samples, device)
    report: Row = {
        "command": "python benchmarks/emoji_model.py",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(device),
        "versions": versions(),
        "atlas": data.atlas.identity,
        "weights": weights,
        "samples": options.samples,
        "floor": frechet_distance(real.statistics, features.reference),
        "training": {
            "steps": recipe["steps"],
            "batch_size": recipe["batch_size"],
            "seconds": log[-1]["step"] * recipe["batch_size"] / log[-1]["images_per_second"],
            "losses": {row["step"]: row["velocity"] for row in log[:: max(1, len(log) // 40)]},
        },
        "rows": [],
    }
    options.report.parent.mkdir(parents=True, exist_ok=True)
    for sampling in samplings(options.smoke):
        found = measure(model, sampling, features, real, device)
        report["rows"].append(found)
        print(
            f"{sampling.sampler}, guidance {sampling.guidance:g}: FD {found['fd']:.2f}, "
            f"accuracy {found['accuracy']:.1%}, {found['seconds']} s",
            flush=True,
        )
        options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    report["rows"].append(measure_difficulty(model, data, min(2000, options.samples), device))
    options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "README.md").write_text(card(report), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Train the emoji feature network that comes with the package, and count its mistakes.

    python -m benchmarks.emoji.features --atlas data/emoji --out FOLDER

Scenes of three seeds: one to learn from, one held out to count on, one for reference statistics.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.evaluation.metrics import frechet_distance
from patch_forcing.features.emoji import EmojiFeatures, EmojiNet
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.io.provenance import commit, hardware, versions

LEARN, HELD_OUT, REFERENCE = 1001, 1002, 1003
COUNTED = 100_000
"""Scenes of the reference statistics, and held-out scenes that mistakes are counted on."""


def learn(data: EmojiScenes, steps: int, batch_size: int, device: str) -> EmojiNet:
    """One cycle of AdamW, and the average of the last steps' weights."""
    torch.manual_seed(0)
    drawings = data.atlas.drawings.to(device)
    net = EmojiNet(int(drawings.max()) + 1).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )

    @torch.compile(disable=device == "cpu")
    def loss_of(x: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            logits = net.head(net(x))
        return F.cross_entropy(logits.float(), target)

    started = time.perf_counter()
    for step in range(steps):
        ids = torch.arange(step * batch_size, (step + 1) * batch_size)
        x, emoji = data.scenes(LEARN, ids, device)
        loss = loss_of(x.contiguous(memory_format=torch.channels_last), drawings[emoji])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        cycle.step()
        average.update_parameters(net)
        if step % max(steps // 20, 1) == 0:
            seconds = time.perf_counter() - started
            print(f"step {step}: loss {loss.item():.4f}, {seconds:.0f} s", flush=True)
    return average.module.eval()


def main() -> None:
    """Learn, round to fp16, count, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path("data/emoji"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="JSON of what was reached")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--counted", type=int, default=COUNTED)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = options.device
    atlas = load_atlas(options.atlas)
    data = EmojiScenes(atlas)
    started = time.perf_counter()
    net = learn(data, options.steps, options.batch_size, device)
    seconds = time.perf_counter() - started
    for weights in net.state_dict().values():  # what is shipped is what is measured
        if weights.is_floating_point():
            weights.copy_(weights.half())

    drawings = atlas.drawings
    classes = torch.zeros(int(drawings.max()) + 1, dtype=torch.int64)
    classes[drawings] = atlas.labels
    blank = FeatureStatistics(torch.zeros(1), torch.zeros(1, 1), 0)
    features = EmojiFeatures(net, classes.to(device), atlas.subgroups, blank, "")

    def read(seed: int, count: int, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Features, what was read, what it was."""
        parts = []
        for first in range(start, start + count, 1000):
            ids = torch.arange(first, min(first + 1000, start + count))
            x, emoji = data.scenes(seed, ids, device)
            reading = features.read(to_uint8(x, data.info))
            parts.append((reading.features, reading.drawings, emoji.cpu()))
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    reference, _, _ = read(REFERENCE, options.counted)
    statistics = FeatureStatistics.of(reference)
    _, named, emoji = read(HELD_OUT, options.counted)
    right = named == drawings[emoji]
    wrong = torch.bincount(emoji[~right], minlength=len(atlas.emoji))
    worst = wrong.topk(min(12, len(wrong)))
    floor = [
        frechet_distance(FeatureStatistics.of(read(HELD_OUT, 10_000, 10_000 * part)[0]), statistics)
        for part in range(3)
    ]
    shipped = EmojiFeatures(net, classes, atlas.subgroups, statistics, atlas.identity)
    shipped.save(options.out)
    report = {
        "command": "python -m benchmarks.emoji.features",
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(device),
        "steps": options.steps,
        "batch_size": options.batch_size,
        "seconds": round(seconds, 1),
        "held_out_scenes": options.counted,
        "accuracy": float(right.float().mean()),
        "subgroup_accuracy": float((classes[named] == atlas.labels[emoji]).float().mean()),
        "floor": {"what": "10,000 held-out scenes against the reference", "distances": floor},
        "parameters": sum(weights.numel() for weights in net.parameters()),
        "worst": {
            atlas.emoji[int(index)].name: int(count) for count, index in zip(*worst, strict=True)
        },
    }
    print(json.dumps(report, indent=1))
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

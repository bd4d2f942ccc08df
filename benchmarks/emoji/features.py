"""Train the emoji feature network that comes with the package, and count its mistakes.

    python -m benchmarks.emoji.features --atlas data/emoji --out FOLDER

Scenes of three seeds: one to learn from, one held out to count on, one for reference statistics.
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.learning import learn
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.features.emoji import EmojiFeatures, EmojiNet
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.scoring.measuring import Side, measure_vectors

LEARN, HELD_OUT, REFERENCE = 1001, 1002, 1003
COUNTED = 100_000
"""Scenes of the reference statistics, and held-out scenes that mistakes are counted on."""


def trained(data: EmojiScenes, steps: int, batch_size: int, device: str) -> EmojiNet:
    """The network, on scenes of a seed of its own."""
    torch.manual_seed(0)
    drawings = data.atlas.drawings.to(device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        ids = torch.arange(step * batch_size, (step + 1) * batch_size)
        x, emoji = data.scenes(LEARN, ids, device)
        return x, drawings[emoji]

    net, more = EmojiNet(int(drawings.max()) + 1), {"rate": 4e-3, "average_decay": 0.998}
    return learn(net, batch, steps, device, logits=logits_of, **more)


def logits_of(net: EmojiNet, x: Tensor) -> Tensor:
    """Logits of images."""
    logits: Tensor = net.head(net(x))
    return logits


def as_shipped(net: EmojiNet) -> EmojiNet:
    """Rounded to fp16: what is shipped is what is measured."""
    for weights in net.state_dict().values():
        if weights.is_floating_point():
            weights.copy_(weights.half())
    return net


class Reader:
    """Reads scenes of a seed with the trained network."""

    def __init__(self, net: EmojiNet, data: EmojiScenes, device: str):
        atlas = data.atlas
        self.classes = torch.zeros(int(atlas.drawings.max()) + 1, dtype=torch.int64)
        self.classes[atlas.drawings] = atlas.labels
        blank = FeatureStatistics(torch.zeros(1), torch.zeros(1, 1), 0)
        self.features = EmojiFeatures(net, self.classes.to(device), atlas.subgroups, blank, "")
        self.data, self.device = data, device

    def read(self, seed: int, count: int, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Features (count, D), the drawings that were read (count,), the emoji shown (count,)."""
        parts = []
        for first in range(start, start + count, 1000):
            ids = torch.arange(first, min(first + 1000, start + count))
            x, emoji = self.data.scenes(seed, ids, self.device)
            reading = self.features.read(to_uint8(x, self.data.info))
            parts.append((reading.features, reading.drawings, emoji.cpu()))
        features, drawings, shown = (torch.cat(column) for column in zip(*parts, strict=True))
        return features, drawings, shown

    def mistakes(self, count: int) -> Row:
        """Accuracy on held-out scenes, and the emoji that were mistaken most often."""
        atlas = self.data.atlas
        _, named, emoji = self.read(HELD_OUT, count)
        right = named == atlas.drawings[emoji]
        wrong = torch.bincount(emoji[~right], minlength=len(atlas.emoji))
        worst = zip(*wrong.topk(min(12, len(wrong))), strict=True)
        return {
            "held_out_scenes": count,
            "accuracy": float(right.float().mean()),
            "subgroup_accuracy": float((self.classes[named] == atlas.labels[emoji]).float().mean()),
            "worst": {atlas.emoji[int(index)].name: int(times) for times, index in worst},
        }

    def floor(self, reference: FeatureStatistics) -> list[float]:
        """Distances of three parts of the held-out scenes from the reference."""
        parts = [self.read(HELD_OUT, 10_000, 10_000 * part)[0] for part in range(3)]
        real = Side(statistics=reference)
        return [measure_vectors(self.features, part, real, "fd")["fd"].value for part in parts]


def main() -> None:
    """Learn, round to fp16, count, save."""
    parser = command_line(__doc__, "atlas")
    parser.add_argument("--report", type=Path, help="JSON of what was reached")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--counted", type=int, default=COUNTED)
    options = parser.parse_args()
    atlas = load_atlas(options.atlas)
    data = EmojiScenes(atlas)
    started = time.perf_counter()
    net = trained(data, options.steps, options.batch_size, options.device)
    seconds = time.perf_counter() - started
    reader = Reader(as_shipped(net), data, options.device)
    reference = FeatureStatistics.of(reader.read(REFERENCE, options.counted)[0])
    floor = reader.floor(reference)
    report = {
        **provenance(__file__, options.device),
        "steps": options.steps,
        "batch_size": options.batch_size,
        "seconds": round(seconds, 1),
        **reader.mistakes(options.counted),
        "floor": {"what": "10,000 held-out scenes against the reference", "distances": floor},
        "parameters": sum(weights.numel() for weights in net.parameters()),
    }
    EmojiFeatures(net, reader.classes, atlas.subgroups, reference, atlas.identity).save(options.out)
    print(json.dumps(report, indent=1))
    if options.report:
        write_json(options.report, report)


if __name__ == "__main__":
    main()

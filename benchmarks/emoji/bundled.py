"""What benchmarks of the bundled model share: its features, and the real scenes to compare with."""

import argparse

from benchmarks.common.options import command_line
from benchmarks.emoji.measure import Real, real_scenes
from patch_forcing.data.sources import EmojiSource
from patch_forcing.features.emoji import EmojiFeatures, load_emoji_features


def bundled_command_line(
    doc: str | None, parts: dict[str, object], *, device: bool = True
) -> argparse.ArgumentParser:
    """Atlas, weights, number of samples, and `--only` some of the parts."""
    parser = command_line(doc, "atlas", "weights", "samples", device=device)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    return parser


def compared_with(options: argparse.Namespace, device: str) -> tuple[EmojiFeatures, Real]:
    """The feature network, and as many real scenes as there are samples."""
    features = load_emoji_features(device=device)
    data = EmojiSource(str(options.atlas)).open()
    return features, real_scenes(data, features, options.samples, device)

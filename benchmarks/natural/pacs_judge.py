"""Pictures of PACS, and a judge of them: which style, and which thing?"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from benchmarks.common.record import Row
from benchmarks.natural.probe import Probe
from benchmarks.natural.real import RealImages, distance, look
from patch_forcing.core.errors import UserError
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.scoring.measuring import Side

HELD_OUT = (
    ("art_painting", "horse"),
    ("cartoon", "house"),
    ("photo", "giraffe"),
    ("sketch", "guitar"),
)
"""Pairs that are never trained on."""
TESTED = 5
"""One real picture of so many is kept from the classifiers, to count their mistakes on."""


@dataclass(frozen=True)
class Pictures:
    """Real pictures of one size, with their style and thing."""

    pixels: UInt8[Tensor, "M 3 S S"]
    style: Int64[Tensor, " M"]
    thing: Int64[Tensor, " M"]
    styles: tuple[str, ...]
    things: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, size: int, limit: int | None = None) -> "Pictures":
        """limit: of each style. Raises UserError if the styles do not have the same things."""
        styles = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
        parts = [RealImages.of(root / style, size, limit) for style in styles]
        if not parts or any(part.class_names != parts[0].class_names for part in parts):
            raise UserError(f"{root} is not of STYLE/THING, the same things in each style")
        style = torch.cat([torch.full_like(p.labels, n) for n, p in enumerate(parts)])
        pixels, thing = (torch.cat([getattr(p, n) for p in parts]) for n in ("pixels", "labels"))
        return cls(pixels, style, thing, tuple(styles), parts[0].class_names)

    @property
    def held_out(self) -> Tensor:
        """(M,) bool: of a pair that is never trained on."""
        pairs = [(self.styles.index(s), self.things.index(t)) for s, t in HELD_OUT]
        return torch.stack([(self.style == s) & (self.thing == t) for s, t in pairs]).any(0)


@dataclass(frozen=True)
class Judge:
    """Names style and thing; real are the pictures of the pairs that are trained on."""

    network: FeatureNetwork
    style: Probe
    thing: Probe
    real: Side
    about: Row
    device: str

    @classmethod
    def of(cls, network: FeatureNetwork, real: Pictures, device: str) -> "Judge":
        """Train it, and count its mistakes."""
        network = network.to(device)
        seen = look(network, real.pixels, device)
        style, thing = real.style.to(device), real.thing.to(device)
        tested = torch.arange(len(style), device=device) % TESTED == 0
        learnt = ~tested
        by_style = Probe.fit(seen[learnt], style[learnt], len(real.styles))
        by_thing = Probe.fit(seen[learnt], thing[learnt], len(real.things))
        outside = real.held_out.to(device)
        about: Row = {"network": network.name, "tested": int(tested.sum()), "real": {}}
        for name, part in (("seen", tested & ~outside), ("held-out", tested & outside)):
            right = [by_style(seen[part]) == style[part], by_thing(seen[part]) == thing[part]]
            about["real"][name] = shares(*right)
        statistics = FeatureStatistics.of(seen[~outside])
        return cls(network, by_style, by_thing, Side(statistics=statistics), about, device)

    def __call__(self, pixels: UInt8[Tensor, "M 3 S S"], style: Tensor, thing: Tensor) -> Row:
        """What samples show of what they were asked for, and their distance."""
        seen = look(self.network, pixels, self.device)
        right = [
            self.style(seen) == style.to(self.device),
            self.thing(seen) == thing.to(self.device),
        ]
        return {**shares(*right), "fd": distance(self.network, seen, self.real)}


def shares(style: Tensor, thing: Tensor) -> Row:
    """Shares of right ones, with the width of their 95 % intervals to each side."""
    rows = {"style": style, "thing": thing, "both": style & thing}
    values = {name: float(right.float().mean()) for name, right in rows.items()}
    count = max(1, len(style))
    widths = {name: 1.96 * (p * (1 - p) / count) ** 0.5 for name, p in values.items()}
    return {"n": len(style), "shares": values, "widths": widths}

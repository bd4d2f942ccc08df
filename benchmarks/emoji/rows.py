"""The results of the emoji benchmark, looked up by what they are of, and names for readers."""

import statistics
from typing import Any

from benchmarks.common.record import Row
from benchmarks.emoji.sizes import GROUPED, HALF_RATE, LONG, LTG, SIT

AS_SIT = f"{LTG}, half the learning rate"
NAMES = {
    SIT: "shared uniform (SiT)",
    "shared-logit-normal": "shared logit-normal",
    "independent-uniform": "independent uniform",
    "mean-controlled:sharpness=1": "mean-controlled, sharpness 1",
    "mean-controlled:sharpness=4": "mean-controlled, sharpness 4",
    "mean-controlled:sharpness=10": "mean-controlled, sharpness 10",
    "tg": "TG",
    LTG: "LTG",
    AS_SIT: "LTG, half the learning rate (as SiT)",
    "ltg:levels=4": "LTG, K = 4",
    GROUPED: "LTG, K = 8",
    "ltg:levels=16": "LTG, K = 16",
    "ltg:levels=32": "LTG, K = 32",
    "ltg:loc=1.6": "LTG, loc 1.6",
    "ltg:loc=0.3,std=0.1": "LTG, loc 0.3, std 0.1",
}
GEOMETRY = {
    "p8": "patch 8, 64 tokens",
    "p4": "patch 4, 256 tokens",
    "latent": "latents: whitened components of 8×8 patches, 64 tokens",
    LONG: "the model emoji-64, trained longest (patch 8)",
}


DIVERGED = 1000
"""A distance above it is of noise: it counts as a seed that failed, and in no mean."""


class Rows:
    """The results, by what they are of."""

    def __init__(self, rows: list[Row]):
        failed = [row["model"] for row in rows if row.get("fd", 0) > DIVERGED]
        self.rows = [_beside_sit(row) for row in rows if row["model"] not in failed]
        self._failed = failed

    def failed(self, size: str, timesteps: str) -> int:
        """How many seeds diverged in training."""
        return sum((m["size"], m["timesteps"]) == (size, timesteps) for m in self._failed)

    def sampled(self, size: str, timesteps: str, sampler: str, nfe: int, **more: Any) -> list[Row]:
        """One row a seed: samples without guidance, unless `more` says otherwise."""
        wanted = {"sampler": sampler, "nfe": nfe, "guidance": 1.0, "interval": None}
        wanted |= {"grid": "uniform", **more}
        return [row for row in self.of("samples", size, timesteps) if row["sampling"] == wanted]

    def of(self, what: str, size: str, timesteps: str) -> list[Row]:
        """Rows of a kind, of models of that size and distribution, by seed."""
        matches = [
            row
            for row in self.rows
            if row["kind"] == what
            and row["model"]["size"] == size
            and row["model"]["timesteps"] == timesteps
        ]
        return sorted(matches, key=lambda row: row["model"]["seed"])

    def sizes(self) -> list[str]:
        """Those that have samples."""
        return [size for size in GEOMETRY if any(r["model"]["size"] == size for r in self.rows)]


def _beside_sit(row: Row) -> Row:
    """What was trained at the rate of patch 4's SiT belongs into its table."""
    model = row["model"]
    if model["size"] != HALF_RATE:
        return row
    return {**row, "model": {**model, "size": "p4", "timesteps": AS_SIT}}


def kind(sampler: str) -> str:
    """Its name without options."""
    return sampler.partition(":")[0]


def described(spec: str) -> str:
    """A sampler for readers."""
    setting = spec.partition(":")[2].replace(",", ", ").replace("=true", "").replace("=", " ")
    setting = setting.replace("_", " ")
    return kind(spec) + (f" ({setting})" if setting else "")


def paired_change(matches: list[Row], base: list[Row]) -> str:
    """Mean change of the distance against `base` on the same seeds, which share their weights."""
    before = {row["model"]["seed"]: row["fd"] for row in base}
    both = [(row["fd"], before.get(row["model"]["seed"])) for row in matches]
    ratios = [fd / base for fd, base in both if base]
    return f" ({100 * (statistics.mean(ratios) - 1):+.1f}%)" if ratios else ""

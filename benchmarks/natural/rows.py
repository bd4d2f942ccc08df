"""The results of the benchmark of natural images, looked up by what they are of, and names."""

from collections.abc import Callable

from benchmarks.common.record import Row
from benchmarks.common.tables import spread
from benchmarks.emoji.rows import described
from benchmarks.natural.claims import AB2, distance
from benchmarks.natural.settings import SETS

GRID_NAMES = {
    "uniform": "equal",
    "shifted:shift=0.6": "shift 0.6",
    "shifted:shift=1.6": "shift 1.6",
    "shifted:shift=3": "shift 3",
    "fitted": "fitted",
}
SAMPLER_NAMES = {
    "euler": "Euler",
    AB2: "Adams–Bashforth",
    "heun": "Heun",
    "euler-maruyama": "Euler–Maruyama",
    "random-order": "random order",
}
NETWORK_NAMES = ("EfficientNet", "own classifier")


class Natural:
    """The rows of one data set, by what they are of."""

    def __init__(self, rows: list[Row], data: str):
        self.data = data
        self.rows = [row for row in rows if row.get("model", row).get("data") == data]

    def models(self, kind: str, **model: object) -> list[Row]:
        """Rows of a kind; of models as the recipe trains them but for what `model` says."""
        usual = {"size": "recipe", "steps": None, "optimizer": None, "lr": None, "repa": None}
        wanted = {"data": self.data, **usual, **model}
        matches = [row for row in self.rows if row["kind"] == kind]
        matches = [row for row in matches if wanted.items() <= row["model"].items()]
        return sorted(matches, key=lambda row: row["model"]["seed"])

    def sampled(
        self,
        timesteps: str,
        sampler: str,
        nfe: float,
        grid: str = "uniform",
        guidance: float = 1.0,
        interval: list[float] | None = None,
        **model: object,
    ) -> list[Row]:
        """One row a seed."""
        how = {"sampler": sampler, "nfe": nfe, "grid": grid}
        how |= {"guidance": guidance, "interval": interval}
        rows = self.models("samples", timesteps=timesteps, **model)
        return [row for row in rows if row["sampling"] == how]


def sampler_name(spec: str) -> str:
    """For readers."""
    return SAMPLER_NAMES.get(spec, described(spec))


def distances(rows: list[Row], network: int = 0, reference: str = "held-out") -> str:
    """A cell: FD as mean and deviation over seeds; of one seed with its interval."""
    if len(rows) == 1:
        one = rows[0]["measures"][network]["fd"][reference]
        digits = _digits(one["value"])
        return "{value:.{0}f} ({low:.{0}f} … {high:.{0}f})".format(digits, **one)
    values = [distance(row, network, reference) for row in rows]
    return spread(values, _digits(max(values, default=1)))


def _digits(value: float) -> int:
    """Behind the point: features of small numbers have small distances."""
    return 1 if value >= 100 else 2 if value >= 1 else 4


def by_data(write: Callable[[Natural], str], rows: list[Row]) -> str:
    """What is written of each data set that has rows, under its name."""
    parts = []
    for data, one in SETS.items():
        text = write(Natural(rows, data))
        if text:
            parts.append(f"**{one.name}**\n\n{text}")
    return "\n".join(parts)

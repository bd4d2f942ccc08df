"""The tables of a page on text rendering, from the rows of benchmarks/words."""

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, spread, table
from benchmarks.emoji.rows import NAMES as TRAININGS
from benchmarks.pages.emoji import name
from benchmarks.words.trainings import TIMESTEPS

Cell = Callable[[list[Row]], str]
"""What a table shows of the rows of one way of sampling, one a training seed."""


def readers(rows: list[Row], ocr: list[Row]) -> str:
    """How often both readers read real images right."""
    lines = []
    ours = [row for row in rows if row["kind"] == "recogniser"]
    for row in ours:
        cells = [_with_interval(row["real"][kind]) for kind in ("seen", "unseen")]
        lines.append([row["size"], "recogniser", *cells, str(row["counted"])])
    real = [row for row in ocr if row["kind"] == "real"]
    for seen, unseen in zip(real[::2], real[1::2], strict=True):
        cells = [_with_interval(row) for row in (seen, unseen)]
        lines.append([seen["size"], seen["reader"], *cells, str(seen["images"])])
    header = ["images", "reader", "words seen", "words unseen", "counted of each"]
    return f"{table(header, lines)}\n{paragraph(made(*ours, *real))}"


def exact_lines(rows: list[Row]) -> str:
    """Exact strings in images of 128×32, by the recogniser."""
    return _samples(rows, "line", _exact)


def exact_squares(rows: list[Row]) -> str:
    """The same in images of 128×128."""
    return _samples(rows, "square", _exact)


def distance_lines(rows: list[Row]) -> str:
    """Edit distances in images of 128×32."""
    return _samples(rows, "line", _distance)


def distance_squares(rows: list[Row]) -> str:
    """The same in images of 128×128."""
    return _samples(rows, "square", _distance)


def _samples(rows: list[Row], size: str, cell: Cell) -> str:
    """A table for each guidance: trainings and words against samplers and budgets."""
    of_size = [row for row in _of(rows, "samples") if row["model"]["size"] == size]
    parts = []
    for guidance in sorted({row["sampling"]["guidance"] for row in of_size}):
        shown = [row for row in of_size if row["sampling"]["guidance"] == guidance]
        columns = _values((r["sampling"]["sampler"], r["sampling"]["nfe"]) for r in shown)
        lines = []
        for times in _values(row["model"]["timesteps"] for row in shown):
            for words in ("seen", "unseen"):
                cells = [
                    cell(
                        [
                            row
                            for row in shown
                            if row["model"]["timesteps"] == times
                            and row["sampling"]["words"] == words
                            and (row["sampling"]["sampler"], row["sampling"]["nfe"]) == column
                        ]
                    )
                    for column in columns
                ]
                lines.append([TRAININGS[times], words, *cells])
        header = ["training", "words", *(f"{name(spec)}, {nfe}" for spec, nfe in columns)]
        parts.append(f"Guidance {guidance:g}:\n\n{table(header, lines)}")
    seeds = len(_values(row["model"]["seed"] for row in of_size))
    images = " and ".join(str(n) for n in _values(row["images"] for row in of_size))
    kind_of_spread = "mean ± deviation" if seeds > 1 else "95 % intervals"
    about = (
        f"Training seeds: {seeds}; words of each kind: {images}; {kind_of_spread}. {made(*of_size)}"
    )
    return "\n".join([*parts, paragraph(about)])


def by_length(rows: list[Row]) -> str:
    """Exact strings of words never seen, by their length, with Euler at the first budget."""
    shown = [
        row
        for row in _of(rows, "samples")
        if row["sampling"]["sampler"] == "euler" and row["sampling"]["words"] == "unseen"
    ]
    lines = []
    for size in _values(row["model"]["size"] for row in shown):
        of_size = [row for row in shown if row["model"]["size"] == size]
        first = min(row["sampling"]["nfe"] for row in of_size)
        for times, guidance in _values(
            (row["model"]["timesteps"], row["sampling"]["guidance"]) for row in of_size
        ):
            alike = [
                row["by_length"]
                for row in of_size
                if row["model"]["timesteps"] == times
                and row["sampling"] | {"nfe": first, "guidance": guidance} == row["sampling"]
            ]
            cells = [spread(100 * one[str(n)] for one in alike) for n in range(3, 9)]
            lines.append([size, TRAININGS[times], f"{guidance:g}", *cells])
    return table(["images", "training", "guidance", *map(str, range(3, 9))], lines)


def by_ocr(ocr: list[Row]) -> str:
    """Exact strings by an OCR that was trained elsewhere."""
    sizes = _values(row["model"]["size"] for row in _of(ocr, "samples"))
    return "\n".join(f"### {size.capitalize()}\n\n{_samples(ocr, size, _exact)}" for size in sizes)


def difficulty(rows: list[Row]) -> str:
    """Predicted errors of patches with letters, over those without, by time."""
    shown = _of(rows, "difficulty")
    lines = []
    for row in shown:
        who = [
            row["model"]["size"],
            TRAININGS[row["model"]["timesteps"]],
            str(row["model"]["seed"]),
        ]
        by_time = row["by_time"]
        ratios = [f"{one['letters'] / one['background']:.1f}" for one in by_time]
        lines.append([*who, "letters : background, predicted", *ratios])
        true = [f"{one['true_letters'] / one['true_background']:.1f}" for one in by_time]
        lines.append([*who, "letters : background, true", *true])
        lines.append([*who, "told apart", *(f"{one['told_apart']:.2f}" for one in by_time)])
    times = [f"t = {one['t']}" for one in shown[0]["by_time"]]
    return f"{table(['images', 'training', 'seed', '', *times], lines)}\n{paragraph(made(*shown))}"


def settling(rows: list[Row]) -> str:
    """After which share of the evaluations letters and patches have settled."""
    shown = _of(rows, "settling")
    header = {
        "letters": "letters",
        "letters_of_right_words": "of right words",
        "letters_of_wrong_words": "of wrong words",
        "letter_patches": "patches with letters",
        "background_patches": "without",
        "with_place": "correlation with place",
        "with_difficulty": "with difficulty",
    }
    lines = []
    for row in shown:
        model, how = row["model"], row["sampling"]
        who = [model["size"], TRAININGS[model["timesteps"]], str(model["seed"])]
        cells = ["" if row[key] is None else f"{row[key]['value']:.2f}" for key in header]
        lines.append([*who, f"{name(how['sampler'])}, {how['nfe']}", *cells])
    columns = ["images", "training", "seed", "sampler", *header.values()]
    return f"{table(columns, lines)}\n{paragraph(made(*shown))}"


def _exact(rows: list[Row]) -> str:
    """In percent."""
    return _with_interval(rows[0]) if len(rows) == 1 else spread(100 * r["exact"] for r in rows)


def _distance(rows: list[Row]) -> str:
    """In letters."""
    if len(rows) != 1:
        return spread((row["distance"] for row in rows), 2)
    low, high = rows[0]["distance_interval"]
    return f"{rows[0]['distance']:.2f} [{max(low, 0):.2f}, {high:.2f}]"


def _with_interval(row: Row) -> str:
    low, high = row["exact_interval"]
    return f"{100 * row['exact']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _of(rows: list[Row], kind: str) -> list[Row]:
    """Rows of a kind, in the order of sizes, trainings and seeds."""

    def place(row: Row) -> tuple[str, int, int]:
        model = row["model"]
        return model["size"], TIMESTEPS.index(model["timesteps"]), model["seed"]

    return sorted((row for row in rows if row["kind"] == kind), key=place)


def _values(values: Iterable[Any]) -> list[Any]:
    """Each once, in the order of their coming."""
    return list(dict.fromkeys(values))

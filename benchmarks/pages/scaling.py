"""The tables of docs/results/scaling.md, and what docs/several-gpus.md says of it."""

from collections.abc import Iterable

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table
from benchmarks.scaling.figures import hours, price
from benchmarks.scaling.plan import HOW, RECIPE, TIMES, Sizes

SIZES = Sizes()
COUNTED = {2: "Two", 4: "Four", 8: "Eight"}
TIMES_ONE = {2: "twice", 4: "four times", 8: "eight times"}
NAMES = {"one": "alone", "DDP": "whole models (DDP)", "FSDP2": "rows of weights (FSDP2)"}
NAMES |= {how: how.replace(",", ", sums in") for how in HOW if "pieces" in how}


def in_short(report: Row) -> str:
    """A sentence for each number of GPUs."""
    rates = {
        (row["gpus"], row["how"]): row["weak_efficiency"]
        for row in _measured(report, "training")
        if row["times"] == "exact LTG" and "weak_efficiency" in row
    }
    sentences = []
    for gpus, count in COUNTED.items():
        whole, shards = rates.get((gpus, "DDP")), rates.get((gpus, "FSDP2"))
        if whole is not None:
            more = "" if shards is None else f", {shards:.0%} with rows of weights"
            of_one = f"{whole:.0%} of {TIMES_ONE[gpus]} one's rate"
            sentences.append(f"{count} GPUs of a host train XL/2 at {of_one}{more}.")
    return paragraph(*sentences)


def training(report: Row) -> str:
    """The same images on each GPU, beside one."""
    rows = _sorted(
        row
        for row in _measured(report, "training")
        if (row["batch"], row["parts"]) == (SIZES.batch * row["gpus"], 1)
    )
    lines = [
        [
            row["times"],
            str(row["gpus"]),
            NAMES[row["how"]],
            f"{1e3 * row['seconds_per_step']:.1f}",
            f"{row['images_per_second']:,.1f}",
            _share(row, "weak_efficiency"),
            _share(row, "share"),
            f"{row['peak_gib']:.1f}",
        ]
        for row in rows
    ]
    header = ["times of an image", "GPUs", "each with", "ms a step", "images/s"]
    header += ["efficiency", "share of products", "GiB a GPU"]
    spread = max(row["spread"] for row in rows)
    rates_of = "; ".join(
        f"{row['times']} {', '.join(f'{rate:.1f}' for rate in row['of_each'])}"
        for row in rows
        if row["how"] == "one"
    )
    return "\n".join(
        [
            table(header, lines),
            paragraph(
                f"Numbers are medians of five, with a spread of at most {spread:.1%}.",
                "One GPU is the mean of all, each by itself at the same time "
                f"(images/s: {rates_of}). {made(*rows)}",
            ),
        ]
    )


def fixed_batch(report: Row) -> str:
    """The recipe's batch divided over the GPUs: hours and price of its training."""
    images, gpu_hour = RECIPE.steps * RECIPE.batch_size, report["usd_per_gpu_hour"]
    rows = _sorted(r for r in _measured(report, "training") if r["batch"] == SIZES.whole)
    lines = []
    for row in rows:
        time = hours(row["images_per_second"], images)
        lines.append(
            [
                row["times"],
                str(row["gpus"]),
                NAMES[row["how"]],
                _each(row),
                f"{row['images_per_second']:,.1f}",
                _share(row, "strong_efficiency"),
                f"{time:.1f}",
                f"{price(time, row['gpus'], gpu_hour):,.0f}",
            ]
        )
    header = ["times of an image", "GPUs", "each with", "images a GPU", "images/s"]
    header += ["efficiency", "hours", "USD"]
    return "\n".join(
        [
            table(header, lines),
            paragraph(
                f"Hours are those of {RECIPE.steps:,} steps of {SIZES.whole} images at this rate, "
                f"without reading data. The price assumes {gpu_hour:g} USD for an hour of a GPU.",
            ),
        ]
    )


def sampling(report: Row) -> str:
    """Arrays by several processes."""
    rows = sorted(_measured(report, "sampling"), key=lambda row: row["gpus"])
    if not rows:
        return "Not measured yet.\n"
    lines = [
        [
            str(row["gpus"]),
            f"{row['images']:,}",
            f"{row['nfe']:g}",
            f"{row['images_per_second']:,.1f}",
            _share(row, "weak_efficiency"),
            f"{row['seconds_without_start']:.1f}",
            f"{row['seconds']:.1f}",
            row["sha256"][:12],
        ]
        for row in rows
    ]
    header = ["GPUs", "images", "evaluations", "images/s", "efficiency"]
    header += ["s without start", "s in all", "SHA-256"]
    apart = [row for row in rows if row.get("most_apart")]
    same = [
        f"On {row['gpus']} GPUs {row['share_apart']:.2%} of the numbers differ, by at most "
        f"{row['most_apart']} of 255."
        for row in apart
    ]
    if len({row["sha256"] for row in rows}) == 1 < len(rows):
        same = ["The arrays are the same to the byte."]
    return f"{table(header, lines)}\n{paragraph(*same, made(*rows))}"


def same_run(report: Row) -> str:
    """Losses on any number of GPUs, and the step that is recorded."""
    sentences = []
    for row in _measured(report, "losses"):
        for count, apart in row["apart"].items():
            sentences.append(
                f"Losses of {row['steps']} steps on {count} GPUs are within {apart:.1e} of those "
                "on one."
            )
        on = ", ".join(f"{n}{' (rows of weights)' * (held == 'shard')}" for n, held in row["legs"])
        sentences.append(
            f"A run went on with other numbers of GPUs every {row['steps_each']} steps: {on}. "
            f"Its losses are within {row['resumed_apart']:.1e} of those on one. {made(row)}"
        )
    for row in _measured(report, "recorded step"):
        most = max(row["differences"].values())
        sentences.append(
            f"On {row['gpus']} GPUs, weights after compiled and recorded steps are within "
            f"{most:.1e} of how far they went, over {len(row['differences'])} cases. {made(row)}"
        )
    return paragraph(*sentences) if sentences else "Not measured yet.\n"


def killed(report: Row) -> str:
    """How the others end when a rank is killed."""
    rows = _measured(report, "killed")
    if not rows:
        return "Not measured yet.\n"
    lines = [
        [
            str(row["gpus"]),
            NAMES[row["how"]],
            f"{row['seconds']:.1f}",
            ", ".join(map(str, row["statuses"])),
            f"“{row['message']}”",
        ]
        for row in rows
    ]
    header = ["GPUs", "each with", "s until all ended", "exit statuses", "the message ends"]
    return f"{table(header, lines)}\n{paragraph(made(*rows))}"


def failures(report: Row) -> str:
    """Rows without a result."""
    failed = [f"- {row['name']}: {row['error']}" for row in report["rows"] if "error" in row]
    return "\n".join(failed or ["None."]) + "\n"


def _measured(report: Row, part: str) -> list[Row]:
    return [row for row in report["rows"] if row["part"] == part and "error" not in row]


def _sorted(rows: Iterable[Row]) -> list[Row]:
    """By times, number of GPUs, and what each holds."""
    times, how = [*TIMES], [*HOW]
    return sorted(
        rows, key=lambda row: (times.index(row["times"]), row["gpus"], how.index(row["how"]))
    )


def _share(row: Row, key: str) -> str:
    return f"{row[key]:.1%}" if key in row else ""


def _each(row: Row) -> str:
    """Images of a GPU, in parts if it takes them so."""
    parts = row["parts"]
    share = row["batch"] // (row["gpus"] * parts)
    return f"{parts} × {share}" if parts > 1 else str(share)

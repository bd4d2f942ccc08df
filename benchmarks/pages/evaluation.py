"""Tables of docs/evaluation.md."""

from typing import Any

from patch_forcing.scoring.difficulty import DifficultyReport


def coverage(numbers: dict[str, Any]) -> str:
    """How often intervals held the mean."""
    rows = [
        "| metric | samples | features | apart from the reference | drawn from the reference |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {row['metric']} | {row['n']} | {row['width']} | {100 * row['apart']:.1f} % | "
        f"{100 * row['same']:.1f} % |"
        for row in numbers["coverage"]
    ]
    runs, paired = numbers["runs"], numbers["paired"]
    note = (
        f"{runs} simulations each. The difference of two samplers on the same {paired['n']} seeds: "
        f"{100 * paired['held']:.1f} %, in intervals {paired['narrower']:.1f} times as narrow as "
        "without pairs."
    )
    return "\n".join([*rows, "", note]) + "\n"


def parity(numbers: dict[str, Any]) -> str:
    """Our values beside those of others."""
    rows = ["| metric | here | there | by |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {row['metric']} | {row['ours']:.6g} | {row['theirs']:.6g} | {row['by']} |"
        for row in numbers["parity"]
    ]
    return "\n".join(rows) + "\n"


def example(numbers: dict[str, Any]) -> str:
    """Two samplers of a model, and their difference."""
    rows = [
        "| features | metric | default sampler | Euler | difference | 95 % interval |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in numbers["differences"]:
        middle = row["second"] - row["first"]
        rows.append(
            f"| {row['features'].partition(' ')[0]} | {row['metric']} | {row['first']:.1f} | "
            f"{row['second']:.1f} | {middle:+.1f} | {row['low']:+.1f} … {row['high']:+.1f} |"
        )
    alone = numbers["alone"]["fd"]
    note = (
        f"{numbers['n']} images each. FD of the default sampler alone is {alone['value']:.1f}, "
        f"{alone['low']:.1f} to {alone['high']:.1f}."
    )
    return "\n".join([*rows, "", note]) + "\n"


def seconds(numbers: dict[str, Any]) -> str:
    """How long the command takes."""
    rows = [
        "| samples | reference | network | seconds in all | features of samples | metrics |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in numbers["rows"]:
        parts = row["parts"]
        held = "statistics" if row["what"] == "statistics" else f"{row['n_reference']:,} images"
        rows.append(
            f"| {row['n']:,} | {held} | {row['features'].partition(' ')[0]} | {row['seconds']:.0f} "
            f"| {parts['features']:.1f} | {parts['metrics']:.1f} |"
        )
    load = max(row["load_before"] for row in numbers["rows"])
    note = f"{numbers['hardware']}; the whole command, the start of Python included."
    if load > 0.5:
        note += f" Others used the cores too, which had a load of up to {load:.1f}."
    return "\n".join([*rows, "", note]) + "\n"


def photographs(numbers: dict[str, Any]) -> str:
    """Sets of photographs against others, in two networks."""
    rows = [
        "| samples | features | fd | kid | precision | recall | density | coverage |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in numbers["rows"]:
        for features, metrics in row["results"].items():
            cells = [_spread(metrics[name]) for name in ("fd", "kid")]
            cells += [f"{metrics[n]['value']:.3f}" for n in rows[0].split(" | ")[4:7]]
            cells.append(f"{metrics['coverage']['value']:.3f}")
            rows.append(f"| {row['set']} | {features} | {' | '.join(cells)} |")
    note = (
        f"{numbers['rows'][0]['n']:,} training images each, against {numbers['reference']:,} test "
        "images. In brackets half the 95 % interval."
    )
    return "\n".join([*rows, "", note]) + "\n"


def _spread(row: dict[str, Any]) -> str:
    return f"{row['value']:.3g} (±{(row['high'] - row['low']) / 2:.2g})"


def photographs_compared(numbers: dict[str, Any]) -> str:
    """What `evaluate compare` prints of the first two sets."""
    _, first, difference = numbers["compare"].partition("blurred.json less")
    return f"```\n{first} {difference.strip()}\n```\n"


def photographs_found(numbers: dict[str, Any]) -> str:
    """What distances of classes, and training images, say."""
    worst, best, near = numbers["by_class"][0], numbers["by_class"][-1], numbers["copies"]
    return (
        f"`--metrics fd-by-class` names `{worst['class']}` as the worst of {worst['n']} images a "
        f"class, with {worst['fd']:.0f}, and `{best['class']}` as the best, with {best['fd']:.0f}. "
        f"`--train` with the folder the photographs came from gives {near['value']:.2f}: every one "
        "is a training image."
    )


def difficulty(record: dict[str, Any]) -> str:
    """Predicted variance against squared error, as the command prints it."""
    return DifficultyReport(record).markdown() + "\n"

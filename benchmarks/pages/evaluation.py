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


def difficulty(record: dict[str, Any]) -> str:
    """Predicted variance against squared error, as the command prints it."""
    return DifficultyReport(record).markdown() + "\n"

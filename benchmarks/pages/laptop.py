"""The tables of docs/first-hour.md."""

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table


def trained(*runs: Row) -> str:
    """What a training of some minutes on a folder gives, class by class and in all."""
    lines = []
    for run in runs:
        for judge in run["judges"]:
            low, high = judge["interval"]
            named = zip(run["classes"], judge["by_class"], strict=True)
            ranked = sorted(named, key=lambda one: -one[1])
            lines.append(
                [
                    f"{len(run['classes'])} classes, {run['images']:,} images",
                    f"{run['steps']:,} in {run['seconds'] / 60:.0f} min",
                    judge["features"],
                    f"{judge['accuracy_on_real']:.0%}",
                    f"**{judge['accuracy']:.0%}** [{low:.0%}, {high:.0%}]",
                    f"{ranked[0][0]} {ranked[0][1]:.0%}, {ranked[-1][0]} {ranked[-1][1]:.0%}",
                ]
            )
    header = ["folder", "steps", "classifier of", "right on real", "samples", "best, worst class"]
    about = [
        f"{run['samples']} samples, {run['nfe']:g} evaluations each; {made(run)}" for run in runs
    ]
    return f"{table(header, lines)}\n{paragraph(*about)}"


def latency(report: Row) -> str:
    """The slowest answers."""
    shown, refused = (max(row[what][0] for row in report["rows"]) for what in ("help", "mistake"))
    return paragraph(
        f"Help of any command takes at most {shown:.2f} s, a mistake at most {refused:.2f} s.",
        f"Importing PyTorch alone takes {report['import_torch'][0]:.1f} s, and is not waited for.",
        f"Medians of {report['repeats']} on {made(report)}",
    )

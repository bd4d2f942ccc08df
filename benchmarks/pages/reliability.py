"""What docs/reliability.md lists: faults that a run was put through, and kinds of inputs."""

from benchmarks.common.record import Row
from benchmarks.common.tables import folded, made, paragraph, table


def faults(report: Row) -> str:
    """Each fault, what holds in spite of it, and how often it was tried."""
    lines = []
    for row in report["rows"].values():
        tried, broken = row["tried"], len(row["broken"])
        skipped = row["notes"].get("skipped")
        counts = [f"skipped: {skipped}", ""] if skipped else [str(tried), str(tried - broken)]
        lines.append([row["fault"], row["holds"], *counts])
    held = table(["fault", "what holds", "tried", "held"], lines)
    measured = made(*(row["made"] for row in report["rows"].values()))
    return f"{held}\n{paragraph(f'Measured on {measured}')}"


def details(report: Row) -> str:
    """The notes of each fault, and the commit they were made at, folded."""
    parts = []
    for row in report["rows"].values():
        notes = [f"{what}: {_plain(value)}" for what, value in row["notes"].items()]
        parts.append(folded(row["fault"], [*notes, f"commit: {row['made']['commit']}"]))
    return "\n".join(parts)


def _plain(value: object) -> str:
    """A number, a text, or a list of them."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def inputs(report: Row) -> str:
    """Kinds of inputs from public reports: what happened before, what happens now."""
    lines, held = [], []
    for row in report["rows"]:
        names = dict.fromkeys(test.partition("[")[0] for test in row["tests"])
        held.append(f"{row['kind']}: {', '.join(f'`{name}`' for name in names)}")
        lines.append([row["kind"], row["before"], row["now"], str(row["cases"])])
    header = ["kind", "before", "now", "cases tried"]
    by_hand = report["by_hand"]
    kinds = ", ".join(f"{count} of {kind}" for kind, count in by_hand.items())
    total = paragraph(
        f"All in all these are {report['total']} cases. {sum(by_hand.values())} further inputs "
        f"were tried by hand: {kinds}. What failed of them was mended, and is among the cases."
    )
    return f"{table(header, lines)}\n{total}\n{folded('The tests that hold each kind', held)}"

"""`patch-forcing doctor`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from patch_forcing.cli.options import parse


@dataclass(frozen=True)
class Options:
    """What `doctor` takes."""

    json: bool = False
    """Print one JSON object."""
    imports: bool = False
    """Also import every optional package that is there, each in a process of its own: slower."""


def doctor(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing doctor",
        description="What works on this machine: versions, devices, optional parts, memory, disk. "
        "The exit status is 0, or 1 if something that is installed is broken.",
        example="patch-forcing doctor --json",
    )
    from patch_forcing.doctor.examine import examine, problems, report

    sections = examine(imports=options.imports)
    wrong = problems(sections)
    if options.json:
        print(json.dumps(report(sections), indent=2))
    else:
        for name, findings in sections.items():
            width = max(len(one.name) for one in findings)
            print(f"{name}:")
            for one in findings:
                print(f"  {one.name:<{width}}  {one.text}")
        hints = [one.hint for section in sections.values() for one in section if one.hint]
        if hints:
            print("not here, and how to get it:")
            print("\n".join(f"  {hint}" for hint in hints))
        print("\n".join(f"broken: {one}" for one in wrong) or "what is installed works")
    if wrong:
        sys.exit(1)

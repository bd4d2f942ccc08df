"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """name, text: a line for people. value: the same for programs, if the text is not it.

    problem: what is broken, and what to do. hint: what does not work here, and how to get it; that
    is nobody's mistake. Both are empty if there is nothing to say.
    """

    name: str
    text: str
    value: Any = None
    problem: str = ""
    hint: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        remarks = {"problem": self.problem, "hint": self.hint}
        value = self.text if self.value is None else self.value
        return {"value": value} | {name: text for name, text in remarks.items() if text}


def size(count: float) -> str:
    """Bytes in words: 1.5 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"

"""What hostile files are made of, and how it shows that one did harm."""

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from patch_forcing.cli.main import run as command
from patch_forcing.core.errors import UserError

Cases = dict[str, Callable[[], bool]]


class Evil:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@dataclass(frozen=True)
class Harm:
    """Makes its files below `here`; whatever executes any of them makes the canary."""

    here: Path
    canary: Path

    @property
    def evil(self) -> bytes:
        """A pickle."""
        return pickle.dumps({"state_dict": Evil(self.canary)})

    @property
    def target(self) -> dict[str, object]:
        """A configuration that names what to call."""
        return {"target": "os.system", "params": {"command": f"touch {self.canary}"}}


def expect(line: list[str], refused: str | None) -> bool:
    """Run a command: True if it is refused with these words in one line; None: it must not be."""
    try:
        command(line)
    except UserError as error:
        assert refused is not None, f"refused: {error}"
        assert refused in str(error), f"{refused!r} is not in {error}"
        assert len(str(error).splitlines()) == 1, f"{error} is not one line"
        return True
    assert refused is None, "not refused"
    return False


def watch(canary: Path, out: list[str]) -> None:
    """From now on, note in `out` what would execute something."""
    forbidden = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}
    forbidden |= {"os.fork", "os.forkpty", "ctypes.dlopen", "code.__new__"}

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event in forbidden or (event in ("open", "import") and str(canary) in repr(arguments)):
            out.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(note)

"""Options of several commands, written once: the same name means the same everywhere."""

import argparse
from pathlib import Path
from typing import Any

import torch

SHARED: dict[str, dict[str, Any]] = {
    "atlas": {"type": Path, "default": Path("data/emoji"), "help": "folder of the drawings"},
    "weights": {
        "type": Path,
        "default": Path("src/patch_forcing/bundled/emoji-64"),
        "help": "folder of the model",
    },
    "samples": {"type": int, "default": 10_000, "help": "images of a measurement"},
    "seconds": {"type": float, "default": 1.0, "help": "least time of a repeat"},
    "no-compile": {"dest": "compile", "action": "store_false"},
}


def command_line(
    doc: str | None, *shared: str, out: str | None = None, device: bool = True
) -> argparse.ArgumentParser:
    """A command whose help is its module's docstring, with `--out` and the shared options named.

    out: the default of `--out`; None, it is required. device: whether there is `--device`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=out and Path(out), required=out is None)
    for name in shared:
        parser.add_argument(f"--{name}", **SHARED[name])
    if device:
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser

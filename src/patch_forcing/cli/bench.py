"""`patch-forcing bench NAME MODEL`: finds the measurement."""

from collections.abc import Sequence
from importlib import import_module

from patch_forcing.core.errors import UserError, unknown_name

_NAMES = ("samplers", "speed", "grid")

_USAGE = """usage: patch-forcing bench NAME MODEL [OPTIONS]

Measures a model on this machine.

samplers quality against evaluations and seconds, of several samplers at several budgets
speed    images a second of forward passes and samplers, beside what the machine could do at best
grid     fits a time grid to the model, and writes it into a model folder

patch-forcing bench NAME --help    every option, with its default"""


def bench(args: Sequence[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
    elif args[0] in _NAMES:
        measurement = getattr(import_module(f"patch_forcing.cli.bench_{args[0]}"), args[0])
        measurement(args[1:])
    elif args[0].startswith("-"):
        raise UserError(f"{args[0]!r} is no measurement: write its name first, as in bench speed")
    else:
        raise unknown_name("measurement", args[0], _NAMES)

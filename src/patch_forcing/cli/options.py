"""Reading a command line: dataclasses are options, and every mistake is one line."""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import tyro
from tyro import MISSING_NONPROP
from tyro.conf import Positional, arg

from patch_forcing.core.errors import UserError, unknown_name

T = TypeVar("T")

ModelName = Positional[
    Annotated[
        str,
        arg(metavar="MODEL", help="A bundled name, a run folder, a model folder or a Hub id."),
    ]
]
"""The model that a command is about."""
DeviceName = Annotated[
    str | None, arg(help="cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one.")
]
"""Where a command computes."""


def parse(
    options: type[T],
    args: Sequence[str],
    *,
    prog: str,
    description: str,
    example: str = "",
    default: T | None = None,
) -> T:
    """The options that `args` give. Raises UserError in one line where tyro prints a page.

    `--help` prints and exits with status 0.
    """
    if example:
        description += f"\n\nSuch as: {example}"

    def read(args: Sequence[str]) -> tuple[T, list[str]]:
        return tyro.cli(
            options,
            args=list(args),
            prog=prog,
            description=description,
            return_unknown_args=True,
            default=MISSING_NONPROP if default is None else default,
        )

    page = io.StringIO()
    shown = io.TextIOWrapper(io.BytesIO(), encoding=getattr(sys.stdout, "encoding", "utf-8"))
    try:
        with contextlib.redirect_stderr(page), contextlib.redirect_stdout(shown):
            parsed, unknown = read(_pairs_apart(args))
    except SystemExit as end:
        if end.code in (0, None):
            shown.seek(0)
            print(plain_help(shown.read()), end="")
            raise
        raise UserError(f"{_message(page.getvalue())}: see {prog} --help") from None
    if unknown:
        raise _unknown_argument(unknown[0], prog, lambda: read(["--help"]))
    return parsed


_PAIR = re.compile(r"(--[\w.-]+=)?(-?[\d.]+),(-?[\d.]+)")
PAIRS = ("--guidance-interval", "--recommended.guidance-interval", "--optimizer.betas", "--size")
"""Options of two numbers, which may have a comma between them."""


def _pairs_apart(args: Sequence[str]) -> list[str]:
    """`--guidance-interval 0.1,0.8` as `--guidance-interval 0.1 0.8`."""
    apart: list[str] = []
    for argument in args:
        pair = _PAIR.fullmatch(argument)
        option = (pair[1] or "=").removesuffix("=") or (apart[-1] if apart else "") if pair else ""
        if pair and option in PAIRS:
            apart += [option, pair[2], pair[3]] if pair[1] else [pair[2], pair[3]]
        else:
            apart.append(argument)
    return apart


def plain_help(page: str) -> str:
    """A help page that names neither None nor what stands for it; all stays in its column."""
    nothing = r"\(default:[\s│]*(None)?\)"
    page = re.sub(nothing, lambda match: re.sub(r"[^\s│]", " ", match[0]), page)
    optional = r"\{None(?:\}\|(\{[^}\n]*\}|[^\s│]+)|,([^}\n]*\}))"

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1] or '{' + match[2]:<{len(match[0])}}"

    return re.sub(optional, shorter, page)


def _message(page: str) -> str:
    """The text of tyro's error page between its title and the next rule, as one line."""
    lines = [line.strip(" │|") for line in page.strip().splitlines()[1:]]  # the first is the title
    paragraphs = " ".join(line or "─" for line in (line.strip("╭╮╰╯─-") for line in lines))
    message = next(part.strip() for part in [*paragraphs.split("─"), "wrong usage"] if part.strip())
    message = f"{message[:1].lower()}{message[1:].rstrip('.')}"
    misfit = re.fullmatch(
        r"error parsing (\S+): no type matching (.*) could be instantiated from \[(.*)\]", message
    )
    if misfit is None:
        return message
    option, kinds, values = misfit.groups()
    mend = "give " + re.sub(r"\{None\}\||[{}]", "", kinds).replace("|", " or ")
    given = f"argument {option} {values}" if values else f"missing value for argument '{option}'"
    return f"{given}: {mend}"


def _unknown_argument(argument: str, prog: str, show_help: Callable[[], object]) -> UserError:
    """The error for an option that does not exist, with the nearest one that does."""
    if not argument.startswith("-"):
        return UserError(f"{argument!r} is one argument too many: see {prog} --help")
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        show_help()
    known = re.findall(r"(?<=\s)--[a-z][\w.-]*", page.getvalue())
    return unknown_name("option", argument.replace("_", "-"), known)


def check_out(option: str, folder: Path) -> None:
    """Raises UserError, before any work, unless `folder` is or can become a folder to write to."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{option} {folder}: {place} is a file: name a folder")
    if not os.access(place, os.W_OK):
        raise UserError(f"{option} {folder}: {place} cannot be written to: name another folder")


def check_file(option: str, file: Path, suffix: str) -> None:
    """Raises UserError, before any work, unless `file` can be written and has that ending."""
    check_out(option, file.parent)
    if file.suffix != suffix or file.is_dir():
        raise UserError(f"{option} {file}: name a file that ends in {suffix}")


def check_given(files: Iterable[tuple[str, Path | None, str]]) -> None:
    """Raises UserError, before any work, unless those that are given can be written.

    files: of each the option, the file, and the ending that it has to have.
    """
    for option, file, suffix in files:
        if file is not None:
            check_file(option, file, suffix)


def check_replaced(option: str, *files: Path, own: Callable[[Path], bool]) -> None:
    """Raises UserError, before any work, if a file is there that this command did not write.

    own: whether a file is one that it wrote before, which may be replaced.
    """
    for file in files:
        if file.exists() and not own(file):
            raise UserError(f"{option}: {file} is there and not of this command: name another")


def is_report(file: Path) -> bool:
    """Whether it is JSON as measurements are written, which say of what and where they are."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and {"model", "hardware", "versions"} <= report.keys()


def parse_device(name: str | None) -> str:
    """A device that is there: the named one, or the fastest. Raises UserError if it is not."""
    if name == "cpu":
        return name
    unknown = UserError(f"--device {name!r} is not on this machine: leave it out, or use cpu")
    if name is not None and not re.fullmatch(r"mps|(cuda|xpu)(:\d+)?", name):
        raise unknown
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise unknown from None
    return name


class Place(NamedTuple):
    """This process among those that share a job, and its device."""

    rank: int
    world: int
    device: str


def parse_place(name: str | None) -> Place:
    """Which of the processes this is that torchrun started, or whoever set RANK and WORLD_SIZE.

    Of a machine's GPUs each takes its own, by LOCAL_RANK, or by RANK where that is not set, unless
    one is named. Raises UserError if there is no such rank or device.
    """
    given = {key: os.environ.get(key, "") for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not given["RANK"]:
        return Place(0, 1, parse_device(name))
    try:
        rank, world = int(given["RANK"]), int(given["WORLD_SIZE"])
        local = int(given["LOCAL_RANK"] or rank)
    except ValueError:
        raise UserError(
            f"RANK={given['RANK']} without a WORLD_SIZE, or not in numbers: start with torchrun, "
            "or set both"
        ) from None
    if not 0 <= rank < world:
        raise UserError(f"RANK={rank} of WORLD_SIZE={world} does not exist: start with torchrun")
    device = parse_device(name)
    if world > 1 and device == "cuda":
        if not given["LOCAL_RANK"]:
            import torch

            local %= torch.cuda.device_count()
        device = parse_device(f"cuda:{local}")
    return Place(rank, world, device)

"""Mistakes put into a file one at a time; those that its tests do not find are listed.

python -m tests.scripts.mutants src/patch_forcing/runs/saver.py tests/runs/test_snapshots.py …
    --only NAME …   of these functions and classes
    --at 3 17       these mutants alone, by number

The package itself is left alone: a copy of it is changed. Needs a system that can fork.
"""

import argparse
import ast
import copy
import importlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.scripts import ROOT

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}

"""Of one operator, another. No division: in this package, most slashes are paths."""
_CHANGED_INSIDE = ast.Compare | ast.BoolOp | ast.UnaryOp


def mistakes(node: ast.AST) -> Iterator[ast.AST]:
    """What might stand in a node's place."""
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, _CHANGED_INSIDE):
            changed = copy.deepcopy(node)
            changed.test = ast.UnaryOp(ast.Not(), test)
            yield changed
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
    if swap := SWAPPED.get(type(node)):
        yield swap()


def places(tree: ast.AST, names: list[str]) -> Iterator[tuple[ast.AST, str, int | None, int]]:
    """Where a node hangs, and its line: parent, field and number; no annotations."""

    def within(parent: ast.AST, inside: bool, line: int) -> Iterator[tuple]:
        inside = inside or getattr(parent, "name", None) in names
        line = getattr(parent, "lineno", line)
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "ctx"):
                continue
            for number, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST):
                    if inside:
                        yield parent, field, number if isinstance(value, list) else None, line
                    yield from within(child, inside, line)

    return within(tree, not names, 0)


def mutants(source: str, names: list[str]) -> Iterator[tuple[int, str, str]]:
    """The line, what the mistake is, and the whole file with it."""
    tree = ast.parse(source)
    for parent, field, number, line in places(tree, names):
        held = getattr(parent, field)
        before = held if number is None else held[number]
        for after in mistakes(before):
            if number is None:
                setattr(parent, field, after)
            else:
                held[number] = after
            changed = ast.unparse(ast.fix_missing_locations(tree))
            if number is None:
                setattr(parent, field, before)
            else:
                held[number] = before
            yield getattr(before, "lineno", line), f"{_short(before)} → {_short(after)}", changed


def _short(node: ast.AST) -> str:
    text = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else type(node).__name__
    return text.splitlines()[0][:70]


def imported(tests: list[str], source: Path) -> None:
    """The package at `source`, and all that the tests use, so that no mutant waits for it.

    Without the type checks of tests, which would know classes of the module as they were.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path[:0] = [str(source), str(ROOT)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    for test in tests:
        importlib.import_module(test.partition("::")[0].removesuffix(".py").replace("/", "."))


def replaced(module: ModuleType) -> None:
    """The module as its file is now, everywhere that something of it was imported."""
    before = dict(vars(module))
    importlib.reload(module)
    for other in [*sys.modules.values()]:
        if other.__name__.startswith(("patch_forcing", "tests")):
            for name, now in vars(module).items():
                if name in vars(other) and vars(other)[name] is before.get(name, other):
                    setattr(other, name, now)


def verdict_of(module: ModuleType, tests: list[str], limit: float) -> str:
    """How the tests end with the module's file as it is: in what time, or that they pass."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(silent, stream)
        try:
            replaced(module)
            options = ["-x", "-q", "-n0", "-p", "no:cacheprovider"]
            status = int(pytest.main([*options, *tests]))
        except BaseException:
            status = 1
        os._exit(status)
    while time.perf_counter() - started < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            seconds = time.perf_counter() - started
            return f"found in {seconds:.0f} s" if status else "ALIVE"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "found: it hangs"


def main() -> None:
    """Try all, list those that live."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--at", nargs="*", type=int)
    parser.add_argument("--list", action="store_true", help="the mutants, untried")
    parser.add_argument("--limit", type=float, default=180, help="seconds for each mutant")
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    made = list(enumerate(mutants(text, options.only)))
    if options.at is not None:
        made = [one for one in made if one[0] in options.at]
    if options.list:
        for number, (line, what, _) in made:
            print(f"{number} line {line}: {what}")
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        place = options.file.resolve().relative_to(ROOT / "src")
        mutant = source / place
        imported(options.tests, source)
        module = sys.modules[place.with_suffix("").as_posix().replace("/", ".")]
        assert Path(str(module.__file__)) == mutant
        whole = verdict_of(module, options.tests, options.limit)
        assert whole == "ALIVE", f"the tests fail without any mistake: {whole}"
        alive = 0
        for number, (line, what, changed) in made:
            Path(importlib.util.cache_from_source(str(mutant))).unlink(missing_ok=True)
            mutant.write_text(changed, encoding="utf-8")
            verdict = verdict_of(module, options.tests, options.limit)
            alive += verdict == "ALIVE"
            print(f"{number} line {line}: {what}: {verdict}", flush=True)
    print(f"{len(made)} mutants of {options.file}, {alive} alive")


if __name__ == "__main__":
    main()

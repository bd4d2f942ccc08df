"""Every benchmark is a command that starts, and says what it measures."""

import importlib
import sys

import pytest

from benchmarks.common.record import ROOT, command_of

FILES = [
    file
    for file in sorted((ROOT / "benchmarks").rglob("*.py"))
    if "def main() -> None:" in file.read_text(encoding="utf-8") and file.stem != "jobs"
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_help_is_what_the_module_says(file, monkeypatch, capsys):
    module = importlib.import_module(command_of(file).removeprefix("python -m "))
    monkeypatch.setattr(sys, "argv", [file.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert module.__doc__.splitlines()[0] in capsys.readouterr().out

"""Every benchmark is a command that starts, and says what it measures."""

import importlib
import json
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


ROWS = [{"what": "guided"}, {"what": "FP8"}]
STEPS = [{"what": "training, LTG, ours"}, {"what": "training, LTG, published"}]


@pytest.mark.parametrize(
    ("module", "words", "held", "lost"),
    [
        ("samplers.seconds", "--only guided", {"rows": ROWS}, "FP8"),
        ("checkpoints.warm_start", "--only sit", [{"run": "sit"}, {"run": "pft"}], "pft"),
        ("latents.run", "--parts reading", {"reading": {}, "encoding": []}, "encoding"),
        (
            "speed.run",
            "--sizes XL/2 --parts training --only|LTG, ours",
            {"rows": STEPS},
            "training, LTG, published",
        ),
    ],
)
def test_a_run_of_a_part_takes_nothing_out_of_a_file(
    tmp_path, monkeypatch, capsys, module, words, held, lost
):
    file = tmp_path / ("XL-2-training.json" if module == "speed.run" else "file.json")
    file.write_text(json.dumps(held))
    out = tmp_path if module == "speed.run" else file
    options, _, step = words.partition("|")
    line = ["x", "--out", str(out), *options.split(), *filter(None, [step])]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{module}").main()
    assert ended.value.code == 2
    message = f"{file} also holds {lost}, which this run leaves out: choose another --out"
    assert message in " ".join(capsys.readouterr().err.split())
    assert json.loads(file.read_text()) == held

"""Every example of docs/python.md works as it stands there."""

import torch

from tests.support.examples import run_examples


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    examples = run_examples("python.md")
    assert len(examples) == 8
    assert "[3, 7, 3, 7] 16.0" in capsys.readouterr().out
    files = ("cat.png", "sheet.png", "maps.png", "film.gif", "my-model/config.json")
    assert all((tmp_path / file).stat().st_size > 100 for file in files)
    names = examples[-1]
    assert (len(names["evaluations"]), names["encoded"].shape) == (4, (4, 1, 8, 8))
    assert names["samples"].shape == (2, 3, 8, 8)
    torch.testing.assert_close(names["grey"], torch.zeros(2, 3, 8, 8))

"""Every example of docs/extending.md works as it stands there."""

import torch

from patch_forcing.models.condition_kinds import CONDITIONS
from tests.support.examples import run_examples


def test_parts_of_ones_own_work_as_the_page_has_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CONDITIONS, "angle", None)  # taken back afterwards
    torch.manual_seed(0)
    examples = run_examples("extending.md")
    assert len(examples) == 5
    assert "8.0 2\ntorch.Size([2, 1, 8, 8]) 12.0\n" in capsys.readouterr().out
    assert (tmp_path / "runs/discs/run.json").is_file()
    turned = examples[-1]["turned"]
    assert turned.shape == (2, 1, 8, 8)
    assert not turned.isnan().any()

"""Every example of docs/diffusers.md works as it stands there."""

import torch

from tests.support.examples import run_examples


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    examples = run_examples("diffusers.md")
    assert len(examples) == 6
    assert (examples[0]["image"].size, examples[0]["image"].mode) == ((8, 8), "L")
    first, again = examples[2]["output"].images, examples[2]["again"].images
    assert [image.tobytes() for image in first] == [image.tobytes() for image in again]
    assert examples[3]["output"].nfe == 8
    assert capsys.readouterr().out.count("easiest patch") == 4
    assert examples[5]["velocity"].shape == (1, 1, 8, 8)

"""Every example of docs/other-models.md works as it stands there."""

import torch

from tests.support.examples import run_examples
from tests.support.hosts import of_diffusers


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    of_diffusers("Flux2Transformer2DModel", "guidance_embeds")
    of_diffusers("Ideogram4Transformer2DModel")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    examples = run_examples("other-models.md")
    assert len(examples) == 9
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["8.0", "16.0", "| t | squared error | change | gap | spread | contrast |"]
    assert (tmp_path / "proxies.json").stat().st_size > 100
    frames = examples[3]
    assert torch.equal(frames["latents"][:, :, :1], frames["first_frame"])
    assert all(value.isfinite().all() for value in examples[-1].values() if torch.is_tensor(value))

"""What the README shows works as it stands there."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs():
    names = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], names)
    result, loss = names["result"], names["loss"]
    assert [image.size for image in result.images] == [(64, 64)] * 2
    assert result.nfe == 48  # 6 steps of 4 evaluations, guided
    assert result.trace[1].t.unique().numel() == 2
    assert loss.total.isfinite()
    torch.testing.assert_close(loss.total, loss.velocity + 0.01 * loss.nll)

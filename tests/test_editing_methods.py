"""Ways of repainting agree where they have to, and their measures are those of closed forms."""

import json

import pytest
import torch

import patch_forcing as pf
from benchmarks.editing.methods import METHODS
from benchmarks.editing.run import make_task, masks, seam
from benchmarks.pages.editing import photographs, repainting
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import tiny_dit

MODEL = tiny_dit()
X_1 = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FIELD = pf.VelocityField(MODEL, torch.tensor([0, 3]))


def painted(method: str, mask: torch.Tensor) -> torch.Tensor:
    return METHODS[method](FIELD, make_task(X_1, mask, range(2), MODEL, 4)).x_1


@pytest.mark.parametrize("method", [name for name in METHODS if "second" not in name])
def test_with_a_white_mask_every_way_is_sampling(method):
    task = make_task(X_1, torch.ones(8, 8), range(2), MODEL, 4)
    plain = pf.samplers.EulerSampler()(FIELD, task.x_0, uniform_grid(4)).x_1
    torch.testing.assert_close(painted(method, torch.ones(8, 8)), plain)


@pytest.mark.parametrize("method", METHODS)
def test_every_way_keeps_what_is_black(method):
    mask = torch.zeros(8, 8)
    mask[:, 4:] = 1
    result = painted(method, mask)
    torch.testing.assert_close(result[..., :4], X_1[..., :4], rtol=1e-5, atol=1e-5)
    assert (result[..., 4:] - X_1[..., 4:]).abs().mean() > 0.05


def test_where_a_mask_is_black_or_white_patches_that_wait_are_those_that_do_not():
    mask = torch.zeros(8, 8)
    mask[:, 3:] = 1  # off the grid of patches
    torch.testing.assert_close(painted("by time, waiting", mask), painted("by time", mask))
    ramp = masks(8)["ramp"]
    assert not torch.allclose(painted("by time, waiting", ramp), painted("by time", ramp))


def test_a_seam_is_the_mean_step_across_the_border():
    changes = torch.zeros(4, 4, dtype=torch.bool)
    changes[:, 2:] = True
    assert seam(torch.ones(1, 3, 4, 4), changes).tolist() == [0]
    assert seam(2.0 * changes.expand(1, 3, 4, 4), changes).tolist() == [2]
    for mask in masks(64).values():
        assert 0 < mask.mean() < 1


def test_the_page_has_a_table_for_each_mask():
    number = {"value": 0.5, "interval": [0.25, 0.75]}
    row = {"method": "by time", "fd": number, "class": number, "seam": number, "nfe": 48.0}
    rows = [{**row, "mask": mask, "feather": 0} for mask in masks(8)]
    rows.append({"method": "originals", "fd": number, "class": number,
                 "steps": dict.fromkeys(masks(8), number)})  # fmt: skip
    about = {"commit": "a", "date": "2026-01-01", "hardware": "x", "versions": {"torch": "2"}}
    report = {**about, "images": 2, "steps": 4, "guidance": 1.0, "rows": rows}
    text = repainting(json.loads(json.dumps(report)))
    line = "| by time | 0.5 [0.2, 0.8] | 50.0 % | 0.5000 [0.2500, 0.7500] | 48 |"
    assert text.count(line) == 3
    assert "2 held-out scenes. Guidance 1," in text
    real = {"features": "net 01", "reference": 9000, "accuracy_on_real": 0.75}
    of_photographs = {**report, "count": 1000, "model": {"name": "m"}, "real": real}
    text = photographs(json.loads(json.dumps(of_photographs)))
    assert text.count(line) == 3 and "### Box, photographs" in text
    about = "m, 1,000 photographs that it has not seen; FD to 9,000 others in features of net,"
    assert about in " ".join(text.split())

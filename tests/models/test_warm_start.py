"""One model as the start of another: what is kept is kept to the bit."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.models.folder import DIT, ModelDescription
from patch_forcing.models.latent_space import LatentSpace
from patch_forcing.models.published import from_published
from patch_forcing.models.warm_start import warm_start
from tests.support import published
from tests.support.exact import tiny_dit

TABLE = "y_embedder.embedding_table.weight"


def named(names: tuple[str, ...], **sizes) -> pf.PatchDiT:
    model = tiny_dit(num_classes=len(names), **sizes)
    model.data_info = pf.DataInfo(class_names=names)
    return model


def started(source: pf.PatchDiT | ModelDescription, model: pf.PatchDiT) -> str:
    description = source if isinstance(source, ModelDescription) else source.description()
    start = warm_start(description, model)
    model.load_state_dict(start.weights)
    return start.summary


@pytest.mark.parametrize(("patch_size", "channels"), [(1, 1), (2, 3), (4, 2)])
def test_log_variance_is_added_and_the_velocity_kept(patch_size, channels):
    sizes = {"patch_size": patch_size, "in_channels": channels}
    sit, ours = tiny_dit(predict_difficulty=False, **sizes), tiny_dit(seed=1, **sizes)
    summary = started(sit, ours)
    x, t, y = torch.randn(2, channels, 8, 8), torch.rand(2, (8 // patch_size) ** 2), None
    output = ours(x, t, y)
    # the same rows of the same matrix: only the order of sums within a product may differ
    torch.testing.assert_close(output.velocity, sit(x, t, y).velocity, rtol=1e-6, atol=1e-6)
    assert output.logvar.eq(0).all()
    rows = ours.final_layer.linear.weight.unflatten(0, (patch_size**2, channels + 1))
    assert rows[:, :-1].equal(sit.final_layer.linear.weight.unflatten(0, (patch_size**2, channels)))
    assert "velocity kept" in summary


def test_log_variance_is_left_out():
    pft, sit = tiny_dit(), tiny_dit(seed=1, predict_difficulty=False)
    started(pft, sit)
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2, 16)
    torch.testing.assert_close(sit(x, t).velocity, pft(x, t).velocity, rtol=1e-6, atol=1e-6)


def table(model: pf.PatchDiT) -> Tensor:
    return model.y_embedder.embedding_table.weight.detach()


def test_classes_are_matched_by_name_and_others_begin_as_the_null_row():
    theirs, ours = named(("a", "b", "c")), named(("c", "x", "a", "y"), seed=1)
    summary = started(theirs, ours)
    null = 3
    for row, source in enumerate([2, null, 0, null, null]):
        assert table(ours)[row].equal(table(theirs)[source])
    assert "2 of 4 classes kept" in summary


@pytest.mark.parametrize("names", [(), ("p", "q", "r")])
def test_as_many_classes_without_a_common_name_are_kept_in_order(names):
    theirs, ours = named(("a", "b", "c")), tiny_dit(num_classes=3, seed=1)
    ours.data_info = pf.DataInfo(class_names=names)
    started(theirs, ours)
    assert table(ours).equal(table(theirs))


@pytest.mark.parametrize(("before", "now"), [(5, 2), (2, 5), (5, 0), (0, 5)])
def test_of_another_number_of_classes_all_begin_as_the_null_row(before, now):
    theirs, ours = tiny_dit(num_classes=before), tiny_dit(num_classes=now, seed=1)
    started(theirs, ours)
    assert table(ours).equal(table(theirs)[-1].repeat(now + 1, 1))
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2, 16)
    assert ours(x, t).velocity.equal(theirs(x, t).velocity)


def test_of_a_dit_the_blocks_are_kept():
    dit = from_published(published.random_state(outputs=8), "dit", 4)
    assert dit.class_name == DIT
    ours = tiny_dit(in_channels=4, seed=1)
    ours.data_info = pf.DataInfo(latent_scale=0.18215)
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    assert "a DiT predicts noise" in started(dit, ours)
    for name, weight in ours.state_dict().items():
        new = name.startswith("t_embedder") or name.startswith("final_layer.linear")
        if name != TABLE:
            assert weight.equal(before[name] if new else dit.weights[name]), name


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden_size": 64}, "hidden_size 64, this run 32: give --network.hidden-size 64"),
        ({"depth": 3}, "depth 3, this run 2: give --network.depth 3"),
        ({"num_heads": 2}, "num_heads 2, this run 4"),
        ({"patch_size": 4}, "patch_size 4, this run 2"),
        ({"in_channels": 4}, "in_channels 4, this run 3"),
        ({"input_size": 16}, "image_size"),
    ],
)
def test_other_sizes_are_named(sizes, message):
    with pytest.raises(pf.UserError, match=message):
        warm_start(tiny_dit(**sizes).description(), tiny_dit())


def test_other_numbers_for_the_same_images_are_named():
    theirs = tiny_dit()
    theirs.data_info = pf.DataInfo(data_range=(0.0, 1.0))
    with pytest.raises(pf.UserError, match="data_range"):
        warm_start(theirs.description(), tiny_dit())
    for changes, message in (
        ({"hash": "b"}, "autoencoder of hash a, not b"),
        ({"scale": (1.0,) * 3}, r"autoencoder of scale 1.0, not \(1.0, 1.0, 1.0\)"),
        ({"scale": (2.0,), "hash": ""}, "latent_scale 1.0, not 2.0"),
        (None, "latents, not pixels"),
    ):
        ours = tiny_dit()
        space = LatentSpace("x", "X", "a", 3, 8)
        theirs.data_info = pf.DataInfo.of_latents(space)
        if changes is not None:
            ours.data_info = pf.DataInfo.of_latents(replace(space, **changes))
        with pytest.raises(pf.UserError, match=message):
            warm_start(theirs.description(), ours)
    ours.data_info = pf.DataInfo.of_latents(replace(space, hash="", name="y"))
    assert warm_start(theirs.description(), ours).weights


def test_weights_that_are_broken_are_named():
    for value in (torch.ones(3), torch.full((96,), torch.nan)):
        theirs = tiny_dit().description()
        theirs.weights["blocks.0.attn.qkv.bias"] = value
        with pytest.raises(pf.UserError, match="qkv"):
            warm_start(theirs, tiny_dit())

"""One model as the start of another: what is kept is kept to the bit."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.models.class_names import alike
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


def test_classes_are_matched_by_name_or_by_a_word_of_it():
    theirs, ours = named(("a", "animal-bird", "c")), named(("c", "birds", "a", "y"), seed=1)
    fresh = table(ours).clone()
    summary = started(theirs, ours)
    null = 3
    for row, source in ((0, 2), (1, 1), (2, 0), (4, null)):
        assert table(ours)[row].equal(table(theirs)[source])
    assert summary == (
        "2 of 4 classes kept, by name; 1 begin as one of a name alike; 1 begin at random"
    )
    rows = table(theirs)[:-1]
    expected = rows.mean(dim=0) + rows.std(dim=0, correction=0) * fresh[3] / 0.02
    torch.testing.assert_close(table(ours)[3], expected)


@pytest.mark.parametrize("names", [(), ("p", "q", "r")])
def test_as_many_classes_without_a_common_name_are_kept_in_order(names):
    theirs, ours = named(("a", "b", "c")), tiny_dit(num_classes=3, seed=1)
    ours.data_info = pf.DataInfo(class_names=names)
    started(theirs, ours)
    assert table(ours).equal(table(theirs))


@pytest.mark.parametrize(("before", "now"), [(5, 2), (2, 5), (5, 0), (0, 5)])
def test_of_another_number_of_classes_the_null_row_is_kept_and_the_others_are_spread(before, now):
    theirs, ours = tiny_dit(num_classes=before), tiny_dit(num_classes=now, seed=1)
    started(theirs, ours)
    assert table(ours)[-1].equal(table(theirs)[-1])
    if before and now:
        assert torch.pdist(table(ours)[:-1]).min() > 0
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2, 16)
    assert ours(x, t).velocity.equal(theirs(x, t).velocity)


def test_new_classes_are_as_far_apart_as_known_ones():
    theirs, ours = tiny_dit(num_classes=40), tiny_dit(num_classes=60, seed=1)
    with torch.no_grad():
        theirs.y_embedder.embedding_table.weight.normal_(0.1, 0.3)
        ours.y_embedder.init_weights()
    started(theirs, ours)
    for statistic in (Tensor.mean, Tensor.std):
        now, before = statistic(table(ours)[:-1]), statistic(table(theirs)[:-1])
        torch.testing.assert_close(now, before, rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("birds", "animal-bird"),
        ("Clothes", "clothing"),
        ("fruit", "food-fruit"),
        ("faces", "face-smiling"),
        ("butterflies", "butterfly"),
        ("heart", "heart"),
    ],
)
def test_names_with_a_word_in_common_are_alike(name, other):
    assert alike([name], ["car", other, "handbag"]) == {0: 1}


@pytest.mark.parametrize(("name", "other"), [("hand", "handbag"), ("car", "card"), ("1", "1a")])
def test_names_that_only_begin_alike_are_not(name, other):
    assert alike([name], [other]) == {}


def test_no_known_name_is_taken_twice_and_the_closest_is_taken():
    known = ["face-smiling", "cat-face", "cat"]
    assert alike(["faces", "cats", "cat-face"], known) == {0: 0, 1: 2, 2: 1}


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

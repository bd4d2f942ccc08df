"""Conditions of a network: labels, and any other kind whose first axis is the image."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.models.condition_kinds import CONDITIONS
from patch_forcing.models.conditions import Embedded, LabelEmbedder
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import all_channels, tiny_dit


@dataclass(frozen=True)
class Sequences:
    """A kind of condition that is a row of vectors (B, L, width), NaN where they are padding."""

    width: int = 3
    length: int = 4

    def module(self, sizes):
        return SequenceEmbedder(self.width, self.length, sizes.hidden_size)


class SequenceEmbedder(nn.Module):
    """Their mean, and each of them; the null condition is all padding."""

    def __init__(self, width: int, length: int, hidden_size: int):
        super().__init__()
        self.shape = (length, width)
        self.proj = nn.Linear(width, hidden_size)

    def forward(self, condition: Tensor) -> Embedded:
        mask = ~condition[:, :, 0].isnan()
        tokens = self.proj(condition.nan_to_num())
        count = mask.sum(1, keepdim=True).clamp(min=1)
        return Embedded((tokens * mask[:, :, None]).sum(1) / count, tokens, mask)

    def init_weights(self) -> None:
        nn.init.ones_(self.proj.bias)

    def check(self, condition: Tensor, batch: int) -> None:
        if condition.shape != (batch, *self.shape):
            raise pf.UserError(f"sequences {tuple(condition.shape)}")

    def null(self, batch: int) -> Tensor:
        return torch.full((batch, *self.shape), torch.nan, device=self.proj.weight.device)


@pytest.fixture
def sequences(monkeypatch):
    """A network that takes them, and two of them, one with padding."""
    monkeypatch.setitem(CONDITIONS, "sequences", Sequences)
    condition = torch.randn(2, 5, 3)
    condition[1, 2:] = torch.nan
    return tiny_dit(num_classes=0, condition="sequences:length=5"), condition


def inputs(model: pf.PatchDiT) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 8, 8), torch.rand(2, model.config.num_patches)


def test_no_condition_is_the_null_label():
    model = tiny_dit(num_classes=5)
    x, t = torch.randn(3, 3, 8, 8), torch.rand(3, 16)
    null = all_channels(model(x, t, None))
    assert model.null_condition(3).equal(torch.full((3,), 5))
    assert null.equal(all_channels(model(x, t, model.null_condition(3))))
    assert not null.equal(all_channels(model(x, t, torch.zeros(3, dtype=torch.int64))))


def test_dropped_conditions_are_null_and_the_others_stay():
    labels = torch.tensor([0, 1, 2, 4])
    dropped = tiny_dit(num_classes=5).drop_condition(labels, torch.tensor([1, 0, 0, 1]).bool())
    assert dropped.tolist() == [5, 1, 2, 5]
    assert labels.tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0]), r"give \(2,\) int64"),
        (torch.tensor([[0], [1]]), r"give \(2,\) int64"),
        (torch.tensor([0.0, 1.0]), "float32"),
        (torch.tensor([0, 1], dtype=torch.int32), "int32"),
        (torch.tensor([0, 6]), "label 6 is out of range: this model knows 0 to 4"),
        (torch.tensor([-1, 0]), "label -1 is out of range"),
    ],
)
def test_conditions_that_do_not_suit_are_refused(labels, message):
    with pytest.raises(pf.UserError, match=message):
        tiny_dit(num_classes=5).check_condition(labels, 2)


def test_conditions_that_suit_are_accepted():
    model = tiny_dit(num_classes=5)
    for labels in (None, torch.tensor([0, 4])):
        assert model.check_condition(labels, 2) is None


def test_an_unconditional_model_takes_no_labels():
    model = tiny_dit(num_classes=0)
    x = torch.randn(2, 3, 8, 8)
    assert all_channels(model(x, torch.rand(2), None)).std() > 0.1
    with pytest.raises(pf.UserError, match="label 0: this model is unconditional"):
        model.check_condition(torch.tensor([0, 1]), 2)


def test_label_embedder_has_a_null_row_behind_the_labels():
    embedder = LabelEmbedder(3, 8)
    labels = torch.tensor([2, 0, 3])
    embedded = embedder(labels)
    assert embedded.vector.equal(embedder.embedding_table.weight[[2, 0, 3]])
    assert (embedded.tokens, embedded.mask) == (None, None)
    assert embedder.embedding_table.weight.shape == (4, 8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0]), r"condition \(1,\) for 2 images: give one each"),
        (torch.tensor([[0], [1]]), r"labels \(2, 1\): give one for each image"),
    ],
)
def test_a_network_refuses_other_labels_than_one_for_each_image(labels, message):
    model = tiny_dit()
    with pytest.raises(pf.UserError, match=message):
        model(*inputs(model), labels)


def test_another_kind_is_embedded_by_its_own_module(sequences):
    model, condition = sequences
    seen = []
    model.blocks[1].register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    x, t = inputs(model)
    result = all_channels(model(x, t, condition))
    assert seen[0].tokens.shape == (2, 5, 32)
    assert seen[0].mask.equal(torch.tensor([[True] * 5, [True] * 2 + [False] * 3]))
    expected = model.t_embedder(t) + model.y_embedder(condition).vector[:, None]
    assert seen[0].rows.equal(expected)
    assert not result.equal(all_channels(model(x, t, condition.flip(0))))


def test_another_kind_is_dropped_refused_and_null_in_its_own_way(sequences):
    model, condition = sequences
    x, t = inputs(model)
    null = model.null_condition(2)
    assert all_channels(model(x, t)).equal(all_channels(model(x, t, null)))
    dropped = model.drop_condition(condition.bfloat16(), torch.tensor([True, False]))
    assert dropped.dtype == torch.bfloat16
    assert dropped[0].isnan().all()
    assert dropped[1, :2].equal(condition[1, :2].bfloat16())
    with pytest.raises(pf.UserError, match=r"sequences \(2, 3, 3\)"):
        model.check_condition(condition[:, :3], 2)


def test_training_and_guidance_do_not_look_inside_a_condition(sequences):
    model, condition = sequences
    objective = pf.PatchForcingObjective(pf.LinearPath(2), pf.timesteps.TruncatedGaussian())
    objective(model, torch.randn(2, 3, 8, 8), condition).total.backward()
    assert model.y_embedder.proj.weight.grad.count_nonzero()
    noise = CountedGenerator([0, 1]).fork("noise").normal(3, 8, 8)
    samples = []
    for scale in (1.0, 3.0):
        field = pf.VelocityField(model, condition, pf.ClassifierFreeGuidance(scale))
        samples.append(pf.samplers.EulerSampler()(field, noise, uniform_grid(3)).x_1)
    assert not samples[0].isnan().any()
    assert not samples[0].allclose(samples[1])


def test_a_kind_initialises_its_weights_last_and_is_stored_by_name(sequences, tmp_path):
    model, condition = sequences
    assert pf.PatchDiT(model.config).y_embedder.proj.bias.equal(torch.ones(32))
    model.save(tmp_path / "model")
    loaded = pf.load_model(tmp_path / "model")
    assert loaded.config == model.config
    x, t = inputs(model)
    assert loaded(x, t, condition).velocity.equal(model(x, t, condition).velocity)


def test_labels_are_not_written_into_a_models_sizes():
    assert "condition" not in tiny_dit().description().sizes


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("clas", "unknown condition 'clas': did you mean 'class'"),
        ("class:size=3", "unknown option of condition class 'size'"),
    ],
)
def test_unknown_kinds_are_refused(condition, message):
    with pytest.raises(pf.UserError, match=message):
        pf.PatchDiTConfig(input_size=8, condition=condition)

"""Which weights of a checkpoint are taken: prefixes, nesting, averages, number types."""

from argparse import Namespace
from collections import Counter, OrderedDict

import pytest
import torch
from safetensors.torch import save_file

import patch_forcing as pf
from patch_forcing.models.published import from_published
from patch_forcing.models.state_dicts import choose_weights
from patch_forcing.runs.convert import import_checkpoint
from tests.support import published

RAW = published.random_state(width=16, depth=1, grid=2, seed=0)
AVERAGE = published.random_state(width=16, depth=1, grid=2, seed=1)
FP8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def is_of(chosen, state):
    tensors = chosen.weights.tensors
    return tensors.keys() == state.keys() and all(tensors[n].equal(t) for n, t in state.items())


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "net.", "ema.", "ema_model.", "diffusion_model.",
     "module._orig_mod.", "_orig_mod.module.", "model.diffusion_model.", "ema_model.module.",
     "_fsdp_wrapped_module.module.", "whatever.it.is.called."],
)  # fmt: skip
@pytest.mark.parametrize(
    "key", [None, "state_dict", "model", "ema", "model_ema", "params", "ema_state_dict", "weights"]
)
def test_any_prefix_and_any_nesting_is_read(prefix, key):
    state = OrderedDict(under(prefix, RAW))
    chosen = choose_weights(state if key is None else {key: state, "step": 3})
    assert is_of(chosen, RAW)
    assert chosen.weights.place == f"{key or ''}.{prefix}".strip(".")
    assert chosen.others == chosen.aside == ()


def test_words_of_wrappers_within_names_are_left_out():
    """Blocks or layers that are compiled, sharded or computed again one by one."""
    words = {"blocks.0": "blocks.0._orig_mod._checkpoint_wrapped_module", "fc1": "fc1.module",
             "x_embedder": "x_embedder._fsdp_wrapped_module"}  # fmt: skip
    state = dict(RAW)
    for word, wrapped in words.items():
        state = {name.replace(word, wrapped): tensor for name, tensor in state.items()}
    assert is_of(choose_weights({"model": under("module.", state)}), RAW)


BOTH = {
    "keys": {"state_dict": RAW, "ema": AVERAGE},
    "two of a trainer": {"model": RAW, "ema": AVERAGE, "opt": {"state": {0: RAW}}},
    "an average's own key": {"model": under("module.", RAW), "model_ema": {"module": AVERAGE}},
    "prefixes": under("model.", RAW) | under("ema_model.", AVERAGE),
    "one prefix": RAW | under("ema.", AVERAGE),
    "prefixes under a key": {"state_dict": under("net.", RAW) | under("net_ema.", AVERAGE)},
    "deep": {"params": {"raw": {"net": RAW}, "ema_0.9999": {"net": AVERAGE}}},
    "a copy of the raw ones beside the average": {
        "model": RAW,
        "ema": under("online_model.", RAW) | under("ema_model.", AVERAGE)
        | {"initted": torch.tensor([True]), "step": torch.tensor([5])},
    },
    "a list of networks": {"networks": [{"raw": RAW}, {"ema": AVERAGE}]},
    "averaged model of torch": {
        "model": RAW, "swa_model": under("module.", AVERAGE) | {"n_averaged": torch.tensor(3)}
    },
    "an average without what is fixed": {
        "model": RAW, "ema": {n: t for n, t in AVERAGE.items() if n != "pos_embed"},
    },
    "latent diffusion": {
        "state_dict": under("model.diffusion_model.", RAW)
        | {f"model_ema.diffusion_model{n.replace('.', '')}": t for n, t in AVERAGE.items()}
        | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)},
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BOTH)
def test_of_raw_and_averaged_weights_the_average_is_taken_unless_raw_is_wanted(case):
    for wanted in (None, "average"):
        chosen = choose_weights(BOTH[case], wanted)
        assert is_of(chosen, AVERAGE)
        assert chosen.weights.average
        assert "ema" in chosen.weights.place or "swa" in chosen.weights.place
    chosen = choose_weights(BOTH[case], "raw")
    assert is_of(chosen, RAW)
    assert not chosen.weights.average


def test_a_network_is_chosen_by_its_place():
    content = {"ema_0.999": RAW, "ema_0.9999": AVERAGE}
    with pytest.raises(pf.UserError) as error:
        choose_weights(content)
    assert str(error.value) == (
        "holds several averages, 'ema_0.999', 'ema_0.9999': choose one, as with --weights ema_0.999"
    )
    assert is_of(choose_weights(content, "ema_0.9999"), AVERAGE)
    two = RAW | under("teacher.", AVERAGE)
    with pytest.raises(
        pf.UserError, match=r"networks, without a prefix, 'teacher': .*--weights \."
    ):
        choose_weights(two)
    assert is_of(choose_weights(two, "."), RAW)
    assert is_of(choose_weights(two, "teacher."), AVERAGE)


@pytest.mark.parametrize(
    ("content", "wanted", "message"),
    [
        ({"model": RAW}, "average", "--weights average: the file holds no average, only 'model': "),
        ({"ema": RAW}, "raw", "--weights raw: the file holds no raw weights, only 'ema': leave it"),
        (RAW, "average", "the file holds no average, only without a prefix: leave it out"),
        ({"ema": RAW}, "emma", "unknown --weights 'emma': did you mean 'ema'?"),
        ({"model": {"transformer.h.0": RAW["pos_embed"]}}, None,
         "lacks the tensor 'x_embedder.proj.weight', whatever stands before: it holds "
         "'transformer.h.0': give a checkpoint of PFT, SiT, Self-Flow or DiT"),
        ({"model": RAW, "ema": {"shadow_params": list(AVERAGE.values())}}, None,
         "its average 'ema.shadow_params' is a list without names: add --weights raw, or save"),
        (RAW | {"pos_embed": RAW["pos_embed"], "module.pos_embed": RAW["pos_embed"]}, None,
         "holds 'pos_embed' twice, also as 'module.pos_embed': save its state dict again"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_named(content, wanted, message):
    with pytest.raises(pf.UserError) as error:
        choose_weights(content, wanted)
    assert message in str(error.value)


def test_a_list_of_averages_is_no_obstacle_to_raw_weights():
    content = {"model": RAW, "ema": {"shadow_params": list(AVERAGE.values())}}
    assert is_of(choose_weights(content, "raw"), RAW)


@pytest.mark.parametrize(
    ("content", "summary"),
    [
        (RAW, ""),
        ({"model": under("module.", RAW)}, "weights: raw, 'model.module'"),
        ({"model": RAW, "ema": AVERAGE}, "weights: the average, 'ema'; not 'model' (--weights mod"),
        (under("net.", RAW) | {"vae.w": RAW["pos_embed"], "vae.b": RAW["pos_embed"]},
         "weights: raw, 'net'; left aside: vae"),
        ({name: tensor.half() for name, tensor in RAW.items()}, "weights: float16 as float32"),
        ({"ema": {name: tensor.bfloat16() for name, tensor in RAW.items()}},
         "weights: the average, 'ema'; bfloat16 as float32"),
    ],
)  # fmt: skip
def test_what_was_taken_is_said(content, summary):
    output = choose_weights(content).summary
    assert output.startswith(summary) if summary else output == ""


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, *FP8], ids=lambda d: str(d)[6:]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_each_number_of_any_precision_becomes_fp32(tmp_path, dtype, suffix):
    if suffix == ".safetensors" and "fnuz" in str(dtype):
        pytest.skip("safetensors has no such numbers")
    state = {name: tensor.to(dtype) for name, tensor in RAW.items()}
    file = tmp_path / f"x{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save({"model": state}, file)
    import_checkpoint(file, tmp_path / "out", "pft", 4)
    ours = pf.load_model(tmp_path / "out").state_dict()
    assert ours.keys() == RAW.keys() - {"pos_embed"}
    for name, tensor in ours.items():
        assert tensor.equal(state[name].float())
        assert tensor.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_that_were_halves_before_they_were_fp32(dtype):
    state = {name: tensor.to(dtype).float() for name, tensor in RAW.items()}
    assert from_published(state, "pft", 4).sizes["input_size"] == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, *FP8])
def test_other_positions_are_refused_in_every_precision(dtype):
    table = RAW["pos_embed"].unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)  # rows first
    state = {name: tensor.to(dtype) for name, tensor in (RAW | {"pos_embed": table}).items()}
    with pytest.raises(pf.UserError, match="pos_embed is not the fixed sine and cosine table"):
        from_published(state, "pft", 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks.0.attn.qkv.weight": torch.ones(48, 16, dtype=torch.int8)},
         "tensor 'blocks.0.attn.qkv.weight' is int8, which is no weight here: save it as fp32"),
        ({"blocks.0.attn.qkv.bias": torch.ones(48, dtype=torch.complex64)}, "is complex64, which"),
        ({"blocks.0.attn.qkv.weight": torch.ones(48, 16).to(torch.float8_e4m3fn),
          "blocks.0.attn.qkv.weight_scale": torch.ones(())},
         "fp8 weights have scales, such as 'blocks.0.attn.qkv.weight_scale': save their products"),
        ({"blocks.0.attn.qkv.bias": torch.full((48,), 1e300, dtype=torch.float64)},
         "tensor 'blocks.0.attn.qkv.bias' holds NaN or infinity"),
    ],
)  # fmt: skip
def test_what_is_no_weight_is_named(changes, message):
    with pytest.raises(pf.UserError) as error:
        from_published(RAW | changes, "pft", 4)
    assert message in str(error.value)


def test_a_training_checkpoint_with_everything_that_trainers_keep(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.kept = True  # torch then saves it with its state
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 9])
    content = {
        "model": OrderedDict(under("module.", RAW)),
        "ema": OrderedDict(AVERAGE),
        "opt": optimizer.state_dict(),
        "lr_schedulers": [schedule.state_dict()],
        "args": Namespace(model="SiT-XL/2", lr=1e-4, sizes=torch.Size([2, 3])),
        "hyper_parameters": {"dtype": torch.bfloat16, "device": torch.device("cuda", 1)},
        "milestones": Counter([5, 5, 9]),
        "extra": parameter,
        "rng": torch.get_rng_state(),
        "epoch": 3,
    }
    torch.save(content, tmp_path / "last.ckpt")
    chosen = import_checkpoint(tmp_path / "last.ckpt", tmp_path / "out", "pft", 4).chosen
    assert (
        chosen.summary == "weights: the average, 'ema'; not 'model.module' (--weights model.module)"
    )
    ours = pf.load_model(tmp_path / "out").state_dict()
    assert all(tensor.equal(AVERAGE[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_the_content_says_what_a_file_is(tmp_path, ending, form):
    file = tmp_path / f"x{ending}"
    torch.save(RAW, file) if form == "torch" else save_file(RAW, file)
    assert import_checkpoint(file, tmp_path / "out", "pft", 4).model.sizes["depth"] == 1


def test_an_error_names_the_file_and_the_place_of_the_weights(tmp_path):
    broken = {name: tensor for name, tensor in RAW.items() if name != "blocks.0.mlp.fc1.bias"}
    torch.save({"model": RAW, "ema": under("module.", broken)}, tmp_path / "x.pt")
    with pytest.raises(pf.UserError) as error:
        import_checkpoint(tmp_path / "x.pt", tmp_path / "out", "pft", 4)
    assert str(error.value) == (
        f"{tmp_path}/x.pt, weights 'ema.module': lacks the tensor 'blocks.0.mlp.fc1.bias': give a "
        "checkpoint of PFT, SiT, Self-Flow or DiT, whole"
    )
    assert not (tmp_path / "out").exists()


def test_one_part_of_several_is_called_so(tmp_path):
    file = tmp_path / "model-00001-of-00002.safetensors"
    save_file({name: RAW[name] for name in ("pos_embed", "x_embedder.proj.weight")}, file)
    with pytest.raises(
        pf.UserError, match=r"lacks the tensor .*; it is one of several parts: join"
    ):
        import_checkpoint(file, tmp_path / "out", "pft", 4)

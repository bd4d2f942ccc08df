"""Autoencoders: diffusers' own classes in miniature, with random weights, in folders."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load, save_file

import patch_forcing as pf
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.codecs.from_diffusers import CONFIG, WEIGHTS
from patch_forcing.models.latent_scale import normalised, raw
from tests.support.autoencoders import small_deep_compression, small_flux2, small_kl, small_tiny

MAKERS = {
    "kl": (small_kl, 4, 8),
    "flux2": (small_flux2, 32, 8),
    "dc": (small_deep_compression, 8, 32),
    "tiny": (small_tiny, 4, 8),
}


def weights_of(folder):
    """Not mapped from their file, which is written anew."""
    return load((folder / WEIGHTS).read_bytes())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("autoencoders")
    return {name: maker(root / name) for name, (maker, _, _) in MAKERS.items()}


@pytest.fixture
def copy(folders, tmp_path):
    """A copy of the KL one, to break."""
    return shutil.copytree(folders["kl"], tmp_path / "copy")


def edit(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize("name", MAKERS)
def test_shapes_and_identity_are_those_of_the_class(folders, name):
    _, channels, factor = MAKERS[name]
    autoencoder = load_autoencoder(folders[name])
    space = autoencoder.space
    assert (space.channels, space.factor, space.name) == (channels, factor, str(folders[name]))
    mean, logvar = autoencoder.encode(torch.rand(2, 3, 64, 128) * 2 - 1)
    assert mean.shape == (2, channels, 64 // factor, 128 // factor)
    assert (logvar is None) == (name in ("dc", "tiny"))
    images = autoencoder.decode(mean)
    assert images.shape == (2, 3, 64, 128)
    assert not images.requires_grad


def test_the_posterior_is_the_one_that_diffusers_gives(folders):
    from diffusers import AutoencoderKL

    theirs = AutoencoderKL.from_pretrained(folders["kl"], low_cpu_mem_usage=False).eval()
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        posterior = theirs.encode(images).latent_dist
    ours = load_autoencoder(folders["kl"]).encode(images)
    torch.testing.assert_close(ours.mean, posterior.mean)
    torch.testing.assert_close(ours.logvar, posterior.logvar)


def test_stable_diffusions_scale_is_known_where_its_config_is_too_old_to_say(copy):
    edit(copy, lambda config: [config.pop(k) for k in ("scaling_factor", "shift_factor")])
    space = load_autoencoder(copy).space
    assert (space.scale, space.shift) == ((0.18215,), (0.0,))


def test_tensors_with_the_names_of_older_files_are_read(folders, copy):
    """As those of sd-vae-ft-ema are."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = weights_of(copy)
    renamed = {}
    for name, tensor in weights.items():
        for new, before in old.items():
            name = name.replace(new, before) if "attentions" in name else name
        renamed[name] = tensor
    assert renamed.keys() != weights.keys()
    save_file(renamed, copy / WEIGHTS)
    images = torch.rand(1, 3, 16, 16)
    ours, theirs = load_autoencoder(copy), load_autoencoder(folders["kl"])
    assert torch.equal(ours.encode(images).mean, theirs.encode(images).mean)


def test_flux2_is_normalised_as_its_pipeline_does(folders):
    """2×2 cells as one, whitened by the batch norm itself."""
    from diffusers import AutoencoderKLFlux2

    norm = AutoencoderKLFlux2.from_pretrained(folders["flux2"], low_cpu_mem_usage=False).eval().bn
    space = load_autoencoder(folders["flux2"]).space
    z = torch.randn(2, 32, 4, 6)
    tiles = z.view(2, 32, 2, 2, 3, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 128, 2, 3)
    with torch.no_grad():
        whitened = norm(tiles)
    cells = whitened.view(2, 32, 2, 2, 2, 3).permute(0, 1, 4, 2, 5, 3).reshape(2, 32, 4, 6)
    torch.testing.assert_close(normalised(space, z), cells)
    torch.testing.assert_close(raw(space, normalised(space, z)), z)
    with pytest.raises(pf.UserError, match="choose sizes that 16 divides"):
        normalised(space, z[..., :3])


def test_channelwise_statistics_of_a_config_are_used(copy):
    edit(copy, lambda config: config.update(latents_mean=[1, 2, 3, 4], latents_std=[1, 2, 4, 8]))
    space = load_autoencoder(copy).space
    z = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert torch.equal(normalised(space, z), torch.zeros(1, 4, 2, 2))
    steps = normalised(space, z + 1)[0, :, 0, 0] / 0.18215
    torch.testing.assert_close(steps, torch.tensor([1, 0.5, 0.25, 0.125]))


def test_pixels_are_their_own_latents():
    pixels = load_autoencoder("pixels")
    images = torch.rand(1, 3, 5, 7)
    mean, logvar = pixels.encode(images)
    assert torch.equal(pixels.decode(raw(pixels.space, normalised(pixels.space, mean))), images)
    assert logvar is None


def test_the_hash_is_shared_by_copies_and_other_decoders_and_by_nothing_else(folders, copy):
    first = load_autoencoder(folders["kl"]).space
    weights = weights_of(copy)
    save_file(dict(reversed(weights.items())), copy / WEIGHTS, metadata={"written": "again"})
    edit(copy, lambda config: config.update(_diffusers_version="0.0.1"))
    same = load_autoencoder(copy).space
    assert same.hash == first.hash
    assert first.mismatch(same) is None
    for name in weights:
        if name.startswith(("decoder.", "post_quant_conv.")):
            weights[name] = weights[name] + 2**-20
    save_file(weights, copy / WEIGHTS)
    assert first.mismatch(load_autoencoder(copy).space) is None  # another decoder
    name = next(name for name in weights if name.startswith("encoder."))
    weights[name] = weights[name] + 2**-20
    save_file(weights, copy / WEIGHTS)
    other = load_autoencoder(copy).space
    assert other.hash != first.hash
    assert first.mismatch(other).startswith("hash ")
    edit(copy, lambda config: config.update(scaling_factor=0.13))
    assert load_autoencoder(copy).space.hash not in (first.hash, other.hash)


def drop_tensor(folder):
    weights = weights_of(folder)
    weights.pop("quant_conv.weight")
    save_file(weights, folder / WEIGHTS)


def add_tensor(folder):
    weights = weights_of(folder)
    save_file({**weights, "extra": torch.zeros(1)}, folder / WEIGHTS)


def poison(folder):
    weights = weights_of(folder)
    weights["quant_conv.weight"][0] = torch.nan
    save_file(weights, folder / WEIGHTS)


BROKEN = {
    "no config": (lambda f: (f / CONFIG).unlink(), "config.json cannot be read"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "is missing, and no other file is read"),
    "no JSON": (lambda f: (f / CONFIG).write_text("{"), "not an autoencoder's config"),
    "a list": (lambda f: (f / CONFIG).write_text("[]"), "not an autoencoder's config"),
    "another class": (
        lambda f: edit(f, lambda c: c.update(_class_name="UNet2DModel")),
        "unknown class in .*'UNet2DModel'",
    ),
    "another class's config": (
        lambda f: edit(f, lambda c: c.update(_class_name="AutoencoderDC")),
        "cannot be loaded as AutoencoderDC|tensor",
    ),
    "other sizes": (lambda f: edit(f, lambda c: c.update(latent_channels=8)), "cannot be loaded"),
    "cut short": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-10]),
        "cannot be loaded",
    ),
    "a tensor short": (drop_tensor, "lacks the tensor 'quant_conv.weight'"),
    "a tensor too many": (add_tensor, "another network, 'extra'"),
    "not finite": (poison, "'quant_conv.weight' holds NaN"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_an_autoencoder_is_one_line(copy, what):
    damage, message = BROKEN[what]
    damage(copy)
    with pytest.raises(pf.UserError, match=message) as error:
        load_autoencoder(copy)
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)


def test_names_that_mean_nothing(tmp_path, monkeypatch, folders):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(pf.UserError, match=r"did you mean 'sd-vae-ft-ema'\?"):
        load_autoencoder("sd-vae-ft-mea")
    with pytest.raises(pf.UserError, match="is not there: give the folder"):
        load_autoencoder(tmp_path / "nothing")
    (tmp_path / "pipeline").mkdir()
    shutil.copytree(folders["kl"], tmp_path / "pipeline" / "vae")
    with pytest.raises(pf.UserError, match=r"whole pipeline: give its autoencoder, .*/vae"):
        load_autoencoder(tmp_path / "pipeline")
    with pytest.raises(pf.UserError, match=r"is a file"):
        load_autoencoder(folders["kl"] / CONFIG)
    assert load_autoencoder(tmp_path / "pipeline" / "vae").space.factor == 8

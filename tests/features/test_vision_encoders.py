"""Frozen encoders: of modules, of transformers' and timm's real classes with random weights."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import patch_forcing as pf
from patch_forcing.features.encoder_folders import timm_encoder, transformers_encoder
from patch_forcing.features.find import find_encoder
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.features.network import MapNetwork

IMAGES = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Conv(nn.Module):
    """A map, or tokens behind some others."""

    def __init__(self, front: int | None = None):
        super().__init__()
        self.conv, self.front = nn.Conv2d(3, 7, 4, stride=4), front

    def forward(self, x):
        result = self.conv(x)
        if self.front is None:
            return result
        tokens = result.flatten(2).mT
        return torch.cat([torch.full((len(x), self.front, 7), torch.nan), tokens], dim=1)


def test_maps_and_tokens_are_the_same_features():
    module = Conv()
    values, grid = ModuleEncoder(module, "conv").feature_map(IMAGES, (2, 2))
    assert grid == (5, 6)
    with torch.no_grad():
        assert values.equal(module.conv(IMAGES).flatten(2).mT)
    for front in (0, 1, 5):
        tokens = Conv(front)
        tokens.load_state_dict(module.state_dict())
        result = ModuleEncoder(tokens, "tokens", patch=4, size=(20, 24)).feature_map(IMAGES, (2, 2))
        assert result.grid == (5, 6)
        assert result.values.equal(values)


def test_images_are_scaled_to_where_the_grid_is_the_wanted_one_and_normalised():
    seen = []

    def read(x):
        seen.append(x)
        return torch.zeros(len(x), 1 + (x.shape[2] // 4) * (x.shape[3] // 4), 7)

    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    encoder = ModuleEncoder(Conv(), "conv", patch=4, mean=mean, std=std, read=read)
    assert encoder.feature_map(IMAGES, (5, 6)).grid == (5, 6)
    expected = ((IMAGES + 1) / 2 - torch.tensor(mean)[:, None, None]) / (
        torch.tensor(std)[:, None, None]
    )
    torch.testing.assert_close(seen[0], expected)
    assert encoder.feature_map(IMAGES, (3, 8)).grid == (3, 8)
    assert seen[1].shape == (2, 3, 12, 32)


def test_a_module_is_frozen():
    module = Conv().train()
    encoder = ModuleEncoder(module, "conv")
    assert isinstance(encoder, MapNetwork)
    assert not module.training
    assert not encoder.feature_map(IMAGES.requires_grad_(), (1, 1)).values.requires_grad
    assert not any(weight.requires_grad for weight in module.parameters())


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda x: x.mean((2, 3)), r"mine gives \(2, 3\): an encoder gives"),
        (lambda x: {"a": x}, "mine gives dict: an encoder gives"),
        (lambda x: x[:, :, 0, :3], "mine gives 3 tokens for 5×6 patches"),
    ],
)
def test_a_module_that_gives_no_features_of_patches_is_refused(read, message):
    with pytest.raises(pf.UserError, match=message):
        ModuleEncoder(Conv(), "mine", patch=4, size=(20, 24), read=read).feature_map(IMAGES, (1, 1))


def test_vectors_are_the_mean_of_the_map_or_what_pools_them():
    module = Conv()
    encoder = ModuleEncoder(module, "conv")
    assert encoder.size is None
    values, _ = encoder.feature_map(IMAGES, (1, 1))
    assert encoder.features(IMAGES).equal(values.mean(1))
    pooled = ModuleEncoder(module, "conv", pool=lambda x: x[:, :, 3, 5])
    torch.testing.assert_close(pooled.features(IMAGES), IMAGES[:, :, 3, 5])
    with pytest.raises(pf.UserError, match=r"mine gives \(2, 3, 20, 24\): vectors of images are"):
        ModuleEncoder(module, "mine", pool=lambda x: x).features(IMAGES)


def test_vectors_are_of_images_of_the_size_that_a_network_names():
    seen = []

    def pool(x):
        seen.append(tuple(x.shape[2:]))
        return x.mean((2, 3))

    for options, size in (({"patch": 14}, 224), ({"patch": 16}, 224), ({"size": (32, 32)}, 32)):
        encoder = ModuleEncoder(Conv(), "conv", pool=pool, **options)
        encoder.features(IMAGES)
        assert encoder.size == seen[-1] == (size, size)


def folder_of(path, config, network):
    """As save_pretrained writes it, which leaves a file open."""
    path.mkdir()
    (path / "config.json").write_text(config)
    state = {name: weight.contiguous() for name, weight in network.state_dict().items()}
    save_file(state, path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """DINOv2's class, tiny; the network itself, and its folder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    network = transformers.Dinov2Model(config).eval()
    path = tmp_path_factory.mktemp("dino") / "tiny"
    return network, folder_of(path, config.to_json_string(), network)


def test_dinov2_gives_its_patch_tokens_of_imagenet_colours(dino):
    network, folder = dino
    encoder = find_encoder(str(folder))
    values, grid = encoder.feature_map(IMAGES, (4, 5))
    assert grid == (4, 5)
    x = nn.functional.interpolate(IMAGES, (56, 70), mode="bicubic", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        seen = network(((x + 1) / 2 - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(values, seen.last_hidden_state[:, 1:])
    x = nn.functional.interpolate(IMAGES, (224, 224), mode="bicubic", antialias=True)
    with torch.no_grad():  # the vector of an image is its class token
        seen = network(((x + 1) / 2 - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(encoder.features(IMAGES), seen.last_hidden_state[:, 0])


def test_the_identity_follows_the_files_and_the_preprocessor_is_heard(dino, tmp_path):
    network, folder = dino
    first = transformers_encoder("tiny", folder)
    assert first.name == transformers_encoder("tiny", folder).name
    other = folder_of(tmp_path / "tiny", (folder / "config.json").read_text(), network)
    assert transformers_encoder("tiny", other).name == first.name
    reports = json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})
    (other / "preprocessor_config.json").write_text(reports)
    changed = transformers_encoder("tiny", other)
    assert changed.name != first.name
    assert not changed.feature_map(IMAGES, (2, 2)).values.allclose(
        first.feature_map(IMAGES, (2, 2)).values
    )


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "is no encoder's"),
        (lambda f: (f / "config.json").write_text("{"), "is no encoder's"),
        (lambda f: (f / "config.json").write_text("{}"), "names no model_type"),
        (lambda f: (f / "config.json").write_text('{"architecture": "x"}'), "write timm:"),
        (lambda f: (f / "config.json").write_text('{"model_type": "x"}'), "cannot be loaded"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"1"), "cannot be loaded"),
        (lambda f: save_file({}, f / "model.safetensors"), "lacks the tensor"),
        (
            lambda f: (f / "preprocessor_config.json").write_text('{"image_mean": [1, "a"]}'),
            "no mean or deviation",
        ),
    ],
)
def test_a_folder_that_holds_no_encoder_is_refused_in_one_line(dino, tmp_path, break_, message):
    network, folder = dino
    broken = folder_of(tmp_path / "tiny", (folder / "config.json").read_text(), network)
    break_(broken)
    with pytest.raises(pf.UserError, match=message) as error:
        transformers_encoder("tiny", broken)
    assert len(str(error.value).splitlines()) == 1


def test_pickles_beside_the_weights_are_not_looked_at(dino, tmp_path):
    network, folder = dino
    other = folder_of(tmp_path / "tiny", (folder / "config.json").read_text(), network)
    (other / "model.safetensors").unlink()
    (other / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(pf.UserError, match=r"model\.safetensors is missing, and no other file"):
        transformers_encoder("tiny", other)


def test_another_models_class_and_size_of_images(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
    )
    folder = folder_of(tmp_path / "vit", config.to_json_string(), transformers.ViTModel(config))
    assert find_encoder(str(folder)).feature_map(IMAGES, (3, 5)).grid == (3, 5)
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 8], depths=[1, 1], num_stages=2, image_size=32
    )
    network = transformers.ConvNextModel(config)
    folder = folder_of(tmp_path / "conv", config.to_json_string(), network)
    values, grid = find_encoder(str(folder)).feature_map(IMAGES, (3, 5))
    assert (grid, values.shape) == ((4, 4), (2, 16, 8))
    assert find_encoder(str(folder)).features(IMAGES).shape == (2, 8)


def test_timms_classes(tmp_path):
    timm = pytest.importorskip("timm")
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "img_size": 32}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes).eval()
    config = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": sizes,
        "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 32, 32]},
    }
    folder = folder_of(tmp_path / "vit", json.dumps(config), network)
    encoder = find_encoder(f"timm:{folder}")
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    values, grid = encoder.feature_map(image, (2, 2))
    assert grid == (2, 2)
    with torch.no_grad():
        torch.testing.assert_close(values, network.forward_features(image)[:, 1:])
    assert encoder.feature_map(image, (3, 5)).grid == (3, 5)
    assert encoder.features(image).shape == (1, 16)
    network = timm.create_model("resnet18", num_classes=0)
    config = {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 64, 64]}}
    folder = folder_of(tmp_path / "conv", json.dumps(config), network)
    encoder = timm_encoder("timm", folder)
    assert encoder.feature_map(image, (2, 2)).grid == (2, 2)
    assert encoder.features(image).shape == (1, 512)
    (folder / "config.json").write_text('{"architecture": "resnet19"}')
    with pytest.raises(pf.UserError, match=r"unknown timm architecture .* did you mean 'resnet18"):
        timm_encoder("timm", folder)
    with pytest.raises(pf.UserError, match="unknown timm model 'resnet19'"):
        find_encoder("timm:resnet19")

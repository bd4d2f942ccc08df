"""What is missing is named before torch is loaded, where nobody names a network too."""

import sys

import pytest

import patch_forcing as pf
from patch_forcing.features.names import check_features, emoji_classes
from patch_forcing.models.config import DataInfo
from patch_forcing.scoring.places import check_networks, check_train
from tests.support.exact import tiny_dit


@pytest.fixture
def bare(monkeypatch):
    """As if no package of feature networks were installed."""
    for package in ("efficientnet_lite_pytorch", "torch_fidelity", "transformers", "timm"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.usefixtures("bare")
def test_a_model_of_no_emoji_takes_a_network_that_is_there(tmp_path):
    with pytest.raises(pf.UserError, match=r"no network to measure by: pip .*\[evaluate\]"):
        check_networks("digits", str(tmp_path))
    check_networks("emoji-64", str(tmp_path))  # by the network that is bundled
    check_networks("digits", "emoji")
    check_networks("digits", "statistics.npz")
    check_networks(tmp_path, str(tmp_path))  # of images that are there, classes are not known yet
    network = tiny_dit()
    network.data_info = DataInfo(class_names=("photo", *sorted(emoji_classes())[:1]))
    network.save(tmp_path / "model")
    check_networks(tmp_path / "model", str(tmp_path))  # its samples may be emoji alone


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite0", r"needs efficientnet-lite-pytorch: pip .*\[evaluate\]"),
        ("inception", r"needs torch-fidelity: pip .*\[inception\]"),
        ("dinov2-l", r"needs transformers: pip .*\[alignment\]"),
        ("timm:resnet18", r"needs timm: pip .*\[alignment\]"),
        ("incepton", "unknown features 'incepton': did you mean 'inception'"),
        ("~nobody-of-this-name/x", "no such user"),
    ],
)
def test_a_network_that_cannot_be_had_is_named(name, message):
    with pytest.raises(pf.UserError, match=message):
        check_features(name)


def test_names_of_networks_that_may_be_there(tmp_path):
    check_features("emoji")
    check_features("owner/name")
    check_features(str(tmp_path))


def test_training_images_lie_in_a_folder(tmp_path):
    check_train(tmp_path)
    with pytest.raises(pf.UserError, match="nowhere is not there: give a folder"):
        check_train(tmp_path / "nowhere")

"""What a network sees of latents, and whose they are."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.models.config import DataInfo
from patch_forcing.models.latent_scale import normalised, raw
from patch_forcing.models.latent_space import LatentSpace

POSITIVE = st.floats(0.01, 100)


@given(st.integers(1, 3), st.sampled_from([1, 2, 3]), st.data())
def test_what_is_normalised_comes_back(channels, side, data):
    count = data.draw(st.sampled_from([1, channels * side**2]))
    numbers = st.lists(POSITIVE, min_size=count, max_size=count).map(tuple)
    scale, shift = data.draw(numbers), data.draw(numbers)
    space = LatentSpace("x", "X", "", channels, 8, scale, shift)
    z = torch.randn(2, channels, 2 * side, side)
    torch.testing.assert_close(raw(space, normalised(space, z)), z, atol=2e-4, rtol=1e-4)
    both = [((z[0, 0, 0, 0] - shift[0]) * scale[0]), normalised(space, z)[0, 0, 0, 0]]
    torch.testing.assert_close(*both, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels=0"),
        ({"factor": True}, "factor=True"),
        ({"scale": (0.0,)}, "scale="),
        ({"scale": (1.0, 2.0)}, "2 numbers as scale for 4 channels"),
        ({"shift": (1.0,) * 8}, "8 numbers as shift for 4 channels"),
        ({"shift": (float("nan"),)}, "finite"),
    ],
)
def test_what_does_not_fit_is_an_error(change, message):
    with pytest.raises(pf.UserError, match=message):
        LatentSpace(**{"name": "x", "kind": "X", "hash": "", "channels": 4, "factor": 8, **change})


def test_a_name_is_no_identity_and_an_unknown_hash_matches_any():
    one = LatentSpace("here", "X", "abc", 4, 8)
    assert one.mismatch(LatentSpace("there", "X", "abc", 4, 8)) is None
    assert one.mismatch(LatentSpace("here", "X", "abd", 4, 8)) == "hash abd, not abc"
    assert LatentSpace("here", "X", "", 4, 8).mismatch(one) is None
    assert one.mismatch(LatentSpace("here", "X", "abc", 4, 8, (2.0,))) == "scale 2.0, not 1.0"


def test_it_is_stored_with_models_and_checked(tmp_path):
    space = LatentSpace(
        "x", "X", "abc", 4, 8, tuple(i + 0.1 for i in range(16)), (0.1, 0.2, 0.3, 0)
    )
    info = DataInfo.of_latents(space, ("a", "b"))
    sizes = {"input_size": 4, "hidden_size": 16, "depth": 1, "num_heads": 1}
    model = pf.PatchDiT(pf.PatchDiTConfig(**sizes, num_classes=2), info)
    model.save(tmp_path / "model")
    assert pf.load_model(tmp_path / "model").data_info == info
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    for damage in ({"channels": 3}, {"scale": [1, 2]}, {"scale": None}, {"more": 1}):
        broken = {**config["data"]["autoencoder"], **damage}
        file.write_text(json.dumps({**config, "data": {**config["data"], "autoencoder": broken}}))
        with pytest.raises(pf.UserError, match=r"config\.json"):
            pf.load_model(tmp_path / "model")
    with pytest.raises(pf.UserError, match="3 channels for latents of 4"):
        pf.PatchDiT(pf.PatchDiTConfig(**sizes, in_channels=3), DataInfo.of_latents(space))
    with pytest.raises(pf.UserError, match=r"latent_scale=1.0 for an autoencoder of scale 2.0"):
        DataInfo(autoencoder=LatentSpace("x", "X", "", 4, 8, (2.0,)))

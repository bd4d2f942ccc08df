"""Sizes: what is allowed, what is derived, and the field's presets."""

import pytest

import patch_forcing as pf


def test_derived_sizes_of_a_square_and_an_oblong():
    square = pf.PatchDiTConfig(32, patch_size=2)
    assert (square.image_size, square.grid, square.num_patches) == ((32, 32), (16, 16), 256)
    oblong = pf.PatchDiTConfig((8, 24), patch_size=4)
    assert (oblong.image_size, oblong.grid, oblong.num_patches) == ((8, 24), (2, 6), 12)


@pytest.mark.parametrize("name", ["patch_size", "in_channels", "hidden_size", "depth", "num_heads"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_below_one_are_refused_by_name(name, value):
    with pytest.raises(pf.UserError, match=f"{name}={value}"):
        pf.PatchDiTConfig(32, **{name: value})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_classes": -1}, "num_classes=-1"),
        ({"hidden_size": 40, "num_heads": 6}, "hidden_size=40 is not divisible by num_heads=6"),
        ({"hidden_size": 42, "num_heads": 6}, "hidden_size=42 is not divisible by 4"),
        ({"input_size": 33}, "33x33 is not divisible by patch size 2"),
        ({"input_size": (32, 30), "patch_size": 4}, "32x30 is not divisible by patch size 4"),
        ({"input_size": 0}, "0x0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(pf.UserError, match=message):
        pf.PatchDiTConfig(**{"input_size": 32, **sizes})


@pytest.mark.parametrize(
    ("name", "depth", "hidden_size", "num_heads"),
    [("S/2", 12, 384, 6), ("B/4", 12, 768, 12), ("L/8", 24, 1024, 16), ("XL/2", 28, 1152, 16)],
)
def test_presets_hold_the_published_sizes(name, depth, hidden_size, num_heads):
    expected = pf.PatchDiTConfig(
        input_size=32,
        patch_size=int(name[-1]),
        in_channels=4,
        depth=depth,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_classes=1000,
        predict_difficulty=True,
    )
    assert pf.preset(name) == expected


def test_a_preset_takes_the_other_sizes():
    config = pf.preset("S/2", input_size=(16, 8), in_channels=1, num_classes=0)
    assert (config.image_size, config.in_channels, config.num_classes) == ((16, 8), 1, 0)
    assert (config.depth, config.hidden_size) == (12, 384)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("XL", "XL/2"), ("XL-2", "XL/2"), ("XXL/2", "XL/2"), ("B2", "B/2"), ("b/2", "B/2")],
)
def test_an_unknown_preset_names_the_nearest(name, nearest):
    with pytest.raises(pf.UserError, match=f"did you mean '{nearest}'"):
        pf.preset(name)


def test_a_preset_far_from_all_lists_them():
    with pytest.raises(pf.UserError, match="known: B/2, L/2, S/2, XL/2"):
        pf.preset("huge")

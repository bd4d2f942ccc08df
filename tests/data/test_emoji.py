"""Scenes are functions of (seed, id), and every pixel is the exact mean of what lies on it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import EmojiScenes, gradient
from patch_forcing.data.source import DataSource
from patch_forcing.data.sources import EmojiSource
from tests.support.emoji_font import tiny_atlas, write_atlas

SEEDS = st.integers(0, 2**63 - 1)
CLEAR, WHITE, BLACK = (255, 255, 255, 0), (255, 255, 255, 255), (0, 0, 0, 255)
SHAPES = EmojiScenes(tiny_atlas(), 16)


def scenes(*tiles, size=64, count=100, seed=0):
    """The first scenes of an atlas of whole colours, (count, 3, size, size)."""
    return EmojiScenes(tiny_atlas(*tiles), size).scenes(seed, torch.arange(count))[0]


# Functions of (seed, id)


@given(SEEDS, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.data())
def test_a_scene_does_not_depend_on_the_batch_around_it(seed, ids, data):
    ids = torch.tensor(ids)
    whole, emoji = SHAPES.scenes(seed, ids)
    parts = [
        SHAPES.scenes(seed, subset) for subset in ids.split(data.draw(st.integers(1, len(ids))))
    ]
    images, named = (torch.cat(part) for part in zip(*parts, strict=True))
    # what is drawn is counted, so bit for bit; cosines and matrix products may be computed by other
    # instructions in a batch of another size, and differ in the last bits
    assert named.equal(emoji)
    torch.testing.assert_close(images, whole, rtol=0, atol=1e-6)


def test_batches_of_any_size_show_the_same_scenes_in_turn():
    expected, emoji = SHAPES.scenes(5, torch.arange(24))
    for size in (1, 3, 8, 24):
        batches = [SHAPES.batch(BatchSpec(step, size, 5)) for step in range(24 // size)]
        images = torch.cat([batch.x_1 for batch in batches])
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
        assert torch.cat([b.condition for b in batches]).equal(SHAPES.atlas.labels[emoji])


def test_ranks_share_the_scenes_of_a_batch():
    whole = SHAPES.batch(BatchSpec(3, 8, 5))
    parts = [SHAPES.batch(BatchSpec(3, 8, 5).share(rank, 3)) for rank in range(3)]
    assert SHAPES.sample_names(BatchSpec(3, 8, 5)) == [str(number) for number in range(24, 32)]
    assert torch.cat([part.condition for part in parts]).equal(whole.condition)
    images = torch.cat([part.x_1 for part in parts])
    torch.testing.assert_close(images, whole.x_1, rtol=0, atol=1e-6)


def test_other_seeds_and_ids_are_other_scenes():
    images = [scenes(size=16, count=20, seed=seed) for seed in (0, 1, 2**32)]
    every = torch.cat(images).flatten(1)
    assert torch.pdist(every).min() > 0.1


def test_the_label_is_the_subgroup_of_the_emoji_that_is_shown():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])
    source = EmojiScenes(tiny_atlas(*[(*colour, 255) for colour in colours.tolist()]), 16)
    images, condition, *_ = source.batch(BatchSpec(0, 100, 2))
    wanted = colours.float() / 127.5 - 1
    away = (images[:, None] - wanted[:, :, None, None]).abs().amax(2)  # (B, 5, H, W)
    shown = (away < 1e-4).sum((2, 3))  # pixels of each emoji's colour
    assert (shown.sum(1) == shown.max(1).values).all()
    assert (shown.max(1).values >= 25).all()
    assert condition.equal(shown.argmax(1) % 2)  # the subgroups take turns
    assert condition.equal(source.atlas.labels[shown.argmax(1)])
    assert source.info.class_names == ("a", "b")
    assert source.num_classes == 2


def test_every_emoji_is_as_likely():
    source = EmojiScenes(tiny_atlas(*[(n, n, n, 255) for n in range(7)]), 16)
    counts = torch.zeros(7)
    for ids in torch.arange(1400).split(100):
        counts += torch.bincount(source.scenes(0, ids)[1], minlength=7)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("tile", "end"), [(BLACK, -1), (WHITE, 1)])
@pytest.mark.parametrize(("size", "count"), [(16, 64), (64, 16), (300, 4)])
def test_scenes_lie_between_minus_one_and_one(size, count, tile, end):
    images = scenes(tile, size=size, count=count)
    assert images.shape == (count, 3, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert (images - end).abs().amin((1, 2, 3)).max() < 1e-3  # every emoji shows


# The gradient

ANGLES, COLOURS = st.floats(0, 1), st.lists(st.floats(0, 1), min_size=3, max_size=3)


@given(st.integers(2, 40), ANGLES, COLOURS, COLOURS)
def test_the_gradient_runs_straight_from_one_colour_to_the_other(size, angle, first, last):
    first, last = torch.tensor([first]).double(), torch.tensor([last]).double()
    result = gradient((size, size), torch.tensor([angle]).double(), first, last)[0].numpy()
    cos, sin = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
    places = (np.arange(size) + 0.5) / size
    # the corner that lies furthest back, and the one furthest ahead, have the colours themselves
    back = np.array([cos < 0, sin < 0], dtype=float)
    full = np.array([cos, sin]) @ (1 - 2 * back)
    along = cos * (places[None, :] - back[0]) + sin * (places[:, None] - back[1])
    share = (along / full)[None]
    assert share.min() > 0
    assert share.max() < 1
    f, l = (colour[0].numpy()[:, None, None] for colour in (first, last))  # noqa: E741
    np.testing.assert_allclose(result, f + (l - f) * share, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("angle", "axis"), [(0, 2), (0.25, 1)])
def test_an_angle_of_no_turn_is_to_the_right_and_a_quarter_is_down(angle, axis):
    first, last = torch.zeros(1, 3), torch.ones(1, 3)
    result = gradient((4, 4), torch.tensor([float(angle)]), first, last)[0]
    steps = torch.tensor([1, 3, 5, 7]) / 8
    expected = steps.view(1, 1, 4) if axis == 2 else steps.view(1, 4, 1)
    torch.testing.assert_close(result, expected.expand(3, 4, 4), rtol=0, atol=1e-6)


def planes(images):
    """Value at the centre, slopes across and down (B, 3), and the largest distance from a plane."""
    places = (torch.arange(images.shape[-1]).double() + 0.5) / images.shape[-1] - 0.5
    y, x = torch.meshgrid(places, places, indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y]).flatten(1).T  # (H·W, 3)
    values = images.double().flatten(2).permute(2, 0, 1).flatten(1)
    fit = torch.linalg.lstsq(basis, values)[0]
    off = (basis @ fit - values).abs().max()
    return [part.view(len(images), 3) for part in fit], float(off)


def test_a_clear_tile_leaves_the_gradient():
    images = scenes(CLEAR, size=16, count=400)
    (centre, across, down), off = planes(images)
    assert off < 1e-5
    # all channels change along one direction, and directions are uniform
    determinant = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    assert determinant.abs().max() < 1e-5
    strongest = across.square().add(down.square()).argmax(1, keepdim=True)
    angle = torch.atan2(down.gather(1, strongest), across.gather(1, strongest)) % math.pi
    assert stats.kstest(angle[:, 0].numpy(), stats.uniform(0, math.pi).cdf).pvalue > 1e-3
    # from the centre to either end: two colours, all numbers uniform and each on its own
    half = (across * angle.cos() + down * angle.sin()) * (angle.cos().abs() + angle.sin()) / 2
    numbers = torch.cat([centre - half, centre + half, angle], dim=1).T.numpy()
    for number in numbers[:6]:
        assert stats.kstest(number, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    correlations = np.corrcoef(numbers)[np.triu_indices(7, 1)]
    assert (np.abs(correlations) * math.sqrt(len(images)) < 4.5).all()


# The emoji on it


def test_an_opaque_tile_is_its_colour_inside_and_the_background_outside():
    size, colour = 64, (200, 0, 90)
    placed, background = scenes((*colour, 255)), scenes(CLEAR)
    wanted = (torch.tensor(colour) / 127.5 - 1)[:, None, None]
    inside = ((placed - wanted).abs() < 3e-5).all(1)  # (B, H, W)
    outside = (placed == background).all(1)
    for filled, rest in zip(inside, outside, strict=True):
        ys, xs = (filled.any(axis).nonzero()[:, 0] for axis in (1, 0))
        top, bottom, left, right = ys[0], ys[-1], xs[0], xs[-1]
        assert filled[top + 1 : bottom, left + 1 : right].all()
        assert abs((bottom - top) - (right - left)) <= 1
        assert 0.45 * size - 3 <= bottom - top + 1 <= 0.9 * size
        # around it, pixels that the edge crosses, and then nothing but background
        edge = torch.ones_like(rest)
        edge[max(top - 2, 0) : bottom + 3, max(left - 2, 0) : right + 3] = False
        assert rest[edge].all()


def test_size_and_place_are_uniform_and_the_area_is_the_square_of_the_size():
    size, count = 64, 400
    share = (scenes(WHITE, count=count) - scenes(BLACK, count=count)).double()[:, 0] / 2
    area = share.mean((1, 2))
    # the outer half of the edge cells is cut off where an emoji touches the border
    scale = area.sqrt()
    assert stats.kstest(scale, stats.uniform(0.45, 0.45).cdf).pvalue > 1e-3
    assert scale.min() == pytest.approx(0.45, abs=5e-3)
    assert scale.max() == pytest.approx(0.9, abs=5e-3)
    expected = (0.9**3 - 0.45**3) / (3 * 0.45)  # E[scale²]
    assert abs(area.mean() - expected) < 4.5 * area.std() / math.sqrt(count)
    places = (torch.arange(size) + 0.5) / size
    corners = []
    for axis in (1, 2):
        centre = (share.sum(3 - axis) * places).sum(1) / share.sum((1, 2))
        corners.append(((centre - scale / 2) / (1 - scale)).numpy())
        assert stats.kstest(corners[-1], "uniform").pvalue > 1e-3
    for a, b in ((*corners,), (corners[0], scale), (corners[1], scale)):
        assert stats.pearsonr(a, b).pvalue > 1e-3
    # width and height agree with the area: a square
    across = share.sum(2).max(1).values / size
    torch.testing.assert_close(across, scale, rtol=0, atol=5e-3)


def test_the_colour_of_what_is_clear_does_not_show():
    stripes = np.zeros((128, 128, 4), np.uint8)
    stripes[:, ::2] = (0, 255, 0, 0)
    stripes[:, 1::2] = (255, 0, 255, 255)
    hidden = stripes.copy()
    hidden[:, ::2, :3] = (255, 0, 0)
    assert scenes(stripes, count=8).equal(scenes(hidden, count=8))


@pytest.mark.parametrize("share", [1, 64, 128, 254])
def test_a_tile_shows_through_in_proportion(share):
    clear, opaque = scenes(CLEAR, count=8), scenes((240, 10, 128, 255), count=8)
    half = scenes((240, 10, 128, share), count=8)
    expected = clear + (opaque - clear) * (share / 255)
    torch.testing.assert_close(half, expected, rtol=0, atol=1 / 255 + 1e-5)  # rounded colours


def test_a_large_scene_averaged_is_the_small_one():
    atlas = tiny_atlas()
    large, emoji = EmojiScenes(atlas, 128).scenes(9, torch.arange(40))
    small, same = EmojiScenes(atlas, 64).scenes(9, torch.arange(40))
    assert emoji.equal(same)
    away = (F.avg_pool2d(large, 2) - small).abs()
    # only within the pixels of an edge does it matter where background and emoji lie
    assert away.max() < 2 / 128
    assert away.mean() < 1e-4
    clear = F.avg_pool2d(scenes(CLEAR, size=128), 2)
    torch.testing.assert_close(clear, scenes(CLEAR, size=64), rtol=0, atol=1e-5)


# The source


def test_an_atlas_on_disk_opens_as_training_data(tmp_path):
    source = EmojiSource(str(write_atlas(tmp_path / "emoji")), size=24)
    assert isinstance(source, DataSource)
    data = source.open()
    assert isinstance(data, TrainingData)
    assert data.shape == (3, 24, 24)
    assert data.num_classes == 3
    assert data.info.class_names == ("face-smiling", "heart", "country-flag")
    images, labels, *_ = data.batch(BatchSpec(3, 8, 1))
    assert images.shape == (8, 3, 24, 24)
    assert set(labels.tolist()) <= {0, 1, 2}


def test_the_benchmark_is_64_pixels_in_data_emoji():
    assert EmojiSource() == EmojiSource(path="data/emoji", size=64)


@pytest.mark.parametrize("size", [15, 0, -64, 1025])
def test_sizes_out_of_range_are_refused_by_name(size):
    with pytest.raises(UserError, match=rf"data\.size={size} is out of range: choose 16 to 1024"):
        EmojiSource(size=size)


@pytest.mark.parametrize("size", [16, 1024])
def test_the_ends_of_the_range_are_sizes(size):
    assert EmojiSource(size=size).size == size


def test_an_atlas_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(UserError, match="holds no emoji atlas: make it with") as error:
        EmojiSource(str(tmp_path / "nowhere")).open()
    assert str(error.value).endswith(f"patch-forcing data emoji --out {tmp_path / 'nowhere'}")

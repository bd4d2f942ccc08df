"""Pictures show the numbers they are made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.views.film import MAX_FRAMES, film_frames, save_film
from patch_forcing.views.images import FAINT, enlarge, grid_sheet, to_pil
from patch_forcing.views.maps import leads, maps_sheet, time_scale
from patch_forcing.views.scales import DIFFICULTY, TIME, patch_map
from patch_forcing.views.sheets import TILE, framed


def trace(calls=3, batch=2, rows=2, cols=3):
    torch.manual_seed(0)
    shape = (batch, rows * cols)
    return [
        Evaluation(
            k,
            torch.rand(shape),
            torch.rand(shape),
            torch.rand(shape) + 0.1,
            torch.ones(shape, dtype=torch.bool),
            torch.rand(batch, 1, 2 * rows, 2 * cols),
            k + 1.0,
        )
        for k in range(calls)
    ]


def images(count=2):
    return [Image.new("L", (6, 4), 40 * i) for i in range(count)]


def test_grey_and_colour_tensors_become_images():
    grey, colour = torch.randint(256, (1, 4, 6)).byte(), torch.randint(256, (3, 4, 6)).byte()
    assert to_pil(grey).mode == "L"
    assert np.array_equal(np.array(to_pil(grey)), grey[0].numpy())
    assert to_pil(colour).mode == "RGB"
    assert np.array_equal(np.array(to_pil(colour)), colour.permute(1, 2, 0).numpy())


def test_enlarging_repeats_pixels_and_never_shrinks():
    small = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    large = enlarge(small, 18)
    assert large.size == (18, 12)
    assert np.array_equal(np.array(large)[1::3, 1::3, 0], np.array(small))
    assert enlarge(Image.new("L", (200, 100)), 50).size == (200, 100)


def test_maps_are_row_major_and_brighter_where_values_are_larger():
    values = torch.tensor([0.0, 0.5, 1.0, 0.25, 0.75, 2.0])
    for colours in (TIME, DIFFICULTY):
        pixels = np.array(patch_map(values, (2, 3), colours, (0.0, 1.0))).astype(int)
        light = pixels @ np.array([0.299, 0.587, 0.114])
        assert light.shape == (2, 3)
        order = light.flatten()[[0, 3, 1, 4, 2]]
        assert (np.diff(order) > 0).all()
        assert (pixels[0, 2] == pixels[1, 2]).all()  # values beyond the bounds take the end colour


def test_a_constant_map_does_not_divide_by_zero():
    pixels = np.array(patch_map(torch.ones(4), (2, 2), TIME, (1.0, 1.0)))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 1


def test_lead_is_relative_to_the_image():
    record = trace(calls=1)[0]
    (lead,) = leads([record])
    torch.testing.assert_close(lead, record.t - record.t.mean(dim=1, keepdim=True))


def test_the_sheet_has_room_for_all_tiles():
    tile = Image.new("RGB", (20, 10), (255, 0, 0))
    sheet = np.array(
        grid_sheet([[tile] * 3, [tile] * 2], captions=[["a"] * 3, ["b"] * 2], title="x")
    )
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 5 * 200


def test_long_captions_are_broken_at_hyphens_and_spaces_to_fit_their_tile():
    tile = Image.new("RGB", (60, 10))
    short = grid_sheet([[tile]], captions=[["arrow"]])
    long = grid_sheet([[tile, tile]], captions=[["hand-single-finger", "arrow"]])
    assert long.height > short.height
    ink = (np.array(long) < 200).any(axis=2)[20:]  # below the tiles
    assert ink.any(axis=1).sum() > 14  # more than one line
    assert not ink[:, :6].any()
    assert not ink[:, 66:72].any()


def test_only_rows_with_captions_make_room_for_them():
    tile = Image.new("RGB", (20, 10))
    one = grid_sheet([[tile], [tile]], captions=[["a"], [""]])
    both = grid_sheet([[tile], [tile]], captions=[["a"], ["b"]])
    assert both.height - one.height == 16


def film(records, final=None):
    final = images() if final is None else final
    return film_frames(final, ["a"] * len(final), records, lambda _: final, patch_size=2)


def level(records):
    """The same evaluations, at one time each."""
    return [replace(record, t=torch.full_like(record.t, k / 4)) for k, record in enumerate(records)]


def test_maps_and_film_cover_every_image_and_evaluation(tmp_path):
    records = trace()
    sheet = maps_sheet(images(), ["a", "b"], records, patch_size=2)
    assert sheet.width > 2 * 96
    frames = film(records)
    assert len({frame.size for frame in frames}) == 1
    save_film(frames, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == len(records) + 1
        assert gif.info["loop"] == 0
        gif.seek(gif.n_frames - 1)
        assert gif.info["duration"] == 2000


def test_a_film_of_patches_apart_leaves_out_the_evaluations_at_which_they_are_level():
    apart, together = trace(), level(trace())
    assert len(film([apart[0], together[1], apart[2]])) == 3
    assert len(film(together)) == 4
    assert len(film(trace(calls=100))) == MAX_FRAMES + 1


def test_a_film_is_made_small_enough_by_leaving_out_frames(tmp_path, monkeypatch):
    frames = film(trace(calls=12))
    save_film(frames, tmp_path / "film.gif")
    size = (tmp_path / "film.gif").stat().st_size
    monkeypatch.setattr("patch_forcing.views.film.MAX_BYTES", size // 2)
    save_film(frames, tmp_path / "small.gif")
    assert (tmp_path / "small.gif").stat().st_size <= size // 2
    with Image.open(tmp_path / "small.gif") as gif:
        assert gif.n_frames > 2


@pytest.mark.parametrize("lead", [0.002, 0.02, 0.2])
def test_a_lead_of_a_hundredth_of_the_greatest_is_still_seen(lead):
    scale = time_scale(torch.tensor([[-0.2, 0.2]]))
    pixels = np.array(scale.draw(torch.tensor([-lead, lead]), (1, 2), (2, 1))).astype(int)
    assert np.abs(pixels[0, 0] - pixels[0, 1]).max() > 16


@pytest.mark.parametrize("side", [8, 64, 400])
def test_a_panel_of_a_film_is_at_least_96_pixels_wide(side):
    square = [Image.new("RGB", (side, side))]
    frames = film(trace(1, 1, side // 2, side // 2), square)
    assert frames[0].width >= 3 * 96


def test_times_that_are_the_same_for_all_patches_have_a_row_too():
    apart = maps_sheet(images(), ["a", "b"], trace(), patch_size=2)
    assert maps_sheet(images(), ["a", "b"], level(trace()), patch_size=2).height == apart.height


def test_a_model_without_difficulty_still_has_pictures():
    records = [replace(record, difficulty=None) for record in trace()]
    whole = maps_sheet(images(), ["a", "b"], trace(), patch_size=2)
    assert maps_sheet(images(), ["a", "b"], records, patch_size=2).height < whole.height
    assert len(film(records)) == 4


@pytest.mark.parametrize("side", [1, 7, 64])
def test_enlarged_tiles_keep_their_shape(side):
    tile = enlarge(Image.new("L", (6, 4)), side)
    assert tile.width * 4 == tile.height * 6


def test_a_white_image_on_paper_has_a_thin_frame():
    tile = framed(Image.new("L", (8, 8), 255))
    assert tile.size == enlarge(Image.new("L", (8, 8)), TILE).size
    assert {tile.getpixel(place) for place in ((0, 0), (5, tile.height - 1))} == {FAINT}
    assert tile.getpixel((1, 1)) == (255, 255, 255)

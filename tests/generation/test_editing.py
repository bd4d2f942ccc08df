"""Masks, canvases and edits of a pipeline, from files and from memory."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.generation.edit_request import EditRequest
from patch_forcing.generation.editing import feathered
from patch_forcing.generation.gallery import sample_rows, write_samples
from tests.support.autoencoders import averaging_pipe

FAST = {"sampler": "euler", "num_steps": 2}


@pytest.fixture(scope="module")
def digits():
    return pf.load("digits")


@pytest.fixture(scope="module")
def three(digits):
    return digits([3], [0], **FAST).images[0]


def half(size: int = 8) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[:, size // 2 :] = True
    return mask


def source(image: Image.Image, **options: object):
    return EditRequest(**options).read(image)


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rows = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(rows).convert(mode)


def test_kept_pixels_are_the_images_own_and_results_differ_by_seed(digits, three):
    result = digits.edit(three, half(), labels=[3, 5], seeds=[4, 9], trace=True, **FAST)
    original, kept = np.array(three), ~half()
    for image in result.images:
        assert (np.array(image)[kept] == original[kept]).all()
    assert not result.pixels[0].equal(result.pixels[1])
    assert result.labels == [3, 5]
    assert (result.trace[0].t[:, ::4] == 1).all()
    decoded = result.decode(result.trace[-1].prediction)
    assert decoded.equal(result.pixels)  # Euler ends at the last prediction
    assert result.sheet().width > result.original.width
    assert np.array(result.mask).max() == 255
    assert result.maps().size[0] > 0


def test_results_depend_on_their_seeds_alone(digits, three):
    together = digits.edit(three, half(), labels=[1], seeds=range(4), **FAST)
    apart = digits.edit(three, half(), labels=[1], seeds=[2], **FAST)
    assert (together.pixels[2].int() - apart.pixels[0].int()).abs().max() <= 1


def test_without_labels_four_results_are_unconditional(digits, three):
    result = digits.edit(three, strength=0.5, **FAST)
    assert result.seeds == [0, 1, 2, 3]
    assert result.labels is None
    assert result.guidance_scale == 1


def test_the_callback_sees_times_and_images_of_the_edit(digits, three):
    calls = []
    look = lambda *call: calls.append(call)  # noqa: E731
    digits.edit(three, half(), seeds=[0], callback=look, **FAST)
    assert [seeds for _, seeds in calls] == [(0,), (0,)]
    assert (calls[0][0].t[0].reshape(4, 4)[:, :2] == 1).all()
    assert (calls[0][0].t[0].reshape(4, 4)[:, 2:] == 0).all()


def test_the_hardest_share_is_repainted(digits, three):
    result = digits.edit(three, hardest=0.25, strength=0.5, seeds=[0], **FAST)
    assert result.edit.map.num_kept == 12
    assert result.edit.map.starts == (0.5,)
    with pytest.raises(pf.UserError, match="hardest=2"):
        digits.edit(three, hardest=2)


def test_rows_say_what_was_edited(digits, three, tmp_path):
    three.save(tmp_path / "three.png")
    result = digits.edit(tmp_path / "three.png", box=(4, 4, 2, 2), seeds=[0, 1], **FAST)
    row = sample_rows(result, digits)[1]["edit"]
    assert row["image"] == str(tmp_path / "three.png")
    assert row["box"] == (4, 4, 2, 2)
    assert row["moving_patches"] == 1
    write_samples(result, digits, tmp_path / "out")
    rows = json.loads((tmp_path / "out/samples.json").read_text())
    assert [row["seed"] for row in rows] == [0, 1]
    assert Image.open(tmp_path / "out/0.png").tobytes() == result.images[0].tobytes()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 8)])
@pytest.mark.parametrize("size", [(8, 8), (40, 30), (5, 3), (1, 100)])
def test_images_of_any_size_are_fitted_and_black_stays_black(shape, size):
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, size[0] // 2 :] = 200
    canvas = source(picture(*size), mask=mask, strength=0.5).canvas(shape)
    assert canvas.image.size == (shape[2], shape[1])
    assert canvas.image.mode == ("L" if shape[0] == 1 else "RGB")
    assert canvas.mask.shape == shape[1:]
    assert canvas.mask.max() <= 0.5 * 200 / 255 + 1e-6
    if size[0] > 1:
        assert (canvas.mask[:, 0] == 0).all()
    assert bool(canvas.note) == (size != canvas.image.size)
    if size == canvas.image.size:
        assert canvas.image.tobytes() == picture(*size).convert(canvas.image.mode).tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "P", "LA", "RGBA", "1", "L"])
def test_images_and_masks_of_any_mode_are_read(mode, tmp_path):
    kind = {"CMYK": "tiff"}.get(mode, "png")
    file = tmp_path / f"image.{kind}"
    picture(8, 8, mode).save(file)
    assert EditRequest(mask=half()).read(file).pixels.mode == "RGB"
    assert EditRequest(mask=file).read(picture(8, 8)).mask.shape == (8, 8)


def test_of_an_animation_the_first_frame_is_edited_and_that_is_said(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    read = EditRequest(strength=0.5).read(tmp_path / "a.gif")
    assert read.pixels.getpixel((0, 0)) == (255, 0, 0)
    assert "2 frames: the first one is taken" in read.notes[0]


def test_transparent_parts_may_change():
    image = picture(8, 8).convert("RGBA")
    image.putalpha(Image.fromarray((~half() * 255).astype(np.uint8)))
    assert (source(image, mask="alpha").mask == half()).all()
    assert (source(image, keep_mask="alpha").mask == ~half()).all()
    with pytest.raises(pf.UserError, match="no alpha channel"):
        source(picture(8, 8), mask="alpha")


def test_a_mask_of_another_size_is_resized_and_that_is_said():
    read = source(picture(8, 8), mask=half(32))
    assert (read.mask == half()).all()
    assert read.notes == ("the mask is resized from 32x32 to 8x8",)
    assert (source(picture(8, 8), keep_mask=half()).mask == ~half()).all()
    assert (source(picture(8, 8), mask=torch.from_numpy(half()).float()).mask == half()).all()


def test_what_is_nearly_black_or_white_is_so():
    grey = np.array([[0, 8, 9, 128, 246, 247, 255, 255]] * 8, dtype=np.uint8)
    mask = source(picture(8, 8), mask=grey).mask[0]
    assert mask[:2].tolist() == [0, 0]
    assert mask[5:].tolist() == [1, 1, 1]
    assert 0 < mask[2] < mask[3] < mask[4] < 1


def test_around_an_extended_image_all_is_painted():
    canvas = source(picture(8, 4), extend="left=4").canvas((3, 8, 8))
    kept = canvas.mask == 0
    assert kept.sum() == 4 * 2
    assert kept[3:5, 4:].all()
    assert (canvas.blank == ~kept).all()
    assert "4x2 pixels at left 4, top 3" in canvas.note
    pixels = np.array(canvas.image)
    assert (pixels[3, :5] == pixels[3, 4]).all()  # the border goes on
    both = source(picture(8, 8), extend={"top": 4}, strength=0.5, mask=half()).canvas((3, 8, 8))
    assert set(np.unique(both.mask)) == {0, 0.5, 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing says what may change"),
        ({"mask": half(), "box": "0,0,1,1"}, "mask and box exclude each other"),
        ({"mask": np.zeros((8, 8))}, "the mask is black everywhere"),
        ({"keep_mask": np.ones((8, 8))}, "the mask is black everywhere"),
        ({"mask": np.full((8, 8), 7.0)}, "numbers from 7 to 7"),
        ({"mask": np.zeros((8, 8, 3))}, "mask of shape (8, 8, 3)"),
        ({"mask": "nowhere.png"}, "mask nowhere.png"),
        ({"box": "1,2,3"}, "left,top,width,height"),
        ({"box": (0, 0, 9, 1)}, "leaves the image"),
        ({"box": "0,0,0,1"}, "box '0,0,0,1'"),
        ({"strength": 1.5}, "strength=1.5"),
        ({"strength": 0}, "changes nothing"),
        ({"strength": float("nan")}, "strength=nan"),
        ({"mask": half(), "feather": -1}, "feather=-1"),
        ({"extend": "left"}, "extend 'left'"),
        ({"extend": "lft=3"}, "did you mean 'left'"),
        ({"extend": "left=0"}, "extend by nothing"),
    ],
)
def test_a_mistake_is_named(options, message):
    with pytest.raises(pf.UserError) as error:
        EditRequest(**options).read(picture(8, 8))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_margins_leave_room_for_the_image():
    with pytest.raises(pf.UserError, match="no room for the image"):
        source(picture(8, 8), extend="left=8").canvas((3, 8, 8))


def test_what_may_change_has_to_lie_within_what_is_left_of_the_image(digits):
    with pytest.raises(pf.UserError, match="lies outside of it") as error:
        digits.edit(picture(90, 40), box=(85, 30, 5, 10), seeds=[0], **FAST)
    assert "cropped to its middle" in str(error.value)


def test_a_white_mask_is_said_to_keep_nothing():
    assert "nothing of the image is kept" in source(picture(8, 8), mask=np.ones((8, 8))).notes[0]


def test_a_change_sets_in_within_what_may_change():
    changes = torch.zeros(5, 8, dtype=torch.bool)
    changes[:, 2:] = True
    assert feathered(changes, 0)[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    expected = torch.tensor([0, 0, 1, 2, 3, 4, 4, 4]) / 4
    torch.testing.assert_close(feathered(changes, 3), expected.expand(5, 8))
    assert (feathered(torch.ones(4, 4, dtype=torch.bool), 2) == 1).all()


def test_of_latents_what_is_kept_is_the_images_own_too():
    """Black pixels keep their bytes, whatever the decoder makes of their cells."""
    pipe = averaging_pipe()
    image, mask = picture(32, 32), half(32)
    mask[0, 0] = True
    result = pipe.edit(image, mask, seeds=[0], **FAST)
    assert (np.array(result.images[0])[~mask] == np.array(image)[~mask]).all()
    assert result.edit.map.num_kept == 8 - 1
    assert int((~result.edit.map.fixed).sum()) == 32 + 1
    border = np.abs(np.array(result.images[0], int) - np.array(image, int)).mean(axis=(0, 2))
    assert border[16] < border[20:].mean()  # blended over a quarter of a patch, 2 pixels

"""Images of words, how readings are judged, and when letters settle: by closed forms."""

import math
import string
import zlib
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from benchmarks.words import ocr
from benchmarks.words.data import DARK, LIGHT, MARGIN, SIZES, WordImages, unspelt
from benchmarks.words.glyphs import EM, END, draw_line, font_folder, glyphs, set_line
from benchmarks.words.order import chance_higher, ink_patches, settled_after, settling
from benchmarks.words.recogniser import NOTHING, letters_of, marks
from benchmarks.words.scores import scores, share_interval
from benchmarks.words.sheets import read_sheet, save_sheet
from benchmarks.words.spelling import LETTERS, caption, distance, held_out, words
from patch_forcing.core.errors import UserError
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.models.config import DataInfo
from patch_forcing.sampling.evaluation import Evaluation

try:
    font_folder()
except UserError as error:
    pytest.skip(str(error), allow_module_level=True)
CRC = 0x8331AC6F
IDS = torch.arange(100)


@pytest.fixture(scope="module", params=SIZES)
def drawn(request):
    return request.param, WordImages(request.param, "letters").draw(3, IDS)


# Words


def test_the_lists_are_the_same_everywhere():
    joined = " ".join([*words(), *words(unseen=True)])
    assert zlib.crc32(joined.encode()) == CRC


def test_no_word_is_in_both_lists():
    seen, unseen = set(words()), set(words(unseen=True))
    assert (len(seen), len(unseen)) == (len(words()), len(words(unseen=True)))
    assert not seen & unseen
    assert not any(map(held_out, seen))
    assert all(map(held_out, unseen))


@pytest.mark.parametrize("unseen", [False, True])
def test_all_letters_and_lengths_occur(unseen):
    listed = words(unseen)
    assert set("".join(listed)) == set(string.ascii_lowercase)
    assert [len(word) for word in listed[:12]] == 2 * [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("which", ["seen", "unseen"])
def test_images_show_words_of_their_list_alone(which):
    allowed = words(which == "unseen")
    letters, _ = WordImages("line", which).choose(0, torch.arange(20_000))
    shown = set(unspelt(letters))
    assert shown <= set(allowed)
    assert len(shown) > 0.9 * len(allowed)


TEXT = st.text("abc", max_size=6)


@pytest.mark.parametrize(
    ("read", "word", "edits"), [("sitting", "kitten", 3), ("", "abc", 3), ("ab", "ba", 2)]
)
def test_known_distances(read, word, edits):
    assert distance(read, word) == edits


@given(TEXT, TEXT, TEXT)
def test_distance_is_a_metric(a, b, c):
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


# Images


def test_an_image_depends_on_its_seed_and_id_alone():
    data = WordImages()
    whole = data.batch(BatchSpec(3, 8, seed=1))
    part = data.batch(BatchSpec(3, 8, seed=1, places=range(2, 5)))
    torch.testing.assert_close(part.x_1, whole.x_1[2:5], rtol=0, atol=1e-5)
    assert part.captions == whole.captions[2:5]
    letters = data.choose(1, torch.arange(24, 32))[0]
    assert whole.captions == tuple(map(caption, unspelt(letters)))
    assert not torch.equal(whole.x_1, data.batch(BatchSpec(3, 8, seed=2)).x_1)
    assert whole.x_1.shape == (8, *data.shape)


def test_words_are_inside_the_margin(drawn):
    size, (_, _, boxes, images) = drawn
    height, width = SIZES[size]
    assert images.shape[2:] == (height, width)
    low, high = boxes[..., :2].amin((0, 1)), boxes[..., 2:].amax((0, 1))
    assert low.min() >= MARGIN - 1e-3
    assert (high <= torch.tensor([width, height]) - MARGIN + 1e-3).all()
    assert images.abs().max() <= 1


def test_there_is_ink_in_the_boxes_of_letters_and_nowhere_else(drawn):
    size, (letters, font, boxes, images) = drawn
    empty = WordImages(size).draw(3, IDS, letters=torch.full_like(letters, END), font=font)
    # a word of no letters stands elsewhere, on the same ground
    ink = (images - empty.images).abs().amax(1)  # (B, H, W)
    down, across = (torch.arange(side) + 0.5 for side in SIZES[size])
    left, top, right, bottom = (side[:, :, None] for side in boxes.unbind(2))
    inside = ((across > left - 1.5) & (across < right + 1.5))[:, :, None, :]
    inside = inside & ((down > top - 1.5) & (down < bottom + 1.5))[..., None]  # (B, L, H, W)
    assert (ink * ~inside.any(1)).max() < 1e-4
    shown = (ink[:, None] * inside).amax((2, 3))
    assert shown[letters != END].min() > 0.3


def test_no_letter_is_cut():
    atlas = glyphs()
    assert atlas.tiles[:, :, [0, -1]].max() == 0
    assert atlas.tiles[..., [0, -1]].max() == 0
    # every font draws "ace" in the middle; letters there do not touch, so that no ink is lost
    fonts = torch.arange(len(atlas.tiles))
    letters = torch.tensor([[0, 2, 4]]).expand(len(fonts), 3)
    em = torch.linspace(20, 40, len(fonts))
    line = set_line(atlas, fonts, letters)
    start = torch.tensor([20.0, 60.0]).expand(len(fonts), 2)
    ink = draw_line(atlas, fonts, letters, line, start, em, (128, 128)).sum((1, 2))
    whole = atlas.tiles[:, [0, 2, 4]].sum((1, 2, 3)) * (em / EM) ** 2
    torch.testing.assert_close(ink, whole, rtol=5e-3, atol=0)


def test_words_differ_from_their_ground():
    assert LIGHT[0] - DARK[1] >= 0.25
    images = WordImages().draw(4, IDS).images
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].double()  # margins: the gradient alone
    dark, light = 2 * DARK[1] - 1, 2 * LIGHT[0] - 1
    is_dark, is_light = corners.amax((1, 2)) < dark + 1e-6, corners.amin((1, 2)) > light - 1e-6
    assert (is_dark | is_light).all()
    assert 0.3 < is_dark.double().mean() < 0.7


# Reading


def test_marks_spell_the_word(drawn):
    _, shown = drawn
    read = [
        "".join(LETTERS[one.letter] for one in letters_of(row)) for row in marks(shown).tolist()
    ]
    assert read == unspelt(shown.letters)


def test_letters_are_runs_of_marks():
    actual = letters_of([NOTHING, 3, 3, 3, NOTHING, 3, 5, 5])
    assert [tuple(one) for one in actual] == [(3, 2), (5, 6)]
    assert letters_of([NOTHING] * 4) == []


def test_scores_of_known_readings():
    row = scores(["abc", "abd", "abcd"], ["abc", "abc", "abcd"])
    assert row["exact"] == pytest.approx(2 / 3)
    assert row["distance"] == pytest.approx(1 / 3)
    assert row["by_length"] == {"3": 0.5, "4": 1.0}


@pytest.mark.parametrize("count", [1, 50])
def test_intervals_of_shares(count):
    z2 = 1.959963984540054**2
    assert share_interval(1.0, count) == pytest.approx([count / (count + z2), 1.0])
    assert share_interval(0.0, count) == pytest.approx([0.0, z2 / (count + z2)])
    low, high = share_interval(0.5, count)
    assert low + high == pytest.approx(1)
    assert high - low == pytest.approx(math.sqrt(z2 / (count + z2)))


def test_a_sheet_keeps_images(tmp_path):
    pixels = to_uint8(WordImages().draw(5, torch.arange(13)).images, DataInfo())
    save_sheet(tmp_path / "sheet.jpeg", pixels)
    images = read_sheet(tmp_path / "sheet.jpeg", SIZES["line"], 13)
    assert (images - (pixels.float() / 127.5 - 1)).abs().mean() < 0.02


def test_rows_without_edges_are_cut_off_for_the_ocr():
    image = torch.linspace(-1, 1, 128).expand(3, 64, 128).clone()
    assert ocr._band(image).shape == (3, 64, 128)
    image[:, 20:30, 50] = 1.0
    image[:, 20:30, 51] = -1.0
    assert torch.equal(ocr._band(image), image[:, 20 - ocr.FREE : 30 + ocr.FREE])
    assert ocr._line(image[:, 16:34]).shape == (3, 48, math.ceil(48 * 128 / 18))


def test_a_missing_ocr_is_named_with_its_mend(monkeypatch):
    monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"rapidocr is missing, .*: pip install --no-deps rapidocr"):
        ocr.find_model()


# Order


def test_settled_is_before_the_first_evaluation_from_which_on_all_are_right():
    same = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 0]]).bool()
    assert settled_after(same).tolist() == [0, 0.5, 0.5, 1]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12))
def test_chance_of_being_higher_counts_pairs(pairs):
    first, others = ([v for v, chosen in pairs if chosen is wanted] for wanted in (True, False))
    actual = chance_higher(
        torch.tensor([float(v) for v, _ in pairs]), torch.tensor([chosen for _, chosen in pairs])
    )
    wins = [(a > b) + 0.5 * (a == b) for a in first for b in others]
    assert math.isnan(actual) if not wins else actual == pytest.approx(sum(wins) / len(wins))


def test_patches_with_ink_are_those_with_letters(drawn):
    _, (letters, _, boxes, images) = drawn
    ink = ink_patches(images, 8).view(len(images), -1, images.shape[3] // 8)
    middles = ((boxes[..., :2] + boxes[..., 2:]) / 16).long()
    rows = torch.arange(len(images))[:, None].expand_as(letters)
    columns = ink.any(1)[rows, middles[..., 0]]  # somewhere above or below a letter's middle
    assert columns[letters != END].all()
    above = torch.arange(ink.shape[1]) < (boxes[..., 1].amin(1) / 8 - 1)[:, None]
    assert not (ink & above[:, :, None]).any()


class Coded(nn.Module):
    """Reads columns whose class is written in the first channel."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        classes = ((x[:, 0, 0] + 1) * 127.5 / 9).round().long()
        return F.one_hot(classes, NOTHING + 1).movedim(2, 1).float()


def coded(columns):
    image = torch.zeros(1, 3, 8, len(columns))
    image[:, 0] = torch.tensor(columns) * 9 / 127.5 - 1
    return image


def test_letters_settle_when_they_are_read_ever_after():
    word = (
        [NOTHING] * 4 + [0] * 4 + [NOTHING] * 8 + [1] * 4 + [NOTHING] * 12 + [2] * 4 + [NOTHING] * 4
    )
    looks = [word[:shown] + [NOTHING] * (40 - shown) for shown in (0, 12, 24, 40)]
    difficulty = torch.tensor([[1.0, 0.0, 2.0, 0.0, 3.0]])
    trace = [
        Evaluation(k, t, t, difficulty, torch.ones(1, 5, dtype=torch.bool), coded(columns), k + 1)
        for k, columns in enumerate(looks)
        for t in [torch.full((1, 5), k / 4)]
    ]
    pixels = to_uint8(coded(word), DataInfo())
    result = SimpleNamespace(trace=trace, pixels=pixels, pixels_per_patch=8)
    row = settling(result, Coded(), ["abc"])
    assert row["letters"]["value"] == pytest.approx((0.25 + 0.5 + 0.75) / 3)
    assert row["letters_of_right_words"] == row["letters"]
    assert row["letters_of_wrong_words"] is None
    assert row["evaluations"] == 4

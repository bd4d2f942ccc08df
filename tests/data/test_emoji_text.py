"""Captioned scenes: what a caption says is what a scene shows."""

import re

import pytest
import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.atlas import Atlas
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji_text import (
    COLOURS,
    NUMBERS,
    RELATIONS,
    CaptionedScenes,
    Scenes,
    caption,
    held_out,
)
from patch_forcing.data.emoji_things import THINGS, many, one
from tests.support.things import grey_things

SIZE = 32


@pytest.fixture(scope="module")
def atlas():
    return grey_things()


def drawn(atlas, count: int, seed: int = 0, **how) -> tuple[Scenes, Tensor]:
    return CaptionedScenes(atlas, SIZE, **how).draw(seed, torch.arange(count))[:2]


def test_diagonals_are_left_out_of_training_and_are_all_of_the_rest(atlas):
    seen, _ = drawn(atlas, 300)
    unseen, _ = drawn(atlas, 300, unseen=True)
    assert not held_out(seen).any()
    assert held_out(unseen).all()
    for scenes in (seen, unseen):
        assert not (scenes.thing == scenes.other).any()
        assert set(scenes.number.tolist()) == {1, 2, 3, 4}
        assert set(scenes.relation.tolist()) == {-1, 0, 1, 2, 3}
        assert set(scenes.colour.tolist()) == set(range(len(COLOURS)))


def test_every_thing_is_seen_on_most_colours_and_in_most_numbers():
    sizes = len(THINGS), len(COLOURS), 4
    thing, colour, count = torch.cartesian_prod(*map(torch.arange, sizes)).T
    none = torch.full_like(thing, -1)
    kept = ~held_out(Scenes(thing, none, none, count + 1, colour)).view(sizes)
    assert kept.any(dim=2).sum(dim=1).min() >= len(COLOURS) - 2
    assert kept.any(dim=1).sum(dim=1).min() >= 3


def test_a_scene_is_a_function_of_its_seed_and_number(atlas):
    data = CaptionedScenes(atlas, SIZE)
    whole = data.batch(BatchSpec(1, 4, 7))
    part = data.batch(BatchSpec(1, 4, 7, range(2, 4)))
    assert part.x_1.equal(whole.x_1[2:])
    assert part.captions == whole.captions[2:]
    assert data.batch(BatchSpec(1, 4, 8)).captions != whole.captions


def test_drawings_lie_as_the_relation_says(atlas):
    scenes, images = drawn(atlas, 400)
    pairs = (scenes.other >= 0) & (scenes.relation >= 0)
    places = torch.arange(SIZE) + 0.5
    tried = 0
    for row in pairs.nonzero()[:, 0].tolist():
        grey = ((images[row] + 1) * 127.5).round()
        flat = (grey.amax(0) - grey.amin(0)) < 0.5  # backgrounds, but for three, have a colour
        masks = [flat & (grey[0] == float(n)) for n in (scenes.thing[row], scenes.other[row])]
        if scenes.colour[row] > 7 or not all(mask.any() for mask in masks):
            continue
        (y, x), (y2, x2) = (
            ((m.sum(1) * places).sum() / m.sum(), (m.sum(0) * places).sum() / m.sum())
            for m in masks
        )
        tried += 1
        assert [x < x2, x > x2, y < y2, y > y2][int(scenes.relation[row])]
    assert tried > 20


def test_as_many_drawings_as_the_caption_says(atlas):
    scenes, images = drawn(atlas, 300)
    tried = 0
    for row in ((scenes.number > 1) & (scenes.colour < 8)).nonzero()[:, 0].tolist():
        mask = (((images[row] + 1) * 127.5).round() == float(scenes.thing[row])).all(0)
        quarters = mask.unflatten(0, (2, -1)).unflatten(2, (2, -1)).any(3).any(1)
        assert quarters.sum() == scenes.number[row]
        tried += 1
    assert tried > 20


def test_captions_can_be_read_back():
    ones = {one(name): number for number, name in enumerate(THINGS)}
    several = {many(name): number for number, name in enumerate(THINGS)}
    assert len(ones) == len(several) == len(THINGS)
    relations = "|".join(RELATIONS)
    for thing in range(len(THINGS)):
        colour, count, relation = thing % len(COLOURS), 1 + thing % 4, thing % 4
        other = (thing + 5) % len(THINGS)
        name = list(COLOURS)[colour]
        text = caption(thing, -1, -1, count, colour)
        what = re.fullmatch(rf"(.*) on an? {name} background", text)[1]
        if count == 1:
            assert ones[what] == thing
        else:
            number, _, things = what.partition(" ")
            assert (NUMBERS.index(number) + 1, several[things]) == (count, thing)
        text = caption(thing, other, relation, 1, colour)
        parts = re.fullmatch(rf"(.*) ({relations}) (.*) on an? {name} background", text)
        assert (ones[parts[1]], RELATIONS.index(parts[2]), ones[parts[3]]) == (
            thing,
            relation,
            other,
        )


def test_an_atlas_of_an_older_font_is_refused(atlas):
    few = Atlas(atlas.emoji[1:], atlas.tiles[1:])
    with pytest.raises(UserError, match="the atlas has no 'monkey' and 0 more: draw it again"):
        CaptionedScenes(few)

"""Emoji scenes with captions: one thing, several of it, or two and how they lie to each other.

"three guitars on a blue background", "a red apple left of an owl on a green background". Scenes and
captions are composed on the fly from (seed, sample id). Whole diagonals of the grids of things and
colours, things and counts, and pairs and relations never occur in training, so that what a model
makes of combinations it has not seen can be measured (as in MOSAIC, arXiv 2605.00273).
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from patch_forcing.core.devices import to_device
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.atlas import Atlas
from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import coverage
from patch_forcing.data.emoji_things import THINGS, many, one
from patch_forcing.models.config import DataInfo

COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "orange": (0.95, 0.55, 0.10),
    "yellow": (0.97, 0.88, 0.20),
    "green": (0.20, 0.65, 0.25),
    "blue": (0.15, 0.35, 0.85),
    "purple": (0.50, 0.20, 0.70),
    "pink": (0.98, 0.60, 0.75),
    "brown": (0.45, 0.28, 0.15),
    "grey": (0.55, 0.55, 0.55),
    "white": (0.97, 0.97, 0.97),
    "black": (0.06, 0.06, 0.06),
}
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = ("one", "two", "three", "four")
MOST = len(NUMBERS)
"""Drawings in a scene."""
SHARES = (0.4, 0.3, 0.3)
"""Of scenes with one thing, with several of it, and with two things."""
_SHADE = 0.06
"""How far the background's colour changes from one side to the other, and from scene to scene."""
_ALONE, _SEVERAL, _PAIR = (0.45, 0.85), (0.34, 0.46), (0.36, 0.48)
"""Sides of drawings, as shares of the scene's."""
_EVERY = 8
"""One in so many combinations of a grid is on its held-out diagonal."""


class Scenes(NamedTuple):
    """What B scenes are of: numbers of THINGS, COLOURS, RELATIONS; other is −1 where there is one.

    number is 1 where two things lie beside each other.
    """

    thing: Int64[Tensor, " B"]
    other: Int64[Tensor, " B"]
    relation: Int64[Tensor, " B"]
    number: Int64[Tensor, " B"]
    colour: Int64[Tensor, " B"]


class Drawing(NamedTuple):
    """One drawing of B scenes: whether it is there; as shares of the scene's side, its own side and
    its left top corner, (across, down).
    """

    shown: Bool[Tensor, " B"]
    side: Float[Tensor, " B"]
    corner: Float[Tensor, "B 2"]


def held_out(scenes: Scenes) -> Bool[Tensor, " B"]:
    """Whether a scene's combination is on one of the diagonals that training never sees."""
    thing, other, relation, count, colour = scenes
    by_colour = (thing + colour) % _EVERY == 0
    by_count = (count > 1) & ((thing + 2 * count) % _EVERY == 0)
    by_relation = (other >= 0) & ((thing + 2 * other + 2 * relation) % _EVERY == 0)
    return by_colour | by_count | by_relation


def caption(thing: int, other: int, relation: int, count: int, colour: int) -> str:
    """What a scene is called; the fields of `Scenes`."""
    name = list(THINGS)[thing]
    what = one(name) if count == 1 else f"{NUMBERS[count - 1]} {many(name)}"
    if other >= 0:
        what += f" {RELATIONS[relation]} {one(THINGS[other])}"
    name = list(COLOURS)[colour]
    return f"{what} on {one(name)} background"


class CaptionedScenes:
    """Endless scenes with captions, all combinations on held-out diagonals left out.

    unseen: those combinations alone, for measuring.
    """

    captioned = True
    num_classes = 0

    def __init__(self, atlas: Atlas, size: int = 128, unseen: bool = False):
        """Raises UserError if the atlas lacks one of THINGS."""
        places = {emoji.name: place for place, emoji in enumerate(atlas.emoji)}
        missing = [name for name in THINGS if name not in places]
        if missing:
            raise UserError(
                f"the atlas has no {missing[0]!r} and {len(missing) - 1} more: draw it again, with "
                "patch-forcing data emoji, from a font that has all emoji of Unicode 15"
            )
        self.shape = (3, size, size)
        self.info = DataInfo()
        self.place = "emoji scenes"
        self._tiles = atlas.tiles[[places[name] for name in THINGS]]
        self._unseen = unseen
        self._on: dict[torch.device, Tensor] = {}

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These scenes with their captions."""
        ids = torch.arange(spec.positions.start, spec.positions.stop)
        scenes, images, _ = self.draw(spec.seed, ids, device)
        rows = torch.stack(scenes, dim=1).tolist()
        return Batch(images, None, tuple(caption(*row) for row in rows))

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """The scenes' ids."""
        return [str(number) for number in spec.positions]

    def draw(
        self, seed: int, ids: Int64[Tensor, " B"], device: torch.device | str = "cpu"
    ) -> tuple[Scenes, Float[Tensor, "B 3 H W"], list[Drawing]]:
        """What the scenes are of, their images in [−1, 1], and where each of up to four drawings
        lies: functions of (seed, id) alone.

        The scenes are on the CPU, so that their captions do not wait for a GPU.
        """
        numbers = ids.cpu() & 0xFFFFFFFF
        scenes = _choose(_generator(seed, numbers, "cpu").fork("what").uniform(7), self._unseen)
        # shades, slots, sides and places
        u = _generator(seed, numbers, device).fork("where").uniform(9 + 3 * MOST)
        there = Scenes(*(to_device(values, device) for values in scenes))
        drawings = _places(there, u[:, 5:])
        return scenes, self._images(there, drawings, u[:, :5]), drawings

    def _images(
        self, scenes: Scenes, drawings: list[Drawing], shades: Float[Tensor, "B 5"]
    ) -> Float[Tensor, "B 3 H W"]:
        size = self.shape[1]
        scene = _background(size, scenes.colour, shades)
        for number, (shown, side, corner) in enumerate(drawings):
            things = scenes.other if number == 1 else scenes.thing
            things = torch.where(scenes.other >= 0, things, scenes.thing).clamp(min=0)
            tiles = (
                self._tiles_on(shades.device)[things].movedim(3, 1).float() / 255
            )  # (B, 4, 128, 128)
            tiles = torch.cat([tiles[:, :3] * tiles[:, 3:], tiles[:, 3:]], dim=1)
            columns = coverage(size, size * corner[:, 0], size * side)
            rows = coverage(size, size * corner[:, 1], size * side)
            drawing = rows[:, None] @ tiles @ columns[:, None].mT
            drawing = drawing * shown[:, None, None, None]
            scene = drawing[:, :3] + (1 - drawing[:, 3:]) * scene
        return (2 * scene - 1).clamp(-1, 1)

    def _tiles_on(self, device: torch.device) -> Tensor:
        """Copied to a device once: every copy makes a GPU wait."""
        if device not in self._on:
            self._on[device] = self._tiles.to(device)
        return self._on[device]


def _generator(
    seed: int, numbers: Int64[Tensor, " B"], device: torch.device | str
) -> CountedGenerator:
    return CountedGenerator(seed, numbers, device=device).fork("captioned scene")


def _choose(u: Float[Tensor, "B 7"], unseen: bool) -> Scenes:
    """Scenes of these uniform numbers, moved off the diagonals, or onto one of them."""
    alone, several, _ = SHARES
    thing = (u[:, 0] * len(THINGS)).long()
    step = 1 + (u[:, 1] * (len(THINGS) - 1)).long()
    pair = u[:, 2] >= alone + several
    other = torch.where(pair, (thing + step) % len(THINGS), -1)
    relation = torch.where(pair, (u[:, 3] * len(RELATIONS)).long(), -1)
    counted = (u[:, 2] >= alone) & ~pair
    count = torch.where(counted, 2 + (u[:, 4] * (MOST - 1)).long(), 1)
    colour = (u[:, 5] * len(COLOURS)).long()
    # the next thing is on another diagonal of each grid: a few steps suffice
    for _ in range(4 * _EVERY):
        wrong = held_out(Scenes(thing, other, relation, count, colour)) != unseen
        if not wrong.any():
            break
        moved = (thing + wrong.long()) % len(THINGS)
        meets = moved == other
        thing = torch.where(meets, (moved + 1) % len(THINGS), moved)
    return Scenes(thing, other, relation, count, colour)


def _places(scenes: Scenes, u: Float[Tensor, "B U"]) -> list[Drawing]:
    """The drawings of scenes.

    Drawings do not overlap: of a pair, each has its half; of several, each its quarter.
    """
    pair, several = scenes.other >= 0, scenes.number > 1
    sides = to_device(torch.tensor([_ALONE, _SEVERAL, _PAIR]), u.device)
    low, high = sides[several + 2 * pair].unbind(1)
    quarters = u[:, :MOST].argsort(dim=1)  # which quarter each drawing has
    places = []
    for number in range(MOST):
        a, b, c = u[:, MOST + 2 * number], u[:, MOST + 2 * number + 1], u[:, number]
        side = low + (high - low) * c
        free = torch.stack([a, b], dim=1)
        alone = free * (1 - side[:, None])
        quarter = torch.stack([quarters[:, number] % 2, quarters[:, number] // 2], dim=1)
        inside = 0.5 * quarter + free * (0.5 - side[:, None])
        # halves: the first of `left of` and `above` has the first one
        first = (scenes.relation % 2 == 0) == (number == 0)
        half = 0.5 * ~first  # a number within torch.where would make a GPU wait
        across = half + a * (0.5 - side)
        along = b * (1 - side)
        beside = scenes.relation < 2
        in_half = torch.stack(
            [torch.where(beside, across, along), torch.where(beside, along, across)], dim=1
        )
        corner = torch.where(pair[:, None], in_half, torch.where(several[:, None], inside, alone))
        shown = number < scenes.number + pair  # of a pair, number is 1
        places.append(Drawing(shown, side, corner))
    return places


def _background(
    size: int, colour: Int64[Tensor, " B"], u: Float[Tensor, "B 5"]
) -> Float[Tensor, "B 3 H W"]:
    """Nearly one colour: a little lighter to one side, and a little different in each scene."""
    known = to_device(torch.tensor(list(COLOURS.values())), u.device)
    colours = known[colour]  # (B, 3)
    colours = colours + _SHADE * (2 * u[:, :3] - 1)
    places = (torch.arange(size, device=u.device) + 0.5) / size - 0.5
    angle = 2 * torch.pi * u[:, 3]
    along = (
        torch.cos(angle)[:, None, None] * places + torch.sin(angle)[:, None, None] * places[:, None]
    )
    shade = _SHADE * u[:, 4, None, None] * along
    return (colours[:, :, None, None] + shade[:, None]).clamp(0, 1)

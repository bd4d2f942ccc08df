"""A judge of captioned scenes: which things stand where, and on which colour.

    python -m benchmarks.text.judge --atlas data/emoji --out runs/text/judge

It marks the middle of every drawing, as a detector does, in scenes of all combinations. What an
image shows follows from the marks by counting and comparing places, and the background's colour
from the pixels along the border. Nothing of it has seen a sample or a caption.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor, nn

from benchmarks.common.learning import Residual, learn
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.core.errors import UserError
from patch_forcing.data.atlas import load_atlas
from patch_forcing.data.emoji_text import COLOURS, RELATIONS, CaptionedScenes, Drawing, Scenes
from patch_forcing.data.emoji_things import THINGS

SIZE, STRIDE = 128, 8
"""Pixels of a scene's side, and of a cell's."""
MIDDLE = 0.3
"""Of a drawing's side: marked around its middle, to each side."""
NOTHING = len(THINGS)
LEARN, HELD_OUT = 2001, 2002
"""Seeds of scenes that no training draws."""
QUESTIONS = ("object", "colour", "count", "relation", "all")
WEIGHTS, REPORT = "judge.safetensors", "judge.json"
_BORDER = 3
_CLEAR = 0.15
"""Of the image's side: how far apart the middles of two things are, to lie left of each other."""


class Judge(nn.Module):
    """(B, 3, 128, 128) in [−1, 1] → chances of each thing, and of nothing, in 16×16 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            Residual(32, 48, stride=2),
            Residual(48, 96, stride=2),
            Residual(96, 160, stride=2),
            Residual(160, 160),
            Residual(160, 160, dilation=2),
            Residual(160, 160),
        )
        self.head = nn.Conv2d(160, NOTHING + 1, 1)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        return self.head(self.body(x))


@dataclass(frozen=True)
class Found:
    """A thing in an image: its number, and where its middle is, as shares of the sides."""

    thing: int
    across: float
    down: float


def marks(scenes: Scenes, places: list[Drawing]) -> Int64[Tensor, "B h w"]:
    """What each cell shows: the thing whose middle is around there, or nothing."""
    cells, device = SIZE // STRIDE, places[0].side.device
    scenes = Scenes(*(values.to(device) for values in scenes))
    centres = (torch.arange(cells, device=device) + 0.5) / cells
    target = torch.full((len(scenes.thing), cells, cells), NOTHING, device=centres.device)
    for number, (shown, side, corner) in enumerate(places):
        thing = torch.where((scenes.other >= 0) & (number == 1), scenes.other, scenes.thing)
        middle = corner + side[:, None] / 2
        near = (centres - middle[..., None]).abs() <= MIDDLE * side[:, None, None]  # (B, 2, cells)
        here = near[:, 1, :, None] & near[:, 0, None, :] & shown[:, None, None]
        target = torch.where(here, thing[:, None, None], target)
    return target


def learn_scenes(kinds: list[CaptionedScenes], steps: int, batch_size: int, device: str) -> Judge:
    """A judge of kinds of scenes, which come in turn."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        ids = torch.arange(step * batch_size, (step + 1) * batch_size)
        scenes, x, places = kinds[step % len(kinds)].draw(LEARN, ids, device)
        return x, marks(scenes, places)

    torch.manual_seed(0)
    return learn(Judge(), batch, steps, device)


@torch.no_grad()
def things_in(judge: Judge, images: Float[Tensor, "B 3 H W"]) -> list[list[Found]]:
    """The things in each image: cells that touch and show the same are one."""
    cells = judge(images).argmax(dim=1).cpu().numpy()
    side = cells.shape[-1]
    result = []
    for image in cells:
        things = []
        for thing in sorted({*image.ravel().tolist()} - {NOTHING}):
            areas, count = ndimage.label(image == thing)
            sizes = ndimage.sum_labels(image == thing, areas, range(1, count + 1))
            for area, size in enumerate(sizes, start=1):
                if size > 1:  # a single cell is no drawing: the smallest marks four
                    down, across = ndimage.center_of_mass(areas == area)
                    things.append(Found(thing, (across + 0.5) / side, (down + 0.5) / side))
        result.append(things)
    return result


def background(images: Float[Tensor, "B 3 H W"]) -> Int64[Tensor, " B"]:
    """The colour nearest to the median of the pixels along the border."""
    edge = torch.ones(images.shape[-2:], dtype=torch.bool, device=images.device)
    edge[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    median = ((images[:, :, edge] + 1) / 2).median(dim=2).values  # (B, 3)
    colours = torch.tensor(list(COLOURS.values()), device=images.device)
    return torch.cdist(median, colours).argmin(dim=1)


def verdicts(
    things: list[list[Found]], colours: Int64[Tensor, " B"], scenes: Scenes
) -> dict[str, Float[Tensor, " M"]]:
    """1 or 0 for each image that a question is about: object, colour, count, relation, all.

    object: the thing named first is there. colour: of the background. count, of several: as many
    of it as named, and nothing else. relation, of two: both are there once, and lie as named. all:
    every question about the image is answered right, and nothing else is there.
    """
    answers: dict[str, list[bool]] = {name: [] for name in QUESTIONS}
    for here, colour, row in zip(
        things, colours.tolist(), torch.stack(scenes, dim=1).tolist(), strict=True
    ):
        thing, other, relation, number, wanted = row
        shown = [one.thing for one in here]
        right = [thing in shown, colour == wanted]
        answers["object"].append(right[0])
        answers["colour"].append(right[1])
        if other >= 0:
            right.append(_lies(here, thing, other, relation))
            answers["relation"].append(right[-1])
        else:
            right.append(shown == [thing] * number)
            if number > 1:
                answers["count"].append(right[-1])
        answers["all"].append(all(right))
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in answers.items()}


def _lies(here: list[Found], thing: int, other: int, relation: int) -> bool:
    if sorted(one.thing for one in here) != sorted([thing, other]):
        return False
    first = next(one for one in here if one.thing == thing)
    second = next(one for one in here if one.thing == other)
    right, below = second.across - first.across, second.down - first.down
    return (right, -right, below, -below)[relation] > _CLEAR


assert RELATIONS == ("left of", "right of", "above", "below")


@torch.no_grad()
def judged(
    judge: Judge, images: Float[Tensor, "M 3 H W"], scenes: Scenes, device: str
) -> dict[str, Float[Tensor, " M"]]:
    """The verdicts on images in [−1, 1]."""
    things: list[list[Found]] = []
    for part in images.split(250):
        things += things_in(judge, part.to(device).contiguous(memory_format=torch.channels_last))
    return verdicts(things, background(images), scenes)


def load_judge(folder: Path, device: str) -> tuple[Judge, Row]:
    """The judge and its report. Raises UserError if there is none."""
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{folder} holds no judge: python -m benchmarks.text.judge makes it")
    judge = Judge()
    judge.load_state_dict(load_file(folder / WEIGHTS))
    report: Row = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return judge.to(device).eval(), report


def make_judge(options: argparse.Namespace) -> None:
    """Learn, save, and count mistakes on scenes that it has not learnt from."""
    atlas, device = load_atlas(options.atlas), options.device
    kinds = {name: CaptionedScenes(atlas, SIZE, name == "unseen") for name in ("seen", "unseen")}
    started = time.perf_counter()
    judge = learn_scenes(list(kinds.values()), options.steps, options.batch_size, device)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in judge.state_dict().items()}, options.out / WEIGHTS)
    real: Row = {}
    for name, data in kinds.items():
        answers: dict[str, list[Tensor]] = {}
        for first in range(0, options.counted, 500):
            scenes, images, _ = data.draw(HELD_OUT, torch.arange(first, first + 500), device)
            for question, right in judged(judge, images, scenes, device).items():
                answers.setdefault(question, []).append(right)
        real[name] = {key: float(torch.cat(parts).mean()) for key, parts in answers.items()}
        print(f"judge on real scenes, {name}: {real[name]}", flush=True)
    write_json(
        options.out / REPORT,
        {
            **provenance(__file__, device),
            "steps": options.steps,
            "batch_size": options.batch_size,
            "seconds": round(time.perf_counter() - started, 1),
            "real": real,
            "counted": options.counted,
        },
    )


def main() -> None:
    """Make the judge."""
    parser = command_line(__doc__, "atlas")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--counted", type=int, default=5000, help="real scenes of each kind")
    make_judge(parser.parse_args())


if __name__ == "__main__":
    main()

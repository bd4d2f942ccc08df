"""A reader of single words: which letters an image shows, and where.

    python -m benchmarks.words.recogniser --out runs/words/recogniser-line

It marks the columns around the middle of each letter, as a detector does; runs of marks from left
to right are the word. It learns on letters at random, so that no list of words helps it to guess,
and on images with some noise. Nothing of it has seen a sample.
"""

import argparse
import json
import statistics
import time
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.common.learning import Residual, learn
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from benchmarks.words.data import SIZES, Drawn, WordImages, unspelt
from benchmarks.words.glyphs import END
from benchmarks.words.scores import scores
from benchmarks.words.spelling import LETTERS
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator

NOTHING = len(LETTERS)
LEARN, HELD_OUT = 4001, 4002
"""Seeds of images that no training draws."""
NOISE = 0.1
"""The most that is added to images in training."""
MIDDLE = 0.15
"""Of a letter's width: marked to each side of its middle; a column at least."""
WEIGHTS, REPORT = "recogniser.safetensors", "recogniser.json"


class Recogniser(nn.Module):
    """(B, 3, H, W) in [−1, 1] → chances of each letter, and of nothing, in each of W columns."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2),
            Residual(32, 64, (2, 1)),
            Residual(64, 128, (2, 1)),
            Residual(128, 128, dilation=2),
        )
        self.along = nn.Sequential(Residual(128, 192), Residual(192, 192, dilation=2))
        self.head = nn.Conv2d(192, 2 * (NOTHING + 1), 1)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K W"]:
        rows = self.body(x)  # (B, 128, H/8, W/2)
        columns = self.along(rows.amax(dim=2, keepdim=True))  # (B, 192, 1, W/2)
        return rearrange(self.head(columns), "b (k s) 1 w -> b k (w s)", s=2)


class Letter(NamedTuple):
    """A letter that was read: its number, and the column of its middle."""

    letter: int
    column: int


def marks(drawn: Drawn) -> Int64[Tensor, "B W"]:
    """What each column shows: the letter whose middle is around there, or nothing."""
    width = drawn.images.shape[-1]
    centres = torch.arange(width, device=drawn.boxes.device) + 0.5
    left, right = drawn.boxes[:, :, 0], drawn.boxes[:, :, 2]
    reach = (MIDDLE * (right - left)).clamp(min=1)
    near = (centres - ((left + right) / 2)[:, :, None]).abs() <= reach[:, :, None]  # (B, L, W)
    near &= (drawn.letters != END)[:, :, None]
    target = torch.full((len(left), width), NOTHING, device=centres.device)
    for number in range(near.shape[1]):
        target = torch.where(near[:, number], drawn.letters[:, number, None], target)
    return target


def letters_of(columns: list[int]) -> list[Letter]:
    """Runs of marks from left to right; where a run is not of one mind, most of its columns say."""
    line, start = [], 0
    for marked, run in groupby(columns, lambda column: column != NOTHING):
        classes = list(run)
        if marked:
            line.append(Letter(statistics.mode(classes), start + (len(classes) - 1) // 2))
        start += len(classes)
    return line


@torch.no_grad()
def columns_of(recogniser: Recogniser, images: Float[Tensor, "M 3 H W"]) -> Int64[Tensor, "M W"]:
    """The likeliest letter of each column, on the CPU; NOTHING between letters."""
    device = recogniser.head.weight.device
    parts = [
        recogniser(part.to(device).contiguous(memory_format=torch.channels_last)).argmax(dim=1)
        for part in images.split(256)
    ]
    return torch.cat(parts).cpu()


def read(recogniser: Recogniser, images: Float[Tensor, "M 3 H W"]) -> list[str]:
    """The word that each image shows."""
    return [
        "".join(LETTERS[one.letter] for one in letters_of(row))
        for row in columns_of(recogniser, images).tolist()
    ]


def load_recogniser(folder: Path, device: str) -> Recogniser:
    """Raises UserError if there is none."""
    if not (folder / REPORT).exists():
        raise UserError(f"{folder} holds no recogniser: python -m benchmarks.words.recogniser")
    recogniser = Recogniser()
    recogniser.load_state_dict(load_file(folder / WEIGHTS))
    return recogniser.to(device).eval()


def load_report(folder: Path) -> Row:
    """How it was made, and its accuracy on real images."""
    report: Row = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return report


def real_images(size: str, kind: str, count: int, device: str = "cpu") -> tuple[list[str], Tensor]:
    """Words of that kind, and images of them that nothing has learnt from."""
    data = WordImages(size, "unseen" if kind == "unseen" else "seen")
    parts = [data.draw(HELD_OUT, ids, device) for ids in torch.arange(count).split(500)]
    words = [word for part in parts for word in unspelt(part.letters)]
    return words, torch.cat([part.images for part in parts])


def make_recogniser(
    folder: Path, size: str, steps: int, batch_size: int, counted: int, device: str
) -> None:
    """Learn, save, and count mistakes on real images of words seen and unseen."""
    data = WordImages(size, "letters")

    def batch(step: int) -> tuple[Tensor, Tensor]:
        ids = torch.arange(step * batch_size, (step + 1) * batch_size)
        drawn = data.draw(LEARN, ids, device)
        noise = CountedGenerator(LEARN, ids, device=device).fork("recogniser")
        strength = NOISE * noise.uniform(1)[:, :, None, None]
        return drawn.images + strength * noise.normal(*data.shape), marks(drawn)

    started = time.perf_counter()
    torch.manual_seed(0)
    recogniser = learn(Recogniser(), batch, steps, device)
    seconds = time.perf_counter() - started
    real = {}
    for kind in ("seen", "unseen"):
        words, images = real_images(size, kind, counted, device)
        real[kind] = scores(read(recogniser, images), words)
        print(f"recogniser on real images, {kind}: {real[kind]}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: part.contiguous() for name, part in recogniser.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    about = {"kind": "recogniser", "size": size, "steps": steps, "batch_size": batch_size}
    about |= {"seconds": round(seconds, 1), "real": real, "counted": counted}
    write_json(folder / REPORT, {**provenance(__file__, device), **about})


def add_options(parser: argparse.ArgumentParser) -> None:
    """How the recogniser is trained."""
    parser.add_argument("--size", choices=SIZES, default="line")
    parser.add_argument("--recogniser-steps", type=int, default=3000)
    parser.add_argument("--recogniser-batch", type=int, default=256)
    parser.add_argument("--counted", type=int, default=5000, help="real images of each kind")


def main() -> None:
    """Make the recogniser."""
    parser = command_line(__doc__)
    add_options(parser)
    o = parser.parse_args()
    make_recogniser(o.out, o.size, o.recogniser_steps, o.recogniser_batch, o.counted, o.device)


if __name__ == "__main__":
    main()

"""Draws the pictures of the method, from the bundled model emoji-64.

    python docs/draw_method.py        # writes docs/images/patch-time.png, method-*.png

All states, times and difficulties are those of the library's own samplers, path and distributions;
nothing is drawn by hand. It takes seconds on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.sampling.field import Field, FieldOutput
from patch_forcing.views.images import to_pil
from patch_forcing.views.scales import DIFFICULTY, TIME, patch_map

IMAGES = Path(__file__).parent / "images"
TILE, GAP, PAPER, INK = 192, 28, (255, 255, 255), (60, 70, 80)
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


class Recorder:
    """A field that keeps what it is called with: states of a sampler, and their times."""

    def __init__(self, field: Field):
        self.field, self.patch_size = field, field.patch_size
        self.states: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x_t: Tensor, t: pf.PatchTime, **options: object) -> FieldOutput:
        self.states.append((x_t.clone(), t.to_dense().clone()))
        return self.field(x_t, t, **options)  # type: ignore[arg-type]


def states_of(pipe: pf.Pipeline, label: str, seed: int, **settings: object) -> list:
    """What a sampler calls the field with on its way to one image, and at the end the image."""
    kept: list[Recorder] = []

    def keep(field: Field) -> Recorder:
        kept.append(Recorder(field))
        return kept[-1]

    result = pipe(labels=label, seeds=[seed], wrap_field=keep, **settings)
    x_1 = result.pixels.float() / 127.5 - 1
    return [*kept[0].states, (x_1, torch.ones(1, kept[0].states[0][1].shape[1]))]


def picture(x: Tensor, side: int = TILE) -> Image.Image:
    """The first image of a batch, enlarged without smoothing."""
    pixels = ((x[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return to_pil(pixels).resize((side, side), Image.Resampling.NEAREST)


def time_map(t: Tensor, side: int = TILE) -> Image.Image:
    """The times of the first image's patches: dark is noise, bright is data."""
    grid = patch_grid((64, 64), 8)
    return patch_map(t[0], grid, TIME, (0, 1)).resize((side, side), Image.Resampling.NEAREST)


def draw_patch_time(states: list[tuple[Tensor, Tensor]]) -> Image.Image:
    """An image at five moments of dual-loop, its times below: the picture of the README."""
    moments = [states[i] for i in (0, 1, INNER + 1, 2 * INNER + 1, -1)]
    width = len(moments) * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, 2 * TILE + 3 * GAP + 46), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (x, t) in enumerate(moments):
        left = GAP + column * (TILE + GAP)
        sheet.paste(picture(x), (left, GAP))
        sheet.paste(time_map(t), (left, GAP + TILE + 10))
        if column:
            _arrow(draw, left - GAP + 5, left - 5, GAP + TILE // 2)
    _key(sheet, moments[0][0], moments[-1][0], 2 * TILE + 2 * GAP + 10)
    return sheet


def _arrow(draw: ImageDraw.ImageDraw, left: int, right: int, y: int) -> None:
    draw.line((left, y, right - 4, y), INK, 2)
    draw.polygon([(right, y), (right - 8, y - 5), (right - 8, y + 5)], INK)


def _key(sheet: Image.Image, noise: Tensor, data: Tensor, top: int) -> None:
    """The scale of times, from a tile of noise to a tile of the image."""
    side = 40
    left, right = GAP, sheet.width - GAP
    bar = TIME[np.linspace(0, 255, right - left - 2 * side - 16).round().astype(int)]
    rows = np.repeat(bar[None].round().astype(np.uint8), 14, axis=0)
    sheet.paste(picture(noise, side), (left, top))
    sheet.paste(Image.fromarray(rows), (left + side + 8, top + side // 2 - 7))
    sheet.paste(picture(data, side), (right - side, top))


LABEL, SEED, INNER = "drink", 6, 6
TIMES = {
    "one time for all\n(SiT)": "SharedUniform",
    "every patch alone": "IndependentUniform",
    "mean-controlled\n(SRM)": "MeanControlled",
    "LTG": "LogitNormalTruncatedGaussian",
}


def draw_training(x_1: Tensor) -> Figure:
    """One image as training shows it: times above, the mixture of image and noise below."""
    figure = Figure(figsize=(9, 2.75), layout="constrained")
    axes = figure.subplots(2, 8)
    path, generator = pf.LinearPath(8), torch.Generator().manual_seed(1)
    for column in range(8):
        name = [*TIMES][column // 2]
        sampler = getattr(pf.timesteps, TIMES[name])()
        t = sampler(1, 64, generator=generator)
        x_0 = torch.randn(x_1.shape, generator=generator)
        axes[0, column].imshow(time_map(t.to_dense()))
        axes[1, column].imshow(picture(path.interpolate(x_0, x_1, t)))
        if column % 2 == 0:
            axes[0, column].set_title(name, loc="left")
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def draw_densities() -> Figure:
    """How often a patch, and the most advanced patch of an image, has a time in training."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    generator, bins = torch.Generator().manual_seed(0), np.linspace(0, 1, 51)
    for number, (label, name) in enumerate(TIMES.items()):
        t = getattr(pf.timesteps, name)()(20_000, 64, generator=generator).to_dense().numpy()
        style = {"bins": bins, "density": True, "histtype": "step", "color": f"C{number}"}
        style |= {"label": label.replace("\n", " "), "linewidth": 1.6}
        left.hist(t.ravel(), **style)
        right.hist(t.max(axis=1), **style)
    left.set(title="the time of a patch", xlabel="t   (0: noise, 1: data)", ylim=(0, 3))
    right.set(title="the time of the most advanced patch", xlabel="t", ylim=(0, 6))
    left.set_ylabel("density")
    left.legend(frameon=False)
    return figure


def draw_samplers(pipe: pf.Pipeline) -> Figure:
    """The times of an easy and of a hard patch at each evaluation, for three samplers."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    rows = [
        ("Euler", "euler", 8),
        ("dual-loop, n = 4", "dual-loop", 2),
        ("look-ahead", "look-ahead", 5),
    ]
    for axes, (title, sampler, steps) in zip(figure.subplots(1, 3, sharey=True), rows, strict=True):
        states = states_of(pipe, "3", 0, sampler=sampler, num_steps=steps, time_grid="uniform")
        times = torch.cat([t for _, t in states])
        _staircase(axes, times)
        axes.set(title=f"{title}: {len(states) - 1} evaluations", xlabel="evaluation")
    figure.axes[0].set_ylabel("t that the network sees")
    figure.axes[0].legend(frameon=False)
    return figure


def _staircase(axes: Axes, times: Tensor) -> None:
    x = np.arange(1, len(times) + 1)
    lowest, highest = times.min(dim=1).values, times.max(dim=1).values
    axes.plot(x, highest, "o-", color="#2a9d8f", label="easy patches", markersize=4)
    axes.plot(x, lowest, "o-", color="#e76f51", label="hard patches", markersize=4)
    axes.set(xlim=(0.5, len(times) + 0.5), ylim=(-0.03, 1.03))
    axes.set_xticks(x, [*map(str, x[:-1]), "end"])


def draw_difficulty(pipe: pf.Pipeline, x_1: Tensor, label: int) -> Figure:
    """What the model sees at three times, the difficulty it predicts, and its true error."""
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    axes, path = figure.subplots(3, 4), pf.LinearPath(8)
    x_0 = torch.randn(x_1.shape, generator=torch.Generator().manual_seed(2))
    for row, t in enumerate((0.2, 0.5, 0.8)):
        time = pf.PatchTime.everywhere(t, x_1, 64)
        x_t = path.interpolate(x_0, x_1, time)
        with torch.no_grad():
            output = pipe.model(x_t, time, torch.tensor([label]))
        predicted = pf.difficulty(output.logvar, 8)
        error = (output.velocity - path.velocity(x_0, x_1)).square().mean(dim=1, keepdim=True)
        true = torch.nn.functional.avg_pool2d(error, 8).flatten(1)
        bounds = [
            float(quantile) for quantile in predicted.log().quantile(torch.tensor([0.02, 0.98]))
        ]
        maps = [patch_map(d[0].log(), (8, 8), DIFFICULTY, bounds) for d in (predicted, true)]
        shown = [picture(x_t), picture(path.predict_data(x_t, output.velocity, time)), *maps]
        for axis, image in zip(axes[row], shown, strict=True):
            axis.imshow(image, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(f"t = {t}", rotation=0, labelpad=22)
    titles = (
        "what the network sees",
        "the image it expects",
        "difficulty it predicts",
        "its squared error",
    )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    return figure


def main() -> None:
    """Writes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=IMAGES)
    out: Path = parser.parse_args().out
    pipe = pf.load("emoji-64")
    sampler = f"dual-loop:easy_fraction=0.5,inner_steps={INNER}"
    states = states_of(pipe, LABEL, SEED, sampler=sampler, num_steps=3, time_grid="uniform")
    draw_patch_time(states).save(out / "patch-time.png", optimize=True)
    x_1 = states[-1][0]
    with rc_context(STYLE):
        figures = {
            "training": draw_training(x_1),
            "densities": draw_densities(),
            "samplers": draw_samplers(pf.load("digits")),
            "difficulty": draw_difficulty(pipe, x_1, pipe.class_names.index(LABEL)),
        }
        for name, figure in figures.items():
            figure.savefig(out / f"method-{name}.png", dpi=100)


if __name__ == "__main__":
    main()

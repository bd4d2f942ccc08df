"""`pf.load(...)`: a model with everything around it, for one-line sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.codecs.autoencoder import Autoencoder
from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.core.time import check_grid
from patch_forcing.generation.decoder import find_decoder
from patch_forcing.generation.find import find_model
from patch_forcing.generation.generate import generate, to_uint8
from patch_forcing.models.config import DataInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import folder_hash, is_model_folder
from patch_forcing.models.inference import Precision, cast_weights, compile_whole
from patch_forcing.models.loading import load_model
from patch_forcing.sampling.compat import as_published
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.sampling.grids import GRIDS, Grid, QuantileGrid
from patch_forcing.sampling.guidance import (
    Autoguidance,
    ClassifierFreeGuidance,
    Guidance,
    Interval,
)
from patch_forcing.sampling.sampler import Sampler
from patch_forcing.sampling.samplers import SAMPLERS, preset, steps_within, usual_calls
from patch_forcing.views.images import to_pil
from patch_forcing.views.progress import progress_bar

DEFAULT_SAMPLER = "adams-bashforth"
"""The best at few evaluations, within 3 FD of the best at others (docs/results/samplers.md)."""

DECODED_AT_ONCE = 16
"""Latents that become images at once, at most: a decoder needs far more memory than a sampler."""


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline gives.

    images: PIL images, in seed order. pixels: the same, (B, C, H, W) uint8. seeds, labels: one for
    each image. sampler, time_grid: what made them. nfe: network evaluations per image, guidance
    counted. image_nfe: those of each image's own patches. seconds: wall-clock of all. trace: per
    evaluation t (B, N), difficulty (B, N), evaluated (B, N) and more, if asked for.
    guidance_schedule, weak_model (its hash), compat: as asked for.
    """

    images: list[Image.Image]
    pixels: UInt8[Tensor, "B C H W"]
    seeds: list[int]
    labels: list[int] | None
    sampler: str
    time_grid: list[float]
    guidance_scale: float
    guidance_interval: Interval | None
    nfe: float
    image_nfe: list[float]
    seconds: float
    trace: list[Evaluation] | None
    guidance_schedule: str = "constant"
    weak_model: str | None = None
    compat: str | None = None

    def trace_of(self, images: slice) -> list[Evaluation]:
        """The trace of some images; empty if none was kept."""
        return [evaluation[images] for evaluation in self.trace or ()]


@dataclass(frozen=True)
class Sampling:
    """All that images depend on besides the model, their seeds and their labels.

    name: the sampler's, as it is written. weak_model: the hash of the one to be guided away from.
    """

    name: str
    sampler: Sampler
    time_grid: list[float]
    guidance: Guidance | None
    guidance_scale: float
    guidance_interval: Interval | None
    guidance_schedule: str
    weak_model: str | None
    compat: str | None


class Pipeline:
    """A loaded model that makes images.

    name: what it was loaded by. folder: where it lay. hash: of both its files, tells models apart;
    empty if it lies nowhere yet, since it is in training: the folder is that of its run.
    precision: what the network computes in. autoencoder: what decodes a latent model's samples.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        model: PatchDiT,
        precision: Precision = "fp32",
        autoencoder: Autoencoder | None = None,
    ):
        self.name = name
        self.folder = folder
        self.model, self.precision, self.autoencoder = model, precision, autoencoder
        self.hash = folder_hash(folder) if is_model_folder(folder) else ""

    def __call__(
        self,
        labels: Sequence[int | str] | None = None,
        seeds: Sequence[int] = (0,),
        *,
        sampler: str | Sampler = DEFAULT_SAMPLER,
        num_steps: int | None = None,
        nfe: float | None = None,
        time_grid: str | Sequence[float] | Tensor | None = None,
        guidance_scale: float = 1.0,
        guidance_interval: Interval | None = None,
        guidance_schedule: str = "constant",
        autoguidance: "Pipeline | None" = None,
        compat: str | None = None,
        batch_size: int = 64,
        trace: bool = False,
        progress: bool | None = False,
    ) -> PipelineResult:
        """One image for each seed.

        labels: one for all or one for each seed, numbers or class names; None is unconditional.
        sampler: a name, `name:option=value`, or a sampler. num_steps or nfe: steps, or a budget of
        network evaluations (guidance counted), for which a sampler without options takes the best
        settings known, as the result says; without either, as many steps as 48 calls of the
        field allow, 24 for samplers of second order. time_grid: how steps are placed: uniform,
        shifted:shift=1.6, or fitted, which is the default of models that bring one; or the times
        themselves, in place of steps.
        guidance_scale: 1 is none. guidance_interval: times between which it acts.
        guidance_schedule: constant, linear or cosine (`ClassifierFreeGuidance`). autoguidance: a
        weaker model to be guided away from, in place of the missing condition.
        compat: published, for the samplers of the paper: what their published code does
        differently under guidance (`as_published`), in equal steps, with settings as they are.
        trace: keep every evaluation. progress: draw a bar; None draws it if stderr is a terminal.
        Raises UserError for values that do not fit the model, before any work.
        """
        sampling = self.sampling(
            sampler=sampler,
            num_steps=num_steps,
            nfe=nfe,
            time_grid=time_grid,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            guidance_schedule=guidance_schedule,
            autoguidance=autoguidance,
            compat=compat,
        )
        numbers = None if labels is None else self.label_numbers(labels)
        with progress_bar(progress, total=len(seeds), unit="image") as bar:
            return self.sample(
                sampling, numbers, seeds, batch_size=batch_size, trace=trace, advance=bar.update
            )

    def sampling(
        self,
        *,
        sampler: str | Sampler = DEFAULT_SAMPLER,
        num_steps: int | None = None,
        nfe: float | None = None,
        time_grid: str | Sequence[float] | Tensor | None = None,
        guidance_scale: float = 1.0,
        guidance_interval: Interval | None = None,
        guidance_schedule: str = "constant",
        autoguidance: "Pipeline | None" = None,
        compat: str | None = None,
    ) -> Sampling:
        """What a call with these options does, as above. Raises UserError if they do not fit."""
        guidance = self._guidance(
            guidance_scale, guidance_interval, guidance_schedule, autoguidance
        )
        if compat not in (None, "published"):
            raise unknown_name("compat", str(compat), ["published"])
        if compat and time_grid is None:
            time_grid = "uniform"
        patches = self.model.config.num_patches
        if isinstance(sampler, str) and nfe is not None and not compat:
            placing = self._placing(time_grid if isinstance(time_grid, str) else None)
            sampler = preset(sampler, nfe, patches, guidance, placing)
        solver = build("sampler", SAMPLERS, sampler) if isinstance(sampler, str) else sampler
        if compat:
            solver, guidance = as_published(solver, guidance)
        if isinstance(time_grid, str) or time_grid is None:
            grid = _grid(solver, self._placing(time_grid), patches, guidance, num_steps, nfe)
        elif num_steps is None and nfe is None:
            grid = check_grid(time_grid)
        else:
            raise UserError("times and a number of steps exclude each other: give one of them")
        return Sampling(
            sampler if isinstance(sampler, str) else repr(sampler),
            solver,
            grid,
            guidance,
            guidance_scale,
            guidance_interval,
            guidance_schedule,
            None if autoguidance is None else autoguidance.hash,
            compat,
        )

    def sample(
        self,
        sampling: Sampling,
        labels: Sequence[int] | None,
        seeds: Sequence[int],
        *,
        batch_size: int = 64,
        trace: bool = False,
        advance: Callable[[int], object] = int,
    ) -> PipelineResult:
        """One image for each seed, as a call makes them. advance: told each batch's size."""
        if batch_size < 1:
            raise UserError(f"batch size {batch_size} is out of range: choose 1 or more")
        seeds = [int(seed) for seed in seeds]
        batches = []
        for batch in generate(
            self.model,
            sampling.sampler,
            sampling.time_grid,
            seeds,
            labels,
            guidance=sampling.guidance,
            batch_size=batch_size,
            trace=trace,
            decode=self.decode,
        ):
            batches.append(batch)
            advance(len(batch.seeds))
        pixels = torch.cat([batch.images for batch in batches])
        used = [label for batch in batches for label in batch.labels or ()]
        traces = [batch.trace for batch in batches if batch.trace is not None]
        return PipelineResult(
            [to_pil(image) for image in pixels],
            pixels,
            seeds,
            used or None,
            sampling.name,
            sampling.time_grid,
            sampling.guidance_scale,
            sampling.guidance_interval,
            sum(batch.nfe * len(batch.seeds) for batch in batches) / len(seeds),
            [own for batch in batches for own in batch.image_nfe],
            sum(batch.seconds for batch in batches),
            [Evaluation.join(calls) for calls in zip(*traces, strict=True)] if trace else None,
            sampling.guidance_schedule,
            sampling.weak_model,
            sampling.compat,
        )

    def _guidance(
        self, scale: float, interval: Interval | None, schedule: str, weak: "Pipeline | None"
    ) -> Guidance | None:
        if scale == 1:
            asked = {"interval": interval, "schedule": None if schedule == "constant" else schedule}
            for what, value in (asked | {"weak model": weak and weak.name}).items():
                if value is not None:
                    raise UserError(
                        f"guidance {what} {value} without guidance: give a scale other than 1"
                    )
            return None
        if weak is None:
            return ClassifierFreeGuidance(scale, interval, schedule=schedule)
        for what in ("in_channels", "image_size", "patch_size", "num_classes"):
            theirs, ours = getattr(weak.model.config, what), getattr(self.model.config, what)
            if theirs != ours:
                raise UserError(
                    f"{weak.name} has {what} {theirs}, {self.name} has {ours}: guide by a weaker "
                    "model of the same images"
                )
        told = self.model.data_info.mismatch(weak.model.data_info)
        if told:
            raise UserError(
                f"the images of {weak.name} have {told}, as those of {self.name}: guide by a "
                "weaker model of the same images"
            )
        return Autoguidance(weak.model, scale, interval, schedule=schedule)

    def _placing(self, name: str | None) -> Grid:
        """The rule of that name for placing steps; None is the model's own, if it has one."""
        fitted = self.model.sampling_info.time_quantiles
        if name == "fitted" and not fitted:
            raise UserError(
                f"{self.name} has no fitted time grid: choose uniform or shifted, or fit one with "
                f"patch-forcing bench grid {self.name}"
            )
        if fitted and name in (None, "fitted"):
            return QuantileGrid(fitted)
        return build("time grid", GRIDS, "uniform" if name is None else name)

    @torch.no_grad()
    def decode(self, x_1: Float[Tensor, "B C h w"]) -> UInt8[Tensor, "B D H W"]:
        """What the network makes → images: pixels, or what the autoencoder makes of latents."""
        if self.autoencoder is None:
            return to_uint8(x_1, self.model.data_info)
        z = self.autoencoder.space.raw(x_1.float())
        parts = [self.autoencoder.decode(part) for part in z.split(DECODED_AT_ONCE)]
        return to_uint8(torch.cat(parts), DataInfo())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        sizes = self.model.config
        if self.autoencoder is None:
            return (sizes.in_channels, *sizes.image_size)
        height, width = (side * self.autoencoder.space.factor for side in sizes.image_size)
        return (3, height, width)

    @property
    def pixels_per_patch(self) -> int:
        """The side of a patch in the image."""
        space = None if self.autoencoder is None else self.autoencoder.space
        return self.model.patch_size * (1 if space is None else space.factor)

    def label_numbers(self, labels: Sequence[int | str]) -> list[int]:
        """Labels as numbers. Raises UserError for a name that is no class, naming the nearest."""
        names = self.model.data_info.class_names
        numbers = []
        for label in labels:
            if isinstance(label, str) and label in names:
                label = names.index(label)
            elif isinstance(label, str):
                raise unknown_name("class", label, names)
            numbers.append(int(label))
        return numbers

    def class_name(self, label: int) -> str:
        """The name of a label, or its number if the model has no names."""
        names = self.model.data_info.class_names
        return names[label] if names else str(label)


def load(
    name: str | Path,
    device: torch.device | str = "cpu",
    *,
    precision: Precision = "fp32",
    compile: bool = False,
    autoencoder: str | Path | None = None,
    preview: str | Path | None = None,
) -> Pipeline:
    """The pipeline of a bundled name, a folder (of a model or a training run), or a Hub id.

    precision: what the network computes in; images are then the same but for rounding. compile:
    the network is compiled for each shape it meets, half a minute each. autoencoder: of a latent
    model, where its own lies if not where it was; preview: a tiny decoder instead.
    Raises UserError saying what is missing or damaged, does not belong together, or what this
    machine lacks for fp8.
    """
    folder = find_model(name)
    model = load_model(folder, device)
    channels = model.config.in_channels
    decoder = find_decoder(name, model.data_info, channels, autoencoder, preview, device)
    cast_weights(model, precision)
    if compile:
        compile_whole(model)
    return Pipeline(str(name), folder, model, precision, decoder)


def _grid(
    sampler: Sampler,
    placing: Grid,
    num_patches: int,
    guidance: Guidance | None,
    num_steps: int | None,
    nfe: float | None,
) -> list[float]:
    if num_steps is not None and nfe is not None:
        raise UserError("steps and nfe exclude each other: give one of them")
    if num_steps is not None:
        return placing(num_steps)
    if nfe is not None:
        return placing(steps_within(sampler, nfe, num_patches, guidance, placing))
    return placing(steps_within(sampler, usual_calls(sampler), num_patches, make_grid=placing))

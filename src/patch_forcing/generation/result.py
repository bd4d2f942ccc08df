"""What a pipeline gives: images, how they were made, and pictures of that."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.request import Sampling
from patch_forcing.io.image_file import encoded_image
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.views.film import film_frames, save_film
from patch_forcing.views.images import to_pil
from patch_forcing.views.maps import maps_sheet
from patch_forcing.views.sheets import run_title, sample_sheet

MAX_MAPS, MAX_FILMED = 16, 4
"""Images that maps and a film show."""


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline gives.

    images: PIL images, in seed order. pixels: the same, (B, C, H, W) uint8. seeds, conditions: one
    for each image. sampling: how they were made. nfe: network evaluations per image, guidance
    counted. image_nfe: those of each image's own patches. seconds: wall-clock of all. trace: per
    evaluation t (B, N), difficulty (B, N), evaluated (B, N) and more, if it was to be kept.
    pixels_per_patch: side of a patch in an image. decode: what makes pixels of a prediction.

    A notebook shows it as its sheet.
    """

    images: list[Image.Image]
    pixels: UInt8[Tensor, "B C H W"]
    seeds: list[int]
    conditions: Conditions
    sampling: Sampling
    nfe: float
    image_nfe: list[float]
    seconds: float
    trace: list[Evaluation] | None
    pixels_per_patch: int
    decode: Callable[[Tensor], UInt8[Tensor, "B C H W"]] = field(repr=False, compare=False)

    @property
    def labels(self) -> list[int] | None:
        """The class of each image; None where conditions are no classes."""
        labels = self.conditions.labels
        return None if labels is None else list(labels)

    @property
    def sampler(self) -> str:
        """The sampler as it is written, with its options."""
        return self.sampling.name

    @property
    def time_grid(self) -> list[float]:
        """The times that its steps go through, from 0 to 1."""
        return list(self.sampling.time_grid)

    @property
    def guidance_scale(self) -> float:
        """1 is none."""
        return self.sampling.request.guidance_scale

    @property
    def title(self) -> str:
        """How the images were made, in one line."""
        return self._title(self.nfe)

    def details(self) -> dict[str, object]:
        """What `samples.json` says of every image besides how it was sampled."""
        return {}

    def trace_of(self, images: slice) -> list[Evaluation]:
        """The trace of a range of images; empty if none was kept."""
        return [evaluation[images] for evaluation in self.trace or ()]

    def sheet(self) -> Image.Image:
        """The first hundred images side by side, with their classes and how they were made."""
        return sample_sheet(self.images, self._captions(slice(None)), self.title)

    def maps(self) -> Image.Image:
        """The first sixteen images with maps of difficulty and time, as means over the run.

        Raises UserError if no trace was kept.
        """
        first = slice(MAX_MAPS)
        return maps_sheet(
            self.images[first],
            self._captions(first),
            self._kept("maps", first),
            self.pixels_per_patch,
            title=self.title,
        )

    def film(self, path: str | Path) -> Path:
        """Writes the making of the first four images as a GIF, and returns its path.

        Raises UserError if no trace was kept, or for a name that does not end in .gif.
        """
        path = Path(path)
        if path.suffix.lower() != ".gif":
            raise UserError(f"film {path}: name a file that ends in .gif")
        first = slice(MAX_FILMED)
        frames = film_frames(
            self.images[first],
            self._captions(first),
            self._kept("a film", first),
            lambda evaluation: [to_pil(image) for image in self.decode(evaluation.prediction)],
            self.pixels_per_patch,
            title=f"{self._title()}: ",
        )
        save_film(frames, path)
        return path

    def _repr_png_(self) -> bytes:
        """The sheet, as notebooks show it."""
        return encoded_image(self.sheet(), "PNG")

    def _title(self, nfe: float | None = None) -> str:
        kind = self.sampling.request.kind_of_guidance
        return run_title(self.sampler, self.guidance_scale, nfe, kind)

    def _captions(self, images: slice) -> list[str]:
        return self.conditions[images].captions(self.seeds[images])

    def _kept(self, what: str, images: slice) -> list[Evaluation]:
        if self.trace is None:
            raise UserError(f"no trace was kept to draw {what} of: sample with trace=True")
        return self.trace_of(images)

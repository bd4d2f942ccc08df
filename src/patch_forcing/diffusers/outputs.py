"""Images in the form that users of diffusers ask for."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.diffusers.steps import Watch
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.decoder import makes_pixels
from patch_forcing.generation.generate import generate
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import Sampling
from patch_forcing.views.images import to_pil

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
Images = list[Image.Image] | np.ndarray | Tensor


def check_output(pipe: Pipeline, output_type: str) -> None:
    """Raises UserError if the pipeline cannot give its images in this form."""
    if output_type not in OUTPUT_TYPES:
        raise unknown_name("output_type", output_type, OUTPUT_TYPES)
    pixels = makes_pixels(pipe.model.data_info, pipe.model.config.in_channels)
    if output_type != "latent" and pipe.autoencoder is None and not pixels:
        raise UserError(
            "this model makes latents, and the pipeline has no vae: give it the autoencoder of the "
            'model, or choose output_type="latent"'
        )


def make(
    pipe: Pipeline,
    sampling: Sampling,
    seeds: Sequence[int],
    conditions: Conditions,
    batch_size: int,
    output_type: str,
    watch: Watch,
) -> tuple[Images, float]:
    """The images, on the CPU, and the network evaluations of each."""
    latents: list[Tensor] = []

    def keep(x_1: Tensor) -> Tensor:
        latents.append(x_1.float().cpu())
        return torch.zeros(len(x_1), 1, 1, 1, dtype=torch.uint8)

    decode = keep if output_type == "latent" else pipe.decode
    batches = list(
        generate(
            pipe.model,
            sampling,
            seeds,
            conditions,
            batch_size=batch_size,
            decode=decode,
            callback=watch,
        )
    )
    nfe = sum(batch.nfe * len(batch.seeds) for batch in batches) / len(seeds)
    if output_type == "latent":
        return torch.cat(latents), nfe
    return _in_form(torch.cat([batch.images for batch in batches]), output_type), nfe


def _in_form(pixels: Tensor, output_type: str) -> Images:
    if output_type == "pil":
        return [to_pil(image) for image in pixels]
    numbers = pixels.float() / 255
    return numbers if output_type == "pt" else numbers.permute(0, 2, 3, 1).numpy()

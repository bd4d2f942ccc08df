"""Are samples copies of training images: nearest neighbours, against those of held-out images."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.evaluation.neighbours import Nearest, nearer_to_training, nearest
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.looking import Features
from patch_forcing.views.images import to_pil
from patch_forcing.views.sheets import sample_sheet

PAIRS = 10
"""Samples that the sheet shows beside their nearest training images."""


@dataclass(frozen=True)
class Copies:
    """What was found in the features of one network."""

    estimate: Estimate
    nearest: Nearest


def check_held_out(reference: Features, train: Features, name: str) -> int:
    """How many images of the reference are training images, to the pixel.

    Raises UserError if it is half of them or more: then it is not held out.
    """
    known = {row.tobytes() for row in train.digests}
    shared = sum(row.tobytes() in known for row in reference.digests)
    if 2 * shared >= len(reference.digests):
        raise UserError(
            f"--reference {name}: {shared} of its {len(reference.digests)} images are those of "
            "--train, so it is not held out: name images that were not trained on"
        )
    return shared


def find_copies(
    sampled: Float[Tensor, "n F"], held_out: Float[Tensor, "m F"], train: Float[Tensor, "k F"]
) -> Copies:
    """How near samples are to training images, next to how near held-out images are."""
    near = nearest(sampled, train)
    real = nearest(held_out, train).distances
    return Copies(nearer_to_training(near.distances, real), near)


def pairs_sheet(copies: Copies, sampled: ImageSet, train: ImageSet) -> Image.Image:
    """The ten samples nearest to a training image, each beside that image."""
    order = copies.nearest.distances.argsort()[:PAIRS].tolist()
    pictures, captions = [], []
    for place in order:
        member = int(copies.nearest.members[place])
        distance = float(copies.nearest.distances[place])
        seed = place if sampled.seeds is None else sampled.seeds[place]
        for images, number, caption in (
            (sampled, place, f"sample {seed}"),
            (train, member, f"training, {distance:.3g} away"),
        ):
            pictures.append(to_pil(images.batch(slice(number, number + 1))[0]))
            captions.append(caption)
    return sample_sheet(pictures, captions, "samples and their nearest training images")


def copies_row(copies: Copies, shared: int, train: ImageSet, train_hash: str) -> dict[str, Any]:
    """What a record says of them, besides the estimate."""
    return {
        "name": train.name,
        "n": train.count,
        "hash": train_hash,
        "reference_images_among_them": shared,
        "smallest_distance": float(copies.nearest.distances.min()),
    }

"""The metrics by name, as commands and records write them."""

from collections.abc import Sequence

from patch_forcing.core.errors import UserError, unknown_name

METRICS = {
    "fd": "Fréchet distance, named FID with Inception",
    "sfid": "Fréchet distance of features that keep their place (Inception only)",
    "kid": "kernel distance, without bias",
    "cmmd": "kernel distance of CLIP's embeddings, times 1000",
    "clip-score": "how well samples show their prompts, 0 to 100 (CLIP only)",
    "is": "Inception score, by the classes of the network",
    "precision": "share of samples near a real image",
    "recall": "share of real images near a sample",
    "density": "how densely real images lie around samples",
    "coverage": "share of real images with a sample nearby",
    "fd-infinity": "Fréchet distance at infinitely many samples, by a fit against 1/N",
    "fd-by-class": "Fréchet distance of each class, the worst first",
}
NEARER, NEARER_NAME = "nearer-to-training", "share nearer to training images than new images are"
"""The metric of copies, which --train adds; 0.5 is none."""
LOWER_IS_BETTER = ("fd", "sfid", "kid", "cmmd", "fd-infinity", NEARER)
USUAL = (
    "fd", "sfid", "kid", "cmmd", "clip-score", "is", "precision", "recall", "density", "coverage",
)  # fmt: skip
"""What is measured where nobody chooses, so far as network and reference allow."""
COUNT = 1000
"""Samples where nobody chooses."""


def check_metrics(names: Sequence[str]) -> None:
    """Raises UserError for a name that is none."""
    for name in names:
        if name == "fid":
            raise UserError(
                "metric fid is fd in Inception's features: fd, and --features inception"
            )
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)

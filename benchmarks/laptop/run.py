"""A stranger's folder of images, trained for some minutes: do samples show what they are asked for?

    python -m benchmarks.laptop.run --images DIR --out docs/results/laptop/drawings.json

Trains with the command that users type, options behind -- included, and samples as `sample` does.
A classifier of features that has seen only the real images names the samples; how well it names
real ones is cross-validated. Needs subfolders of images, one for each class.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import FolderSource
from patch_forcing.features.find import find_encoder
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.io.run_metrics import read_metrics
from patch_forcing.io.run_record import read_record

FOLDS = 5
BATCH = 64
INTERVAL = (0.1, 0.8)


def train(options: argparse.Namespace) -> float:
    """Seconds of `patch-forcing train folder` in a process of its own; nothing where it is done."""
    command = ["train", "folder", "--data.path", str(options.images), "--out", str(options.run)]
    command += ["--minutes", str(options.minutes)] if options.minutes else []
    command += ["--device", options.device, *options.rest]
    started = time.perf_counter()
    if subprocess.run([sys.executable, "-m", "patch_forcing", *command]).returncode:
        sys.exit("training failed")
    return time.perf_counter() - started


def real_images(folder: Path, size: int, class_names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """All images as the network sees them, unmirrored, (M, 3, H, W) in [−1, 1], and labels (M,)."""
    data = FolderSource(path=str(folder), size=size, channels=3, flip=False, held_out=0.0).open()
    assert data.info.class_names == class_names
    batch = data.batch(BatchSpec(0, data.num_samples, 0))
    assert batch.condition is not None
    return batch.x_1, batch.condition


def samples(
    pipe: Pipeline, count: int, seed: int, guidance: float | None = None
) -> tuple[Tensor, Tensor, float]:
    """So many of each class, with labels and evaluations an image.

    guidance: its scale, at t 0.1 … 0.8; None: as the model recommends.
    """
    labels = torch.arange(len(pipe.class_names)).repeat(count)
    options = (
        {} if guidance is None else {"guidance_scale": guidance, "guidance_interval": INTERVAL}
    )
    result = pipe(labels=labels.tolist(), seeds=range(seed, seed + len(labels)), **options)
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in result.images])
    return torch.from_numpy(pixels).movedim(3, 1) / 127.5 - 1, labels, result.nfe


def read(encoder: str, images: Tensor, device: str) -> np.ndarray:
    """Features of images, (M, F)."""
    network = find_encoder(encoder).to(device)
    parts = [network.features(part.to(device)).float().cpu() for part in images.split(BATCH)]
    return torch.cat(parts).numpy()


def judged(
    encoder: str, real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor], device: str
) -> Row:
    """How many samples are named as asked, by a classifier of real images, and how good that is."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    features, labels = read(encoder, real[0], device), real[1].numpy()
    known = cross_val_score(classifier, features, labels, cv=FOLDS)
    classifier.fit(features, labels)
    right = classifier.predict(read(encoder, made[0], device)) == made[1].numpy()
    share, error = right.mean(), 1.96 * (right.mean() * (1 - right.mean()) / len(right)) ** 0.5
    classes = [float(right[made[1].numpy() == label].mean()) for label in range(made[1].max() + 1)]
    return {
        "features": encoder,
        "accuracy": float(share),
        "interval": [float(share - error), float(share + error)],
        "by_class": classes,
        "accuracy_on_real": float(known.mean()),
    }


def main() -> None:
    """Train, sample, judge, write."""
    parser = command_line(__doc__)
    parser.add_argument("--images", type=Path, required=True, help="subfolders, one for each class")
    parser.add_argument("--run", type=Path, default=Path("runs/laptop"))
    parser.add_argument("--minutes", type=float, help="default: as the command takes")
    parser.add_argument("--each", type=int, default=16, help="samples of a class")
    parser.add_argument("--features", nargs="+", default=["emoji"])
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--sheet", type=Path, help="four samples of each class as a PNG")
    parser.add_argument("rest", nargs="*", help="behind --: options of train folder")
    options = parser.parse_args()
    seconds = train(options)
    pipe = load(options.run, options.device)
    size = pipe.model.config.image_size[0]
    images, labels, nfe = samples(pipe, options.each, options.seed)
    real = real_images(options.images, size, pipe.class_names)
    rows = read_metrics(options.run)
    report = {
        **provenance(__file__, options.device),
        "images": len(real[1]),
        "classes": list(pipe.class_names),
        "options": options.rest,
        "minutes": options.minutes,
        "seconds": round(seconds, 1),
        "load": os.getloadavg()[1],
        "steps": read_record(options.run)["recipe"]["steps"],
        "last": {key: rows[-1].get(key) for key in ("velocity", "held_out", "seen")},
        "samples": len(labels),
        "nfe": nfe,
        "judges": [
            judged(name, real, (images, labels), options.device) for name in options.features
        ],
    }
    for judge in report["judges"]:
        print({key: judge[key] for key in ("features", "accuracy", "accuracy_on_real")})
    write_json(options.out, report)
    if options.sheet:
        count = len(pipe.class_names)
        grid = images[: 4 * count].unflatten(0, (4, count))  # (row, class, 3, H, W)
        pixels = (
            ((grid + 1) * 127.5).round().byte().permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        )
        Image.fromarray(pixels.numpy()).save(options.sheet)


if __name__ == "__main__":
    main()

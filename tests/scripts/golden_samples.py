"""Samples of the bundled models, to be compared with those recorded; for test_golden.py.

python -m tests.scripts.golden_samples    # records them, after a change meant to change samples
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from patch_forcing.cli.main import run
from patch_forcing.sampling.samplers import SAMPLERS
from tests.support.golden import GOLDEN, machine

OPTIONS = ["--nfe", "8", "--guidance", "2", "--guidance-interval", "0.1", "0.8"]
MODELS = {
    "digits": ["--labels", "3,7", "--seeds", "7-8", *OPTIONS],
    "emoji-64": ["--labels", "cat-face", "--seeds", "7", *OPTIONS],
}
FOLDER = GOLDEN / "samples"


def sampled(model: str, sampler: str, out: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """What the command writes: its records, and the images from left to right, (H, W·B, C)."""
    run(["sample", model, *MODELS[model], "--sampler", sampler, "--out", str(out)])
    rows = json.loads((out / "samples.json").read_text(encoding="utf-8"))
    for row in rows:
        del row["seconds"]
    images = [np.asarray(Image.open(out / f"{row['seed']}.png").convert("RGB")) for row in rows]
    return rows, np.concatenate(images, axis=1)


def recorded(model: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The machine and the records, and the images by sampler: lines of one picture."""
    record = json.loads((FOLDER / f"{model}.json").read_text(encoding="utf-8"))
    picture = np.asarray(Image.open(FOLDER / f"{model}.png").convert("RGB"))
    lines = np.split(picture, len(record["rows"]))
    return record, dict(zip(record["rows"], lines, strict=True))


def main() -> None:
    """Record all."""
    FOLDER.mkdir(exist_ok=True)
    for model in MODELS:
        rows, lines = {}, []
        for sampler in SAMPLERS:
            with tempfile.TemporaryDirectory() as out:
                rows[sampler], line = sampled(model, sampler, Path(out))
            lines.append(line)
        Image.fromarray(np.concatenate(lines)).save(FOLDER / f"{model}.png", optimize=True)
        text = json.dumps({"on": machine(), "rows": rows}, indent=1)
        (FOLDER / f"{model}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

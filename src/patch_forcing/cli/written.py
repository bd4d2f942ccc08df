"""What is said of what was made: images, how many and where they lie, and records."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patch_forcing.generation.sample_folder import SampleFolder


def made(count: int, nfe: float) -> str:
    """Such as: 8 images with 41 evaluations each."""
    evaluations = f"{nfe:g} evaluation{'s' * (nfe != 1)}"
    return (
        f"1 image with {evaluations}" if count == 1 else f"{count} images with {evaluations} each"
    )


def image_files(folder: SampleFolder, seeds: Sequence[int]) -> str:
    """The first and the last of them."""
    first, last = folder.image(seeds[0]), folder.image(seeds[-1])
    return str(first) if len(seeds) == 1 else f"{first} to {last.name}"


def beside(folder: SampleFolder, *, maps: bool, film: bool) -> str:
    """The line about what lies beside the images."""
    names = [folder.maps.name] * maps + [folder.film.name] * film
    others = f", with {' and '.join(names)}" if names else ""
    return f"side by side: {folder.sheet}{others}; how each was made: {folder.record}"


def print_record(record: Mapping[str, Any], shown: bool, kept: Path | None) -> None:
    """One JSON object on stdout, for a program that reads it, or if it is to be shown.

    A terminal shows the table of stderr in its place, and how the record is had. shown: whether it
    is printed there too. kept: the file that it was written to.
    """
    if shown or not sys.stdout.isatty():
        print(json.dumps(record))
        return
    whole = f"is in {kept}" if kept is not None else "was not kept: --out FILE.json keeps it"
    print(f"the whole record {whole}; --json prints it", file=sys.stderr)

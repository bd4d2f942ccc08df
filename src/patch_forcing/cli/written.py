"""What is said of images that were made: how many, by how much, and where they lie."""

from collections.abc import Sequence

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

"""The images of a training run, as its run.json names them: without torch until they are opened."""

from pathlib import Path
from typing import NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.image_options import ImageOptions, local_path
from patch_forcing.data.layout import Layout
from patch_forcing.data.recorded_source import recorded_source
from patch_forcing.io.run_layout import is_run_folder
from patch_forcing.io.run_record import read_record

_INSTEAD = "give a folder of images that it was not trained on"


def run_source(run: Path) -> ImageOptions:
    """The data of a run. Raises UserError, before torch is loaded, unless some were held out."""
    source = recorded_source(run, read_record(run)["recipe"]["data"])
    kind = type(source).__name__.removesuffix("Source").lower()
    if not isinstance(source, ImageOptions):
        raise UserError(f"{run} was trained on {kind}, of which nothing is held out: {_INSTEAD}")
    if source.held_out == 0:
        raise UserError(f"{run} was trained with data.held_out=0, on all of its images: {_INSTEAD}")
    if source.fit != "crop":
        raise UserError(
            f"{run} was trained with data.fit={source.fit}, and a reference is cropped: {_INSTEAD}"
        )
    try:
        source.check()
    except UserError as error:
        raise UserError(f"{run} names its images in run.json: {error}") from None
    return source


class RunLayouts(NamedTuple):
    """Images that a run is trained on, and those that it holds out."""

    trained: Layout
    held_out: Layout


def run_layouts(run: Path) -> RunLayouts:
    """The images that a run is trained on, and those that it holds out.

    Raises UserError as `run_source` does, if none was held out, or if images were added or removed
    since: one that was trained on may then be taken for one that was not.
    """
    data = run_source(run).open()
    if data.held_out is None:
        raise UserError(f"{run} holds no image out, since it has so few: {_INSTEAD}")
    recorded = read_record(run).get("found", {})
    now = data.facts
    if any(recorded.get(name) != now[name] for name in ("names", "contents") if name in now):
        raise UserError(
            f"{run}: images of {data.place} were added, removed or replaced since, so which it "
            f"held out is not known: {_INSTEAD}"
        )
    return RunLayouts(data.layout, data.held_out)


def trained_on(model: str | Path, reference: str) -> bool:
    """Whether a model is a run, and the reference the place of all of its images."""
    run = Path(model)
    if not is_run_folder(run):
        return False
    data = read_record(run)["recipe"]["data"]
    place = str(data.get("path") or "") if isinstance(data, dict) else ""
    return bool(place) and local_path(place).resolve() == Path(reference).resolve()

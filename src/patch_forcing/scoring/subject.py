"""What is measured, as a user names it: a model, a folder of images, or an array."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.names import EMOJI
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.scoring.array_images import ArrayImages
from patch_forcing.scoring.folder_images import FolderImages
from patch_forcing.scoring.front import scene_labels
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.metric_names import COUNT
from patch_forcing.scoring.model_images import ModelImages, label_plan
from patch_forcing.scoring.places import names_array, names_plain_folder
from patch_forcing.scoring.reference import Reference


def stored_images(name: str | Path, count: int | None = None) -> ImageSet | None:
    """The images of a folder or an .npz file; None if the name is a model's.

    Raises UserError if they are bad.
    """
    if names_array(name):
        return ArrayImages(Path(name), count)
    return FolderImages(Path(name), count=count) if names_plain_folder(name) else None


def model_images(
    pipe: Pipeline,
    reference: Reference,
    *,
    count: int | None = None,
    seeds: Sequence[int] | None = None,
    labels: Any = None,
    prompts: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 64,
) -> ModelImages:
    """The images of a model that are held against a reference.

    count: seeds from 0 on; 1000, unless seeds are given. labels: as a pipeline takes them; None:
    classes as often as the reference has them, or else each class in turn. prompts: likewise, of a
    model of texts; None: those of the reference, if it has texts. options: fields of a
    `SampleRequest`. Raises UserError if they do not fit the model.
    """
    if count is not None:
        check_range("count", count, 1, whole=True)
        if seeds is not None:
            raise UserError(f"count={count} and seeds exclude each other: give one of them")
    seeds = range(COUNT if count is None else count) if seeds is None else seeds
    if labels is None:
        labels = _labels(pipe, reference, seeds)
    if prompts is None and pipe.condition_kind.keyword == "prompt":
        written = None if reference.images is None else reference.images.prompts
        prompts = None if written is None else label_plan(written, seeds)
    chosen = pipe.choose({"labels": labels, "prompt": prompts}, options or {})
    sampling = pipe.resolve(chosen.request)
    return ModelImages(pipe, sampling, chosen.conditions, seeds, batch_size)


def _labels(pipe: Pipeline, reference: Reference, seeds: Sequence[int]) -> Any:
    classes = pipe.model.config.num_classes
    if not classes:
        return None
    if reference.name == EMOJI and reference.images is None:
        features = load_emoji_features()
        if features.class_names == pipe.class_names:
            return scene_labels(features, seeds)
    if reference.images is None or reference.images.labels is None:
        return [seed % classes for seed in seeds]
    names = pipe.class_names
    wanted = label_plan(reference.images.labels, seeds)
    return [label if label in names or not label.isdigit() else int(label) for label in wanted]

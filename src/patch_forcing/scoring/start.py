"""`pf.evaluate(…)`: how good samples are, in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.scoring.array_images import TensorImages
from patch_forcing.scoring.evaluate import Measurement, measure
from patch_forcing.scoring.evaluation import Evaluation
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.reference import find_reference
from patch_forcing.scoring.subject import model_images, stored_images


def evaluate(
    subject: Pipeline | str | Path | Tensor,
    reference: str | Path,
    *,
    features: Sequence[str] = (),
    metrics: Sequence[str] = (),
    count: int | None = None,
    seeds: Sequence[int] | None = None,
    labels: Any = None,
    prompts: Sequence[str] | None = None,
    train: str | Path | None = None,
    work: str | Path | None = None,
    pairs: str | Path | None = None,
    statistics: str | Path | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    progress: bool | None = False,
    **options: Any,
) -> Evaluation:
    """Measure samples against a reference, as `patch-forcing evaluate` does.

    subject: a pipeline, a model by name, a folder of images, an .npz of arr_0, or pixels of
    images, uint8 (N, 3, H, W). reference: a folder, a run, of which it is the images that it held
    out, an .npz of images or of mu and sigma, or "emoji". features, metrics: by name; empty: those
    that are there and fit. count: images, of seeds from 0 on; 1000 of a model. labels: as a
    pipeline takes them; None: as often as the reference has them. prompts: of a model of texts,
    likewise. train, work, pairs, statistics: as `Measurement` takes them. device: of a pipeline,
    its own. options: fields of a `SampleRequest`.

        e = pf.evaluate("emoji-64", "emoji", count=500, metrics=["fd"], sampler="euler", nfe=50)
        e["fd"]["value"], e["fd"]["low"], e["fd"]["high"]
        e.save("euler.json")
        e.warning                                # if the images are too few to believe it

    Raises UserError for what does not fit together, before any image is made.
    """
    paths = [None if path is None else Path(path) for path in (train, work, pairs, statistics)]
    measurement = Measurement(tuple(features), tuple(metrics), *paths)
    images = _there(subject, count)
    if images is not None:
        conditions = {"seeds": seeds, "labels": labels, "prompts": prompts}
        given = [*options, *(name for name, value in conditions.items() if value is not None)]
        if given:
            raise UserError(
                f"{given[0]} is of models, and {images.name} holds images: leave it out"
            )
        held = find_reference(str(reference), images.size)
    else:
        assert not isinstance(subject, Tensor)
        pipe = subject if isinstance(subject, Pipeline) else load(subject, device)
        device = str(pipe.model.pos_embed.device)
        sides = tuple(options.get("size") or pipe.image_shape[1:])
        held = find_reference(str(reference), sides)
        images = model_images(
            pipe,
            held,
            count=count,
            seeds=seeds,
            labels=labels,
            prompts=prompts,
            options=options,
            batch_size=batch_size,
        )
    evaluation = measure(images, held, measurement, device=device, progress=progress)
    assert evaluation is not None
    return evaluation


def _there(subject: Pipeline | str | Path | Tensor, count: int | None) -> ImageSet | None:
    """Images that are there already; None of a model."""
    if isinstance(subject, Pipeline):
        return None
    if isinstance(subject, Tensor):
        return TensorImages(subject[:count])
    return stored_images(subject, count)

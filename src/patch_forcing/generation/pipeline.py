"""`pf.load(...)`: a model with everything around it, for one-line sampling."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.codecs.autoencoder import Autoencoder
from patch_forcing.core.compiling import check_compiler
from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.generation.condition_kinds import condition_keywords, condition_kind
from patch_forcing.generation.conditions import ConditionKind, Conditions
from patch_forcing.generation.decoder import find_decoder
from patch_forcing.generation.edit_request import EditRequest, ImageLike, MaskLike
from patch_forcing.generation.editing import EditResult, edit_images, make_edit
from patch_forcing.generation.find import find_model
from patch_forcing.generation.generate import BatchCallback, Decode, WrapField, generate
from patch_forcing.generation.pixels import from_pil, from_uint8, to_uint8
from patch_forcing.generation.recommended import Chosen, choose
from patch_forcing.generation.request import SampleRequest, Sampling, shows_request
from patch_forcing.generation.result import PipelineResult
from patch_forcing.io.model_layout import folder_hash, is_model_folder
from patch_forcing.models.config import DataInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.inference import cast_weights, compile_whole
from patch_forcing.models.latent_scale import normalised, raw
from patch_forcing.models.loading import load_model
from patch_forcing.models.options import Precision
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.views.images import to_pil
from patch_forcing.views.progress import progress_bar

MAX_CODED = 16
"""Images that an autoencoder takes at once: it needs far more memory than a sampler."""


class Pipeline:
    """A loaded model that makes images.

    name: what it was loaded by. folder: where it lay. hash: of both its files, tells models apart;
    empty if it lies nowhere yet, since it is in training: the folder is that of its run.
    precision: what the network computes in. autoencoder: what decodes a latent model's samples.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        model: PatchDiT,
        precision: Precision = "fp32",
        autoencoder: Autoencoder | None = None,
    ):
        self.name = name
        self.folder = folder
        self.model, self.precision, self.autoencoder = model, precision, autoencoder
        self.hash = folder_hash(folder) if is_model_folder(folder) else ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class by its number; empty where classes have none."""
        return self.model.data_info.class_names

    @property
    def condition_kind(self) -> ConditionKind:
        """The conditions that the model knows."""
        return condition_kind(self.model, self.name)

    @shows_request
    def __call__(
        self,
        labels: int | str | Sequence[int | str] | None = None,
        seeds: Sequence[int] | None = None,
        *,
        batch_size: int = 64,
        trace: bool = False,
        progress: bool | None = False,
        wrap_field: WrapField | None = None,
        callback: BatchCallback | None = None,
        **options: Any,
    ) -> PipelineResult:
        """One image for each seed.

        labels: numbers or class names, or a text as `--labels` takes it. One serves all seeds, and
        several go round: seed i shows label i mod their number, unless there are as many of both.
        "none" is unconditional. Of a model of texts: a prompt or several, as by keyword, `prompt`.
        None: as the model recommends, and so are guidance and sampler
        unless an option of theirs is given. seeds: as many as labels, from 0, if None.
        batch_size: images sampled at once; another one may change a few bytes by ±1.
        trace: keep every evaluation. progress: draw a bar; None draws it if stderr is a terminal.
        wrap_field, callback: as `generate` takes them.
        options: the fields of a `SampleRequest`, which says how to sample.
        Raises UserError for values that do not fit the model, before any work.
        """
        values = {key: options.pop(key) for key in condition_keywords() & options.keys()}
        known = inspect.signature(type(self).__call__).parameters
        for name in options:
            if name not in known:
                raise unknown_name("option", name, set(known) - {"self"})
        own = self.condition_kind.keyword
        texts = [labels] if isinstance(labels, str) else labels
        as_texts = isinstance(texts, list | tuple) and all(isinstance(one, str) for one in texts)
        values["labels"] = labels
        if own != "labels" and as_texts and values.get(own) is None:
            values |= {"labels": None, own: labels}
        conditions, request, _ = self.choose(values, options)
        sampling = self.resolve(request)
        seeds = range(len(conditions)) if seeds is None else seeds
        with progress_bar(progress, total=len(seeds), unit="image") as bar:
            return self.sample(
                sampling,
                conditions,
                seeds,
                batch_size=batch_size,
                trace=trace,
                advance=bar.update,
                wrap_field=wrap_field,
                callback=callback,
            )

    def edit(
        self,
        image: ImageLike,
        mask: MaskLike | None = None,
        *,
        strength: float | None = None,
        labels: int | str | Sequence[int | str] | None = None,
        seeds: Sequence[int] | None = None,
        keep_mask: MaskLike | None = None,
        box: str | Sequence[int] | None = None,
        hardest: float | None = None,
        extend: str | Mapping[str, int] | None = None,
        feather: int | None = None,
        batch_size: int = 64,
        trace: bool = False,
        progress: bool | None = False,
        callback: BatchCallback | None = None,
        **options: Any,
    ) -> EditResult:
        """The image, repainted where it may change: one result for each seed.

        image: a file or a PIL image. mask … feather: as `EditRequest` takes them. labels: as a call
        takes them; None is unconditional, without guidance. seeds: 0 to 3, or as many as labels.
        The rest: as a call takes it.
        Raises UserError for what cannot be read or does not fit the model, before any work.
        """
        what = EditRequest(mask, keep_mask, box, hardest, strength, extend, feather)
        values = {key: options.pop(key) for key in condition_keywords() & options.keys()}
        if labels is not None or not values:
            values["labels"] = labels
        edit = make_edit(self, what.read(image))
        how = {"batch_size": batch_size, "trace": trace}
        return edit_images(
            self, edit, values, options, seeds, progress=progress, callback=callback, **how
        )

    def choose(self, conditions: Mapping[str, Any], options: Mapping[str, Any]) -> Chosen:
        """What a user gave, and for the rest what the model recommends (`recommended.choose`)."""
        return choose(self.model, self.name, conditions, options)

    def resolve(self, request: SampleRequest) -> Sampling:
        """What a request is for this model. Raises UserError if they do not fit."""
        return request.resolve(self.model, self.name)

    def sample(
        self,
        sampling: Sampling,
        conditions: Conditions,
        seeds: Sequence[int],
        *,
        batch_size: int = 64,
        trace: bool = False,
        advance: Callable[[int], object] = int,
        decode: Decode | None = None,
        wrap_field: WrapField | None = None,
        callback: BatchCallback | None = None,
    ) -> PipelineResult:
        """One image for each seed, as a call makes them.

        advance: called with the size of each finished batch. decode: in place of the pipeline's.
        The rest: as `generate` takes it.
        """
        check_range("batch_size", batch_size, 1)
        seeds = [int(seed) for seed in seeds]
        batches = []
        for batch in generate(
            self.model,
            sampling,
            seeds,
            conditions,
            batch_size=batch_size,
            trace=trace,
            decode=self.decode if decode is None else decode,
            wrap_field=wrap_field,
            callback=callback,
        ):
            batches.append(batch)
            advance(len(batch.seeds))
        pixels = torch.cat([batch.images for batch in batches])
        traces = [batch.trace for batch in batches if batch.trace is not None]
        return PipelineResult(
            [to_pil(image) for image in pixels],
            pixels,
            seeds,
            conditions.for_seeds(seeds),
            sampling,
            sum(batch.nfe * len(batch.seeds) for batch in batches) / len(seeds),
            [nfe for batch in batches for nfe in batch.image_nfe],
            sum(batch.seconds for batch in batches),
            [Evaluation.join(calls) for calls in zip(*traces, strict=True)] if trace else None,
            self.pixels_per_patch,
            self.decode,
        )

    @torch.no_grad()
    def decode(self, x_1: Float[Tensor, "B C h w"]) -> UInt8[Tensor, "B D H W"]:
        """What the network makes → images: pixels, or what the autoencoder makes of latents."""
        if self.autoencoder is None:
            return to_uint8(x_1, self.model.data_info)
        z = raw(self.autoencoder.space, x_1.float())
        parts = [self.autoencoder.decode(part) for part in z.split(MAX_CODED)]
        return to_uint8(torch.cat(parts), DataInfo())

    @torch.no_grad()
    def encode(
        self, images: Sequence[Image.Image] | UInt8[Tensor, "B D H W"]
    ) -> Float[Tensor, "B C h w"]:
        """Images → what the network makes: the inverse of `decode`, on the model's device.

        Of an autoencoder that draws its latents, their mean. Raises UserError for images of another
        size than `image_shape`; PIL images are drawn on white, in the model's channels.
        """
        if not isinstance(images, Tensor):
            images = from_pil(images, self.image_shape[0])
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.image_shape:
            raise UserError(
                f"images {tuple(images.shape)} of {images.dtype}: give (B, "
                f"{', '.join(map(str, self.image_shape))}) of torch.uint8"
            )
        pixels = images.to(self.model.pos_embed.device)
        if self.autoencoder is None:
            return from_uint8(pixels, self.model.data_info)
        parts = from_uint8(pixels, DataInfo()).split(MAX_CODED)
        means = [self.autoencoder.encode(part).mean for part in parts]
        return normalised(self.autoencoder.space, torch.cat(means))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        sizes = self.model.config
        if self.autoencoder is None:
            return (sizes.in_channels, *sizes.image_size)
        height, width = (side * self.autoencoder.space.factor for side in sizes.image_size)
        return (3, height, width)

    @property
    def pixels_per_patch(self) -> int:
        """The side of a patch in the image."""
        space = None if self.autoencoder is None else self.autoencoder.space
        return self.model.patch_size * (1 if space is None else space.factor)


def load(
    name: str | Path,
    device: torch.device | str = "cpu",
    *,
    precision: Precision = "fp32",
    compile: bool = False,
    autoencoder: str | Path | None = None,
    preview: str | Path | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Pipeline:
    """The pipeline of a bundled name, a folder (of a model or a training run), or a Hub id.

    A Hub id is OWNER/NAME, or OWNER/NAME@REVISION: a branch, a tag or a commit, as `revision` is.
    cache_dir: where downloads are kept, if not in the Hub's own cache.
    precision: what the network computes in; images are then the same but for rounding. compile:
    the network is compiled for each shape it meets, half a minute each. autoencoder: of a latent
    model, where its own lies if not where it was; preview: a tiny decoder instead.
    Raises UserError saying what is missing or damaged, does not belong together, or what this
    machine lacks for fp8 or for compiling.
    """
    if compile:
        check_compiler(device)
    folder = find_model(name, revision=revision, cache_dir=cache_dir)
    if revision is not None and not str(name).endswith(f"@{revision}"):
        name = f"{name}@{revision}"  # as records of samples name it, and commands take it
    model = load_model(folder, device)
    channels = model.config.in_channels
    decoder = find_decoder(name, model.data_info, channels, autoencoder, preview, device)
    cast_weights(model, precision)
    if compile:
        compile_whole(model)
    return Pipeline(str(name), folder, model, precision, decoder)

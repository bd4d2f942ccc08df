"""`PatchForcingPipeline`: a model of this library as a pipeline of diffusers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Optional

from diffusers import DiffusionPipeline, ModelMixin
from diffusers.utils import BaseOutput, is_accelerate_available

from patch_forcing.codecs.autoencoder import Autoencoder
from patch_forcing.codecs.from_diffusers import DiffusersAutoencoder
from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.diffusers.folder import check_code, find_folder
from patch_forcing.diffusers.outputs import Images, check_output, make
from patch_forcing.diffusers.seeds import Generators, pair
from patch_forcing.diffusers.steps import TENSORS, OnStepEnd, Watch, check_names
from patch_forcing.diffusers.stored import MODULE, Stored
from patch_forcing.diffusers.transformer import PatchForcingTransformer2DModel
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.decoder import decoder_mismatch, is_preview, makes_pixels
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.request import SampleRequest, Sampling
from patch_forcing.models.dit import PatchDiT


@dataclass
class PatchForcingPipelineOutput(BaseOutput):
    """images: of the type that was asked for. seeds: of each image; they make it again.

    nfe: network evaluations per image, guidance counted.
    """

    images: Images
    seeds: list[int]
    nfe: float


class PatchForcingPipeline(Stored, DiffusionPipeline):
    """Samples by this library, of which it is another surface: images are the same, bit for bit.

    transformer: the network. vae: what decodes a latent model's samples: one of diffusers'
    AutoencoderKL, AutoencoderKLFlux2, AutoencoderDC and AutoencoderTiny.
    A text encoder is no component: the model names its own, which is found as `pf.load` finds it.
    Raises UserError for an autoencoder that is not of the network's latents.
    """

    model_cpu_offload_seq = "transformer->vae"
    _optional_components: ClassVar[list[str]] = ["vae"]
    _callback_tensor_inputs: ClassVar[list[str]] = list(TENSORS)

    def __init__(
        self,
        transformer: PatchForcingTransformer2DModel,
        vae: Optional[ModelMixin] = None,  # noqa: UP045 — all that releases before 0.37 can read
    ):
        super().__init__()
        if vae is not None:
            _decoder(vae, transformer.dit)  # raises if it does not fit
        self.register_modules(transformer=transformer, vae=vae)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> "PatchForcingPipeline":
        """The pipeline in a folder that `save_pretrained` wrote, or in one on the Hub.

        options: as any pipeline of diffusers takes them. Of a model, json and safetensors are read.
        Raises UserError for a pipeline of another class, for pickles, and for what asks to run
        code, before anything is loaded.
        """
        name = str(pretrained_model_name_or_path)
        check_code(name, options)
        network = PatchForcingTransformer2DModel.stored_name()
        known = {"pipeline": cls.stored_name(), "transformer": network, "vae": "diffusers"}
        folder = find_folder(name, known, options)
        options.setdefault("low_cpu_mem_usage", is_accelerate_available())
        pipe = super().from_pretrained(str(folder), **options | {"use_safetensors": True})
        pipe.register_to_config(_name_or_path=name)
        return pipe

    @classmethod
    def from_patch_forcing(cls, name: str | Path, **options: Any) -> "PatchForcingPipeline":
        """That of a model as `pf.load` finds it: a bundled name, a folder, or a Hub id.

        options: those of `pf.load`. Raises UserError as it does, and for an autoencoder that is no
        model of diffusers.
        """
        pipe = load(name, **options)
        decoder = pipe.autoencoder
        if not isinstance(decoder, DiffusersAutoencoder | None):
            raise UserError(
                f"{name} is decoded by {decoder.space.kind}, which diffusers does not have: "
                "sample it by pf.load, or give autoencoder=FOLDER of another of the same latents"
            )
        vae = None if decoder is None else decoder.network
        ours = cls(PatchForcingTransformer2DModel.of(pipe.model), vae)
        ours.register_to_config(_name_or_path=str(name))
        return ours

    def to_patch_forcing(self) -> Pipeline:
        """This library's own pipeline of the same weights: `.edit`, traces, maps, `.model.save`."""
        place = self.name_or_path or "this pipeline"
        network = self.transformer.ready()
        decoder = None if self.vae is None else _decoder(self.vae, network)
        return Pipeline(place, Path(place) / "transformer", network, autoencoder=decoder)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        class_labels: int | str | Sequence[int | str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        generator: Generators = None,
        seeds: Sequence[int] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("prediction",),
        *,
        batch_size: int = 64,
        **options: Any,
    ) -> PatchForcingPipelineOutput | tuple[Any]:
        """Images.

        prompt, class_labels: one or several, as `pf.Pipeline` takes them; "none" is unconditional.
        height, width: in pixels, of a model with rotary positions.
        num_inference_steps, guidance_scale: steps of the sampler; 1 is no guidance. What is not
        given, labels too, is as the model recommends.
        generator: gives a seed for each image; a list of them one each. seeds: in its place.
        Without both, seeds are drawn from torch's own generator.
        output_type: "pil", "np" (B, H, W, C) or "pt" (B, C, H, W) in [0, 1], or "latent": what the
        network makes, fp32. Arrays are on the CPU. return_dict: False gives (images,).
        callback_on_step_end: called after every network evaluation with this pipeline, the number
        of the step, the mean time reached and the tensors that are named. It may raise to stop.
        batch_size: images sampled at once. options: other fields of a `SampleRequest`, such as
        `sampler`, `nfe`, `time_grid` and `guidance_interval`.
        Raises UserError for values that do not fit the model, before any work.
        """
        check_range("batch_size", batch_size, 1, whole=True)
        check_names(callback_on_step_end_tensor_inputs)
        pipe = self.to_patch_forcing()
        check_output(pipe, output_type)
        given = {
            "num_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "size": _size(height, width),
        }
        conditions, sampling = _resolve(pipe, prompt, class_labels, given, options)
        seeds, shown = pair(conditions, num_images_per_prompt, generator, seeds)
        steps = len(sampling.time_grid) - 1
        with self.progress_bar(total=steps * ceil(len(seeds) / batch_size)) as bar:
            names = callback_on_step_end_tensor_inputs
            watch = Watch(self, bar, steps, callback_on_step_end, names)
            images, nfe = make(pipe, sampling, seeds, shown, batch_size, output_type, watch)
        self.maybe_free_model_hooks()
        return PatchForcingPipelineOutput(images, seeds, nfe) if return_dict else (images,)


def _size(height: int | None, width: int | None) -> tuple[int, int] | None:
    if height is None and width is None:
        return None
    if height is None or width is None:
        raise UserError(f"height={height} and width={width}: give both, or neither")
    return height, width


def _resolve(
    pipe: Pipeline,
    prompt: Any,
    class_labels: Any,
    given: Mapping[str, Any],
    others: Mapping[str, Any],
) -> tuple[Conditions, Sampling]:
    """What is to be sampled, and how.

    given: fields of a `SampleRequest` by their names there, None where the user gave none. others:
    those that a call takes by these names.
    """
    known = {field.name for field in fields(SampleRequest)} - given.keys()
    for name in others:
        if name not in known:
            raise unknown_name("option", name, known)
    keyword = pipe.condition_kind.keyword
    values = {"prompt": prompt, "labels": class_labels}
    for name, value in values.items():
        if value is not None and name != keyword:
            written, right = (_WRITTEN.get(one, one) for one in (name, keyword))
            raise UserError(f"{written} {value!r}: this model takes {right}: give those")
    chosen = {name: value for name, value in given.items() if value is not None}
    conditions, request, _ = pipe.choose(values, {**others, **chosen})
    return conditions, pipe.resolve(request)


_WRITTEN = {"labels": "class_labels"}
"""Keywords of conditions that a call of diffusers writes otherwise."""


def _decoder(vae: Any, dit: PatchDiT) -> Autoencoder:
    """An autoencoder as this library's. Raises UserError unless it is of the network's latents."""
    info, channels = dit.data_info, dit.config.in_channels
    if makes_pixels(info, channels):
        raise UserError(f"vae {type(vae).__name__}: this model makes pixels: leave it out")
    decoder = DiffusersAutoencoder.of(vae, info.autoencoder)
    wrong = decoder_mismatch(info, channels, decoder.space)
    if wrong and not is_preview(info.autoencoder, channels, decoder.space):
        raise UserError(
            f"vae {type(vae).__name__} is not the autoencoder that the model was trained with: "
            f"{wrong}: give {info.autoencoder.name if info.autoencoder else 'the right one'}"
        )
    return decoder


PatchForcingPipeline.__module__ = MODULE

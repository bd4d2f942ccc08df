"""The autoencoders of diffusers: its classes, read without anything that can be executed."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.codecs.autoencoder import Posterior
from patch_forcing.codecs.weights import weights_hash
from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.extras import install_line
from patch_forcing.models.latent_space import LatentSpace

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


class Numbers(NamedTuple):
    """What a network that sees the latents must know."""

    channels: int
    factor: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]


class DiffusersAutoencoder:
    """One of diffusers' autoencoders, frozen; autocast holds as for any network.

    network: of diffusers, as `space` says. It is frozen in place, and on a CPU laid out otherwise.
    """

    def __init__(self, network: Any, space: LatentSpace):
        self.network, self.space = network.requires_grad_(False).eval(), space
        if network.device.type == "cpu":
            # faster by 1.1 to 1.4 (benchmarks/speed/channels_last.py); on an H200 it was slower
            network.to(memory_format=torch.channels_last)

    @classmethod
    def open(
        cls, place: str, folder: Path, device: torch.device | str = "cpu"
    ) -> "DiffusersAutoencoder":
        """That of a folder, fp32. place: where it lies, as it is stored with latents.

        Raises UserError saying what is missing, damaged, or of an unknown kind.
        """
        config = _config(folder)
        kind = str(config["_class_name"])
        if kind not in _NUMBERS:
            raise unknown_name(f"class in {folder / CONFIG}", kind, _NUMBERS)
        network = _load(folder, kind)
        try:
            space = _space(network, place, _hash(config, folder / WEIGHTS))
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{folder / CONFIG} does not fit {kind}: {error}: copy it again"
            ) from None
        return cls(network.to(device), space)

    @classmethod
    def of(cls, network: Any, like: LatentSpace | None = None) -> "DiffusersAutoencoder":
        """That of a network in memory, whose hash is not known.

        like: the one that is expected. If they differ by 1 % at most, as where a cast has rounded
        FLUX.2's statistics, its numbers are the ones.
        Raises UserError if the network is none of the known kinds.
        """
        kind = type(network).__name__
        if kind not in _NUMBERS:
            raise unknown_name("autoencoder, vae of class", kind, _NUMBERS)
        space = _space(network, "vae", "")
        return cls(network, like if like is not None and _is_nearly(space, like) else space)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Posterior:
        """The posterior; of a deterministic encoder, its mean alone."""
        encoded = self.network.encode(images.to(self.network.dtype), return_dict=False)[0]
        if isinstance(encoded, Tensor):
            return Posterior(encoded.float(), None)
        return Posterior(encoded.mean.float(), encoded.logvar.float())

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The images."""
        decoded: Tensor = self.network.decode(z.to(self.network.dtype), return_dict=False)[0]
        return decoded.float()


def _space(network: Any, place: str, digits: str) -> LatentSpace:
    """Its identity. digits: of the hash."""
    kind = type(network).__name__
    return LatentSpace(place, kind, digits, **_NUMBERS[kind](network)._asdict())


def _is_nearly(space: LatentSpace, like: LatentSpace) -> bool:
    """Whether they are the same but for small differences in scale and shift."""
    lengths = [(len(one.scale), len(one.shift)) for one in (space, like)]
    if like.mismatch(replace(space, scale=like.scale, shift=like.shift)) or len(set(lengths)) > 1:
        return False
    pairs = zip(space.scale + space.shift, like.scale + like.shift, strict=True)
    return all(isclose(ours, theirs, rel_tol=0.01, abs_tol=0.01) for ours, theirs in pairs)


def _kl(network: Any) -> Numbers:
    """Stable Diffusion's, and others of its class."""
    config = network.config
    factor = 2 ** (len(config.block_out_channels) - 1)
    scale: tuple[float, ...] = (float(config.scaling_factor),)
    shift: tuple[float, ...] = (float(config.shift_factor or 0),)
    if config.latents_mean is not None:
        scale = tuple(config.scaling_factor / float(std) for std in config.latents_std)
        shift = tuple(map(float, config.latents_mean))
    return Numbers(config.latent_channels, factor, scale, shift)


def _flux2(network: Any) -> Numbers:
    """FLUX.2 whitens 2×2 cells taken as one by the running statistics of a batch norm.

    Its 4·C channels are (C, row, column): the order of a tile's numbers.
    """
    config, norm = network.config, network.bn
    factor = 2 ** (len(config.block_out_channels) - 1)
    scale = (norm.running_var.double() + config.batch_norm_eps).rsqrt()
    shift = norm.running_mean.double()
    return Numbers(config.latent_channels, factor, tuple(scale.tolist()), tuple(shift.tolist()))


def _deep_compression(network: Any) -> Numbers:
    config = network.config
    factor = network.spatial_compression_ratio
    return Numbers(config.latent_channels, factor, (float(config.scaling_factor),), (0.0,))


def _tiny(network: Any) -> Numbers:
    """Its latents are another autoencoder's, as a network sees them."""
    config = network.config
    factor = 2 ** (len(config.encoder_block_out_channels) - 1)
    scale, shift = (float(config.scaling_factor),), (float(config.shift_factor),)
    return Numbers(config.latent_channels, factor, scale, shift)


_NUMBERS: dict[str, Callable[[Any], Numbers]] = {
    "AutoencoderKL": _kl,
    "AutoencoderKLFlux2": _flux2,
    "AutoencoderDC": _deep_compression,
    "AutoencoderTiny": _tiny,
}


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config["_class_name"]
    except OSError as error:
        raise UserError(
            f"{folder / CONFIG} cannot be read ({error.strerror}): give the folder of an "
            f"autoencoder, with {CONFIG} and {WEIGHTS}"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{folder / CONFIG} is not an autoencoder's config: copy it again"
        ) from None
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder / WEIGHTS} is missing, and no other file is read: copy it there")
    return config


def _load(folder: Path, kind: str) -> Any:
    """A network, with every tensor its own. Raises UserError."""
    try:
        import diffusers
    except ImportError:
        raise UserError(
            f"{folder}: an autoencoder needs diffusers: {install_line('latents')}"
        ) from None
    if not hasattr(diffusers, kind):
        raise UserError(
            f"{folder}: diffusers {diffusers.__version__} has no {kind}: "
            f"{install_line('latents')} -U"
        )
    try:
        with _quiet():
            # its own way of loading: it knows the names that tensors had in older files
            network, loading = getattr(diffusers, kind).from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=False,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # each part of diffusers has errors of its own
        why = " ".join(str(error).split())[:300]
        raise UserError(
            f"{folder} cannot be loaded as {kind}: {why}: bring config and weights of one "
            "autoencoder together"
        ) from None
    for what in ("missing", "unexpected"):
        for name in loading[f"{what}_keys"]:
            has = "lacks the tensor" if what == "missing" else "holds a tensor of another network,"
            raise UserError(
                f"{folder / WEIGHTS} {has} {name!r}: bring config and weights of one autoencoder "
                "together"
            )
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise UserError(f"{folder / WEIGHTS}: {name!r} holds NaN or infinity: copy it again")
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """What diffusers would say is said in an error, or is of no use."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _hash(config: dict[str, Any], weights: Path) -> str:
    """Of config and weights. What diffusers notes of itself in a config does not count."""
    known = {k: v for k, v in config.items() if not k.startswith("_") or k == "_class_name"}
    return weights_hash(json.dumps(known, sort_keys=True), weights)

"""The autoencoder that makes images of a model's latents: the one that it was trained with."""

from pathlib import Path

import torch

from patch_forcing.codecs.autoencoder import Autoencoder
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.models.config import DataInfo
from patch_forcing.models.latent_space import STABLE_DIFFUSION, LatentSpace

_TINY = "AutoencoderTiny"


def find_decoder(
    model: str | Path,
    info: DataInfo,
    channels: int,
    autoencoder: str | Path | None = None,
    preview: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> Autoencoder | None:
    """The decoder of a model whose network has `channels`; None if it makes pixels.

    model: what users call it. autoencoder: where the model's own lies, if not where it was.
    preview: a tiny decoder of the same latents instead, fast and less sharp.
    Raises UserError if it cannot be had, or is not the one that the model was trained with.
    """
    space = info.autoencoder
    if makes_pixels(info, channels):
        for option, value in (("autoencoder", autoencoder), ("preview", preview)):
            if value is not None:
                raise UserError(f"--{option} {value}: {model} makes pixels: leave it out")
        return None
    if preview is not None:
        if autoencoder is not None:
            raise UserError("--autoencoder and --preview exclude each other: give one of them")
        return _preview(model, space, channels, preview, device)
    space = _likely_space(info, channels)
    if autoencoder is None and space is None:
        raise UserError(
            f"{model} makes latents of {channels} channels of an autoencoder that is not "
            "named: add --autoencoder NAME"
        )
    place = autoencoder or (space.name if space else "")
    try:
        decoder = load_autoencoder(place, device)
    except UserError as error:
        if autoencoder is not None:
            raise
        raise UserError(
            f"the autoencoder of {model} cannot be had: {error}; or give a copy of it with "
            "--autoencoder FOLDER"
        ) from None
    wrong = decoder_mismatch(info, channels, decoder.space)
    if wrong:
        raise UserError(
            f"{place} is not the autoencoder that {model} was trained with: {wrong}: give "
            f"{space.name if space else 'the right one'} with --autoencoder"
        )
    return decoder


def makes_pixels(info: DataInfo, channels: int) -> bool:
    """Whether a network of so many channels makes images, and no latents."""
    return info.autoencoder is None and channels in (1, 3) and info.latent_scale == 1


def decoder_mismatch(info: DataInfo, channels: int, other: LatentSpace) -> str | None:
    """How an autoencoder is not that of a model's latents, in a few words; None if it may be."""
    space = _likely_space(info, channels)
    return _unlike(info, channels, other) if space is None else space.mismatch(other)


def is_preview(space: LatentSpace | None, channels: int, other: LatentSpace) -> bool:
    """Whether that is a tiny decoder of latents of these channels, and of this space if known."""
    factor = other.factor if space is None else space.factor
    return other.kind == _TINY and (other.channels, other.factor) == (channels, factor)


def _likely_space(info: DataInfo, channels: int) -> LatentSpace | None:
    """The autoencoder that a model names, or else the usual one if its numbers are those."""
    usual = STABLE_DIFFUSION
    as_usual = (channels, info.latent_scale) == (usual.channels, usual.scale[0])
    return usual if info.autoencoder is None and as_usual else info.autoencoder


def _unlike(info: DataInfo, channels: int, space: LatentSpace) -> str | None:
    """How an autoencoder cannot be that of a model that does not name its own."""
    if space.channels != channels:
        return f"channels {space.channels}, not {channels}"
    scale = DataInfo.of_latents(space).latent_scale
    return None if scale == info.latent_scale else f"scale {scale}, not {info.latent_scale}"


def _preview(
    model: str | Path,
    space: LatentSpace | None,
    channels: int,
    name: str | Path,
    device: torch.device | str,
) -> Autoencoder:
    decoder = load_autoencoder(name, device)
    if decoder.space.kind != _TINY:
        raise UserError(
            f"--preview {name} is an {decoder.space.kind}, not a tiny decoder: give an {_TINY}, "
            "such as taesd, or the model's own with --autoencoder"
        )
    if not is_preview(space, channels, decoder.space):
        factor = decoder.space.factor if space is None else space.factor
        raise UserError(
            f"--preview {name} decodes {decoder.space.channels} channels, {decoder.space.factor} "
            f"pixels a cell, and {model} makes {channels} and {factor}: give another, or none"
        )
    return decoder

"""Autoencoders loaded by name."""

from pathlib import Path

import torch

from patch_forcing.codecs.autoencoder import Autoencoder, Pixels
from patch_forcing.codecs.from_diffusers import CONFIG, WEIGHTS, DiffusersAutoencoder
from patch_forcing.codecs.taef2 import TAEF2
from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.hub import download, looks_like_hub_id
from patch_forcing.models.latent_space import PIXELS

KNOWN = {
    "sd-vae-ft-ema": "stabilityai/sd-vae-ft-ema",
    "flux2": "black-forest-labs/FLUX.2-dev/vae",
    "dc-ae-f32c32": "mit-han-lab/dc-ae-f32c32-in-1.0-diffusers",
    "taesd": "madebyollin/taesd",
}
"""Short names. f8c4; f8c32; f32c32; a tiny decoder of the first one's latents, for previews."""
SINGLE = ".safetensors"
"""How the name of an autoencoder in one file ends: TAEF2's."""


def load_autoencoder(name: str | Path, device: torch.device | str = "cpu") -> Autoencoder:
    """The autoencoder of that name: a folder here, a short name, a Hub id, or "pixels".

    A Hub id may go on with a folder: OWNER/NAME/vae. TAEF2 is a file here, or OWNER/NAME/FILE on
    the Hub, that ends in .safetensors. Only config.json and safetensors are read.
    Raises UserError saying what is missing, damaged, or of an unknown kind.
    """
    if str(name) == PIXELS:
        return Pixels()
    place = full_name(name)
    if place.endswith(SINGLE) and not Path(place).is_dir():
        return TAEF2(place, _file(place), device)
    return DiffusersAutoencoder.open(place, _folder(place, name), device)


def full_name(name: str | Path) -> str:
    """Where an autoencoder lies, as it is stored: a Hub id, or a path from the root on."""
    if str(name) == PIXELS:
        return PIXELS
    path = Path(name).expanduser()
    if path.is_dir() or (path.suffix == SINGLE and path.is_file()):
        return str(path.resolve())
    return KNOWN.get(str(name), str(name))


def _file(place: str) -> Path:
    """On this disk; downloaded first if it is the Hub's."""
    path = Path(place)
    if path.is_file():
        return path
    owner, _, rest = place.partition("/")
    repository, _, file = rest.partition("/")
    hub_id = f"{owner}/{repository}"
    if not file or path.is_absolute() or not looks_like_hub_id(hub_id):
        raise UserError(f"{place} is not there: give the file of the autoencoder")
    return download(hub_id, [file], missing="no such file here") / file


def _folder(place: str, name: str | Path) -> Path:
    path = Path(place)
    if path.is_dir():
        if not (path / CONFIG).is_file() and (path / "vae" / CONFIG).is_file():
            raise UserError(f"{path} is a whole pipeline: give its autoencoder, {path / 'vae'}")
        return path
    if path.exists():
        raise UserError(f"{path} is a file: give the folder of the autoencoder")
    owner, _, rest = place.partition("/")
    repository, _, below = rest.partition("/")
    hub_id = f"{owner}/{repository}"
    if path.is_absolute() or not looks_like_hub_id(hub_id):
        if path.is_absolute() or place.startswith("."):
            raise UserError(f"{place} is not there: give the folder of the autoencoder")
        raise unknown_name("autoencoder", str(name), [*KNOWN, PIXELS])
    prefix = f"{below.strip('/')}/" if below else ""
    files = [prefix + CONFIG, prefix + WEIGHTS]
    return download(hub_id, files, missing="no such folder here") / below

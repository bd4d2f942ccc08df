"""Foreign checkpoint files → model folders, and back."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import find_model
from patch_forcing.io.atomic import atomic_file
from patch_forcing.io.checkpoint_file import check_checkpoint
from patch_forcing.io.model_layout import check_target
from patch_forcing.io.torch_file import read_torch_file
from patch_forcing.models.folder import ModelDescription, save_folder, write_tensors
from patch_forcing.models.loading import load_model
from patch_forcing.models.published import (
    Kind,
    Share,
    from_published,
    heads_of_training,
    to_published,
)
from patch_forcing.models.state_dicts import Chosen, choose_weights

_PART = re.compile(r"-\d+-of-\d+$")
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")


class Imported(NamedTuple):
    """What was written, and of which weights of the file it was made."""

    model: ModelDescription
    chosen: Chosen


def import_checkpoint(
    file: Path,
    out: Path,
    kind: Kind | None = None,
    num_heads: int | None = None,
    autoencoder: str | None = None,
    weights: str | None = None,
    time: Share | None = None,
) -> Imported:
    """A PFT, SiT, Self-Flow or DiT checkpoint → a model folder.

    autoencoder: whose latents it makes, if not Stable Diffusion's of four channels.
    weights: which network of the file, as `choose_weights` takes it.
    time: what the model's own time is the share of, as `from_published` takes it.
    Raises UserError naming what the file holds besides tensors and configs, or the tensor that is
    missing, unknown or of another shape; nothing is written then.
    """
    check_checkpoint(file)
    check_target(out)
    place = str(file)
    try:
        content: Any = load_file(file) if _is_safetensors(file) else read_torch_file(file)
        chosen = choose_weights(content, weights)
        if chosen.weights.place:
            place = f"{file}, weights {chosen.weights.place!r}"
        space = None if autoencoder is None else load_autoencoder(autoencoder).space
        tensors, config = chosen.weights.tensors, content.get("config")
        chosen = chosen._replace(aside=(*chosen.aside, *heads_of_training(tensors)))
        model = from_published(tensors, kind, num_heads, space, config, time)
    except SafetensorError as error:
        raise UserError(f"{file} is truncated or damaged ({error}): copy it again") from None
    except UserError as error:
        part = "; it is one of several parts: join them" * bool(_PART.search(file.stem))
        raise error if str(file) in str(error) else UserError(f"{place}: {error}{part}") from None
    save_folder(out, model)
    return Imported(model, chosen)


def _is_safetensors(file: Path) -> bool:
    """By its beginning, which names may not tell: a length, and an object of JSON."""
    with file.open("rb") as stream:
        start = stream.read(9)
    if start.startswith(b"PK"):
        return False
    return start[8:] == b"{" or file.suffix == ".safetensors"


def export_checkpoint(name: str | Path, out: Path) -> None:
    """A model → a file with the published keys: .safetensors, or torch's with sizes as `config`."""
    if out.suffix not in SUFFIXES:
        raise UserError(f"{out}: name a file that ends in one of {', '.join(SUFFIXES)}")
    if out.exists():
        raise UserError(f"{out} is there: name another file, or remove it")
    content = to_published(load_model(find_model(name)))
    with atomic_file(out) as aside:
        if out.suffix == ".safetensors":
            write_tensors(aside, content["state_dict"])
        else:
            torch.save(content, aside)

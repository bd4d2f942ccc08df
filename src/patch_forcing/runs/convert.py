"""Foreign checkpoint files → model folders, and back."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import find_model
from patch_forcing.io.torch_file import read_torch_file
from patch_forcing.models.folder import (
    ModelDescription,
    check_target,
    save_folder,
    write_tensors,
)
from patch_forcing.models.loading import load_model
from patch_forcing.models.published import Kind, from_published, to_published

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")


def import_checkpoint(
    file: Path,
    out: Path,
    kind: Kind | None = None,
    num_heads: int | None = None,
    autoencoder: str | None = None,
) -> ModelDescription:
    """A PFT, SiT or DiT checkpoint → a model folder; what is in it.

    autoencoder: whose latents it makes, if not Stable Diffusion's of four channels.
    Raises UserError naming what the file holds besides tensors and configs, or the tensor that is
    missing, unknown or of another shape; nothing is written then.
    """
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise UserError(f"{file} {what}: give a checkpoint file")
    check_target(out)
    try:
        content: Any = load_file(file) if file.suffix == ".safetensors" else read_torch_file(file)
        space = None if autoencoder is None else load_autoencoder(autoencoder).space
        model = from_published(content, kind, num_heads, space)
    except SafetensorError as error:
        raise UserError(f"{file} is truncated or damaged ({error}): copy it again") from None
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
    save_folder(out, model)
    return model


def export_checkpoint(name: str | Path, out: Path) -> None:
    """A model → a file with the published keys: .safetensors, or torch's with sizes as `config`."""
    if out.suffix not in SUFFIXES:
        raise UserError(f"{out}: name a file that ends in one of {', '.join(SUFFIXES)}")
    if out.exists():
        raise UserError(f"{out} is there: name another file, or remove it")
    content = to_published(load_model(find_model(name)))
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".partial-{out.name}")
    try:
        if out.suffix == ".safetensors":
            write_tensors(aside, content["state_dict"])
        else:
            torch.save(content, aside)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)

"""A model as a folder: `config.json` and `model.safetensors`. Nothing executable is ever loaded."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.atomic import atomic_folder
from patch_forcing.io.model_layout import CONFIG, WEIGHTS, check_target
from patch_forcing.models.config import DataInfo, SamplingInfo
from patch_forcing.models.config_file import FORMAT_VERSION, read_config_file

DIT = "DiT"
"""The class of a folder whose weights predict noise: a start for training, not to be sampled."""


class ModelDescription(NamedTuple):
    """What a model folder holds: the network's class and sizes, its data, its weights, its grid."""

    class_name: str
    sizes: dict[str, Any]
    data_info: DataInfo
    weights: dict[str, Tensor]
    sampling_info: SamplingInfo = SamplingInfo()


def save_folder(path: Path, model: ModelDescription) -> None:
    """Write a model folder, complete or absent.

    Raises UserError over anything but a folder with these two files: replacing it would lose more.
    """
    path = path.resolve()
    check_target(path)
    with atomic_folder(path, replace=True) as folder:
        write_files(folder, model)


def write_files(folder: Path, model: ModelDescription) -> None:
    """Write the two files into an existing folder."""
    write_config(folder, model)
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.weights.items()}
    write_tensors(folder / WEIGHTS, tensors)


def write_config(folder: Path, model: ModelDescription) -> None:
    """Write the first of the two files: all but the weights."""
    config: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "class": model.class_name,
        "model": model.sizes,
        "data": model.data_info.stored(),
    }
    if model.sampling_info != SamplingInfo():
        config["sampling"] = model.sampling_info.stored()
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_tensors(file: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file as readable as any other file. Raises OSError if it cannot be written."""
    file.touch()
    mode = file.stat().st_mode
    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise OSError(None, str(error), str(file)) from None
    file.chmod(mode)  # safetensors writes for the owner only


def read_config(path: Path) -> ModelDescription:
    """What a model folder says of itself; its weights are names without tensors.

    Raises UserError naming the file that is missing, damaged or of an unknown format version.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: give a folder with {CONFIG} and {WEIGHTS}")
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise UserError(f"{path / name} is missing: give a folder with {CONFIG} and {WEIGHTS}")
    class_name, sizes, data_info, sampling_info = read_config_file(path / CONFIG)
    with _sound(path / WEIGHTS), safe_open(path / WEIGHTS, "pt") as stored:
        weights = {name: torch.empty(0) for name in stored.keys()}  # noqa: SIM118 — no mapping
    return ModelDescription(class_name, sizes, data_info, weights, sampling_info)


def read_folder(path: Path) -> ModelDescription:
    """Read a model folder, as `read_config` with the tensors."""
    stored = read_config(path)
    with _sound(path / WEIGHTS):
        return stored._replace(weights=load_file(path / WEIGHTS))


@contextmanager
def _sound(weights: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{weights} is truncated or damaged ({error}): copy or export it again"
        ) from None


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], mend: str) -> None:
    """Raises UserError naming the first tensor that is missing, of another shape, not finite or
    unknown, and the mend.
    """
    for name, tensor in expected.items():
        if name not in tensors:
            raise UserError(f"lacks the tensor {name!r}: {mend}")
        if tensors[name].shape != tensor.shape:
            had, has = tuple(tensors[name].shape), tuple(tensor.shape)
            raise UserError(f"tensor {name!r} has shape {had}, not {has}: {mend}")
        if not tensors[name].isfinite().all():
            raise UserError(f"tensor {name!r} holds NaN or infinity: {mend}")
    for name in tensors:
        if name not in expected:
            raise unknown_name("tensor", name[:60], expected)

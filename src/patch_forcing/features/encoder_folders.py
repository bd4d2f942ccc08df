"""Encoders in folders, of transformers and of timm: config and safetensors, nothing executable."""

import hashlib
import inspect
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.extras import install_line
from patch_forcing.features.module_encoder import IMAGENET_MEAN, IMAGENET_STD, ModuleEncoder
from patch_forcing.features.names import CONFIG, FILES, PREPROCESSOR, WEIGHTS

_ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Model types that interpolate their positions, or have none, without being told to."""


def transformers_encoder(place: str, folder: Path) -> ModuleEncoder:
    """A vision model of transformers; place: what the user calls it.

    Raises UserError if the folder does not hold one.
    """
    network, name = load_transformers(place, folder)
    network = getattr(network, "vision_model", network)  # of CLIP and the like
    patch, side = (getattr(network.config, name, None) for name in ("patch_size", "image_size"))
    takes = inspect.signature(network.forward).parameters
    if "pixel_values" not in takes:
        raise UserError(f"{place} ({network.config.model_type}) does not see images: name another")
    more = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
    any_size = bool(more) or network.config.model_type in _ANY_SIZE
    seen = _pair(side) if side is not None and not (any_size and isinstance(patch, int)) else None

    def call(images: Tensor) -> Any:
        return network(pixel_values=images, **more)

    mean, std = preprocessing(place, folder)
    return ModuleEncoder(
        network,
        name,
        patch=patch if isinstance(patch, int) else None,
        size=seen,
        mean=mean,
        std=std,
        read=lambda images: call(images).last_hidden_state,
        pool=lambda images: _pooled(call(images)),
    )


def load_transformers(place: str, folder: Path) -> tuple[Any, str]:
    """The model of a folder, and its name with a hash. Raises UserError if there is none."""
    config = read_config(place, folder)
    if "model_type" not in config:
        if "architecture" in config:
            raise UserError(f"{place} is a model of timm: write timm:{place}")
        raise UserError(f"{folder / CONFIG} names no model_type of transformers: name another")
    try:
        import transformers
    except ImportError:
        raise _lacking(place, "transformers") from None
    with _quiet("transformers"):
        try:
            network, loading = transformers.AutoModel.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # each part of it has errors of its own
            raise _unloaded(place, error) from None
    if lost := sorted(loading["missing_keys"]):
        raise UserError(f"{folder / WEIGHTS} lacks the tensor {lost[0]!r}: copy it again")
    return network, _identity(place, folder)


def preprocessing(place: str, folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of colours by which a model of transformers normalises images."""
    has_file = (folder / PREPROCESSOR).is_file()
    known = read_config(place, folder, PREPROCESSOR) if has_file else {}
    return (
        _colours(folder, known.get("image_mean", IMAGENET_MEAN)),
        _colours(folder, known.get("image_std", IMAGENET_STD)),
    )


def _pooled(output: Any) -> Tensor:
    """One vector for each image: the model's own where it makes one, else its tokens' mean."""
    vectors: Tensor | None = getattr(output, "pooler_output", None)
    if vectors is None:
        tokens: Tensor = output.last_hidden_state
        return tokens.mean(dim=1) if tokens.ndim == 3 else tokens.mean(dim=(2, 3))
    return vectors.flatten(1)


def timm_encoder(place: str, folder: Path) -> ModuleEncoder:
    """A model of timm, as its save_for_hf writes it and the Hub has it.

    Raises UserError if the folder does not hold one.
    """
    timm = _import_timm(place)
    config = read_config(place, folder)
    name, trained = config.get("architecture"), config.get("pretrained_cfg", {})
    if not isinstance(name, str) or not isinstance(trained, dict):
        raise UserError(f"{folder / CONFIG} names no architecture of timm: name another")
    if not timm.is_model(name):
        raise unknown_name(f"timm architecture in {folder / CONFIG}", name, timm.list_models())
    sizes = {key: value for key, value in config.get("model_args", {}).items() if _is_plain(value)}
    given = {"pretrained": True, "num_classes": 0, **sizes}
    try:
        weights = load_file(folder / WEIGHTS)
        given["pretrained_cfg_overlay"] = {"state_dict": weights}
        with _quiet("timm"):
            try:
                network, any_size = timm.create_model(name, dynamic_img_size=True, **given), True
            except TypeError:  # no transformer, or one of fixed size
                network, any_size = timm.create_model(name, **given), False
    except Exception as error:
        raise _unloaded(place, error) from None
    embed = getattr(network, "patch_embed", None)
    patch = getattr(embed, "patch_size", None)
    side = sizes.get("img_size") or trained.get("input_size", (3, 224, 224))[1:]
    square = isinstance(patch, tuple) and patch[0] == patch[1] and any_size
    width = network.num_features

    def read(images: Tensor) -> Tensor:
        output: Tensor = network.forward_features(images)
        last = output.ndim == 4 and output.shape[1] != width and output.shape[3] == width
        return output.movedim(3, 1) if last else output

    return ModuleEncoder(
        network,
        _identity(place, folder),
        patch=patch[0] if square and patch is not None else None,
        size=None if square else _pair(side),
        mean=_colours(folder, trained.get("mean", IMAGENET_MEAN)),
        std=_colours(folder, trained.get("std", IMAGENET_STD)),
        read=read,
        pool=network,  # of no classes
    )


def timm_hub_id(name: str) -> str:
    """Where the weights of timm's model of that name lie. Raises UserError naming the nearest."""
    timm = _import_timm(f"timm:{name}")
    if not timm.is_model(name):
        raise unknown_name("timm model", name, [*timm.list_pretrained(), *timm.list_models()])
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        raise UserError(f"timm:{name} has no weights on the Hub: name another, or timm:FOLDER")
    return str(known.hf_hub_id)


def _import_timm(place: str) -> Any:
    try:
        import timm
    except ImportError:
        raise _lacking(place, "timm") from None
    return timm


def _lacking(place: str, package: str) -> UserError:
    return UserError(f"{place}: this encoder needs {package}: {install_line('alignment')}")


def _unloaded(place: str, error: Exception) -> UserError:
    why = " ".join(str(error).split())[:300]
    return UserError(
        f"{place} cannot be loaded ({type(error).__name__}: {why}): bring config and weights of "
        "one encoder together"
    )


def read_config(place: str, folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """A JSON file of an encoder's folder. Raises UserError without it, or without weights."""
    try:
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError
    except OSError as error:
        raise UserError(
            f"{place}: {name} cannot be read ({error.strerror}): give the folder of an encoder, "
            f"with {CONFIG} and {WEIGHTS}"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(f"{folder / name} is no encoder's: copy it again") from None
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder / WEIGHTS} is missing, and no other file is read: copy it there")
    return config


def _identity(place: str, folder: Path) -> str:
    """The folder's name and 16 digits of a SHA-256 of its files."""
    digest = hashlib.sha256()
    for name in FILES:
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"{Path(place).name} {digest.hexdigest()[:16]}"


def _pair(side: Any) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))


def _colours(folder: Path, value: Any) -> tuple[float, ...]:
    """Mean or deviation of three channels."""
    good = isinstance(value, list | tuple) and len(value) == 3
    if not (good and all(isinstance(c, int | float) and 0 <= c < math.inf for c in value)):
        raise UserError(f"{folder}: {value!r} is no mean or deviation of three colours: mend it")
    return tuple(map(float, value))


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, int | float)


@contextmanager
def _quiet(package: str) -> Iterator[None]:
    """What it would say is said in an error, or is of no use; no bar for a file on this disk."""
    logger = logging.getLogger(package)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    bars: Any = None
    if package == "transformers":
        from transformers.utils import logging as reports

        bars = reports
        bars.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(before)
        if bars is not None:
            bars.enable_progress_bar()

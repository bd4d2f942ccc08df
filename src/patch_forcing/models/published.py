"""Published checkpoints of PFT, SiT, Self-Flow and DiT → model folders, and the way back.

All name their tensors alike. They differ in what comes out of the last layer, whose
rows are ordered (patch row, patch column, channel): C + 1 channels of PFT, the last the
log-variance; of SiT, Self-Flow and DiT 2·C, the second half unused, or C alone. And in what time
is: SiT's linear path is ours, x_t = t·x_1 + (1 − t)·x_0 with t = 1 the data and t itself embedded,
which is also how Ma et al. (2024) write their interpolants with the arrow of time turned. Self-Flow
(arXiv 2603.06507) is a SiT with a time for each token, written with noise at t = 1
(models/reversed_time.py). DiT predicts the noise of another path at 1000 numbered steps: its
weights can be trained on, but are no velocity.
"""

import re
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.models.config import DataInfo, PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.embeddings import sincos_positions
from patch_forcing.models.folder import DIT, ModelDescription, check_tensors
from patch_forcing.models.imagenet import imagenet_classes
from patch_forcing.models.latent_space import STABLE_DIFFUSION, LatentSpace
from patch_forcing.models.reversed_time import in_our_time
from patch_forcing.models.state_dicts import GIVE, PATCHES, POSITIONS

Kind = Literal["pft", "sit", "self-flow", "dit"]
Share = Literal["data", "noise"]
"""Of what a model's own time is the share: 1 is data, or noise."""

_HEADS = {(12, 384): 6, (12, 768): 12, (24, 1024): 16, (28, 1152): 16}
"""By depth and width, of the sizes S, B, L and XL."""
_LAST = ("final_layer.linear.weight", "final_layer.linear.bias")
_EIGHTS = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, *_EIGHTS)
"""What weights are stored in. Each number becomes the nearest of fp32."""
_OF_TRAINING = re.compile(r"(projectors?|predictors?)\.")


def from_published(
    weights: Mapping[str, Tensor],
    kind: Kind | None = None,
    num_heads: int | None = None,
    autoencoder: LatentSpace | None = None,
    config: Any = None,
    time: Share | None = None,
) -> ModelDescription:
    """The weights of a checkpoint → what a model folder holds, in fp32.

    kind: needed for SiT, Self-Flow and DiT, whose files look alike. num_heads: only where neither
    the config nor a known size tells. autoencoder: whose latents they are; by default Stable
    Diffusion's where there are four channels; otherwise none, which Self-Flow has to have. config:
    the checkpoint's, if it has one. time: what the model's own time is the share of; by default
    data, and of Self-Flow noise.
    Raises UserError naming the tensor that is missing, unknown, quantised or of another shape.
    """
    weights = {name: one for name, one in weights.items() if not _OF_TRAINING.match(name)}
    patches, classes = _embedders(weights)
    width, channels, side = patches.shape[:3]
    depth = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    kind = _kind(kind, len(weights[_LAST[0]]), channels, side)
    if kind == "self-flow" and autoencoder is None and channels != STABLE_DIFFUSION.channels:
        raise UserError(
            f"a Self-Flow of {channels} channels makes latents of an unknown kind: name their "
            "autoencoder by --autoencoder"
        )
    ours = _in_fp32(weights)
    sizes = PatchDiTConfig(
        input_size=side * _positions(weights, width),
        patch_size=side,
        in_channels=channels,
        hidden_size=width,
        depth=depth,
        num_heads=_heads(config, depth, width, num_heads),
        num_classes=classes,
        predict_difficulty=kind == "pft",
    )
    del ours[POSITIONS]
    if kind != "pft":
        outputs = len(ours[_LAST[0]]) // side**2
        ours |= {name: _keep(ours[name], side, outputs, channels) for name in _LAST}
    _check(ours, sizes)
    ours = _in_our_direction(ours, sizes, kind, time)
    names = imagenet_classes() if sizes.num_classes == 1000 else ()
    info = _data_info(autoencoder, channels, names)
    return ModelDescription(DIT if kind == "dit" else "PatchDiT", sizes.stored(), info, ours)


def heads_of_training(names: Iterable[str]) -> list[str]:
    """First words of the tensors that alignment trains with a network, and sampling leaves out."""
    matches = map(_OF_TRAINING.match, names)
    return list(dict.fromkeys(match[1] for match in matches if match))


def _embedders(weights: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """The patch embedding, and how many classes there are; checks the last layer, too."""
    for name in (PATCHES, "y_embedder.embedding_table.weight", *_LAST):
        if name not in weights:
            raise UserError(f"lacks the tensor {name!r}: {GIVE}")
    patches = weights[PATCHES]
    table = weights["y_embedder.embedding_table.weight"]
    if patches.ndim != 4 or table.ndim != 2 or len(table) < 1:
        raise UserError(f"x_embedder or y_embedder is of no known shape: {GIVE}")
    if any(len(weights[name].shape or [()]) != 2 - place for place, name in enumerate(_LAST)) or (
        len(weights[_LAST[0]]) != len(weights[_LAST[1]])
    ):
        raise UserError(f"final_layer.linear is of no known shape: {GIVE}")
    return patches, len(table) - 1


def _in_our_direction(
    weights: dict[str, Tensor], sizes: PatchDiTConfig, kind: Kind, time: Share | None
) -> dict[str, Tensor]:
    if kind == "dit":
        if time is not None:
            raise UserError(f"--time {time} of a DiT, whose times are numbered: leave it out")
        return weights
    share = time or ("noise" if kind == "self-flow" else "data")
    return weights if share == "data" else in_our_time(weights, sizes)


def _in_fp32(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises UserError naming a tensor of whole numbers, or a scale of fp8 weights."""
    for name, tensor in weights.items():
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"tensor {name[:60]!r} is {kind}, which is no weight here: save it as fp32, fp16 "
                "or bf16"
            )
    scale = next((name for name in weights if "scale" in name), None)
    if scale and any(tensor.dtype.itemsize == 1 for tensor in weights.values()):
        raise UserError(
            f"fp8 weights have scales, such as {scale[:60]!r}: save their products in fp16 or bf16"
        )
    return {name: tensor.float() for name, tensor in weights.items()}


def _data_info(space: LatentSpace | None, channels: int, names: tuple[str, ...]) -> DataInfo:
    if space is None and channels == STABLE_DIFFUSION.channels:
        space = STABLE_DIFFUSION
    if space is None:
        return DataInfo(class_names=names)
    if space.channels != channels:
        raise UserError(
            f"{channels} channels, and latents of {space.name} have {space.channels}: give another "
            "--autoencoder"
        )
    return DataInfo.of_latents(space, names)


def to_published(model: PatchDiT) -> dict[str, Any]:
    """A model → a checkpoint in PFT's form; without log-variance in SiT's, its second half zero."""
    sizes = model.config
    rows, cols = sizes.grid
    if rows != cols:
        raise UserError(f"a grid of {rows}×{cols} patches: published checkpoints hold square ones")
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if not sizes.predict_difficulty:
        channels = sizes.in_channels
        weights |= {n: _widen(weights[n], sizes.patch_size, channels, channels) for n in _LAST}
    weights[POSITIONS] = model.pos_embed.detach().clone()
    return {
        "config": {"target": "patch_forcing.PatchDiT", "params": sizes.stored()},
        "state_dict": weights,
    }


def _kind(kind: Kind | None, rows: int, channels: int, side: int) -> Kind:
    outputs, rest = divmod(rows, side**2)
    pft = not rest and outputs == channels + 1
    plain = not rest and outputs in (channels, 2 * channels)
    if kind is None and pft and plain:
        raise UserError(f"{outputs} outputs a pixel may be PFT's or SiT's: add --kind")
    if kind is None and plain:
        raise UserError(
            "SiT, Self-Flow and DiT checkpoints look alike: add --kind sit or --kind self-flow "
            "(flow matching) or --kind dit (noise prediction)"
        )
    if not (pft if kind in (None, "pft") else plain):
        expected = {None: "C, C + 1 or 2·C", "pft": "C + 1"}.get(kind, "C or 2·C")
        raise UserError(
            f"final_layer.linear has {rows} rows, which are not {side}·{side} patches of "
            f"{expected} channels, C = {channels}: {GIVE}"
        )
    return kind or "pft"


def _heads(config: Any, depth: int, width: int, given: int | None) -> int:
    """Weights do not tell the number of heads: the user, the config or a known size does."""
    params = config.get("params", config) if isinstance(config, Mapping) else None
    configured = params.get("num_heads") if isinstance(params, Mapping) else None
    if type(configured) is not int:
        configured = None
    heads = given or configured or _HEADS.get((depth, width))
    if heads is None:
        raise UserError(f"{depth} blocks of width {width} have how many heads? Add --num-heads N")
    if configured is not None and given not in (None, configured):
        raise UserError(
            f"--num-heads {given}: the checkpoint's config says {configured}: leave it out"
        )
    return heads


def _positions(weights: Mapping[str, Tensor], width: int) -> int:
    """How many patches a side of the image has, by the position table."""
    if POSITIONS not in weights:
        raise UserError(f"lacks the tensor {POSITIONS!r}: {GIVE}")
    table = weights[POSITIONS]
    if table.ndim != 3 or len(table) != 1 or table.shape[2] != width or width % 4:
        raise UserError(f"pos_embed of shape {tuple(table.shape)}: (1, N, {width}) is read")
    side = isqrt(table.shape[1])
    if side**2 != table.shape[1] or not side:
        raise UserError(f"pos_embed of {table.shape[1]} patches, not those of a square image")
    # one unit in the last place of its numbers, or of bf16: fp32 files may hold those
    stored, bf16 = torch.finfo(table.dtype), torch.finfo(torch.bfloat16)
    rtol, atol = max(stored.eps, bf16.eps), max(stored.tiny * stored.eps, 1e-4)
    if not torch.allclose(
        table[0].float(), sincos_positions(side, side, width), rtol=rtol, atol=atol
    ):
        raise UserError("pos_embed is not the fixed sine and cosine table: not supported")
    return side


def _keep(rows: Tensor, side: int, channels: int, kept: int) -> Tensor:
    """Keep the first output channels of each pixel."""
    grouped = rows.unflatten(0, (side**2, channels))[:, :kept]  # (P·P, kept, …)
    return grouped.flatten(0, 1).contiguous()


def _widen(rows: Tensor, side: int, channels: int, more: int) -> Tensor:
    """Append output channels of zeros to those of each pixel."""
    grouped = rows.unflatten(0, (side**2, channels))
    zeros = grouped.new_zeros(side**2, more, *grouped.shape[2:])
    return torch.cat([grouped, zeros], dim=1).flatten(0, 1)


def _check(weights: dict[str, Tensor], sizes: PatchDiTConfig) -> None:
    if sizes.depth > len(weights):
        raise UserError(f"{sizes.depth} blocks in {len(weights)} tensors: copy the file again")
    with torch.device("meta"):
        expected = PatchDiT(sizes).state_dict()
    check_tensors(weights, expected, f"{GIVE}, whole")

"""PatchDiT: a diffusion transformer in which every patch has its own time and difficulty."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from patch_forcing.core.active import ActiveTokens, Tokens
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patches import unpatchify
from patch_forcing.core.time import PatchTime, as_patch_time
from patch_forcing.core.time_nodes import interpolated
from patch_forcing.models.config import DataInfo, PatchDiTConfig, SamplingInfo
from patch_forcing.models.embeddings import LabelEmbedder, TimestepEmbedder, sincos_positions
from patch_forcing.models.folder import ModelDescription, save_folder
from patch_forcing.models.layers import Block, FinalLayer, Modulation, Recompute, Remembered


class PatchDiT(nn.Module):
    """DiT/SiT with adaLN-Zero (Peebles & Xie 2023; Ma et al. 2024) and two changes.

    The time condition is per token, and the output has one more channel, the log-variance of the
    velocity. Where all tokens hold the same time, this is SiT.

    data_info: what the numbers mean as images. sampling_info: how the model is best sampled. They
    go with the weights into a model folder.
    recompute_activations: what of each block the backward pass computes again (models/layers.py).
    time_nodes: where more times than this occur in an image, compute conditions at so many nodes
    and interpolate (core/time_nodes.py); 0 computes them at each time.
    """

    def __init__(
        self,
        config: PatchDiTConfig,
        data_info: DataInfo | None = None,
        sampling_info: SamplingInfo | None = None,
    ):
        super().__init__()
        self.config = config
        self.time_nodes = 0
        self.data_info = data_info or DataInfo()
        self.sampling_info = sampling_info or SamplingInfo()
        names = len(self.data_info.class_names)
        if names not in (0, config.num_classes):
            raise UserError(
                f"{names} class names for {config.num_classes} classes: name all or none"
            )
        width, channels = config.hidden_size, config.in_channels
        space = self.data_info.autoencoder
        if space is not None and space.channels != channels:
            raise UserError(
                f"{channels} channels for latents of {space.channels} ({space.name}): "
                "bring a network and the autoencoder of its latents together"
            )
        self.x_embedder = PatchEmbedder(channels, width, config.patch_size)
        self.t_embedder = TimestepEmbedder(width)
        self.y_embedder = LabelEmbedder(config.num_classes, width)
        self.blocks = nn.ModuleList(Block(width, config.num_heads) for _ in range(config.depth))
        out_channels = channels + int(config.predict_difficulty)
        self.final_layer = FinalLayer(width, config.patch_size, out_channels)
        self.pos_embed: Tensor
        positions = torch.empty(1, config.num_patches, width)
        self.register_buffer("pos_embed", positions, persistent=False)
        self.init_positions()
        self.init_weights()

    def init_positions(self) -> None:
        """Fixed positions: not stored, filled in again where a model is made without memory."""
        self.pos_embed.copy_(sincos_positions(*self.config.grid, self.config.hidden_size))

    def init_weights(self) -> None:
        """DiT's initialisation."""
        # linears, and the patch embedding seen as one: keep the variance of activations
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(_bias(module))
        # conditions: small, so that the zero-initialised modulation starts to learn smoothly
        nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for module in self.t_embedder.mlp:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        # adaLN-Zero: every block starts as the identity, and the network's output at zero
        for module in self.modules():
            if isinstance(module, Modulation):
                _zero(module[1])
        _zero(self.final_layer.linear)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The 2-D weights inside the blocks: what optimizers for matrices are made for."""
        return [weight for weight in self.blocks.parameters() if weight.ndim == 2]

    @property
    def recompute_activations(self) -> Recompute:
        """Of every block."""
        return next(self._blocks()).recompute

    @recompute_activations.setter
    def recompute_activations(self, what: Recompute) -> None:
        for block in self._blocks():
            block.recompute = what

    def _blocks(self) -> Iterator[Block]:
        yield from (block for block in self.blocks if isinstance(block, Block))

    @property
    def patch_size(self) -> int:
        """P."""
        return self.config.patch_size

    def forward(
        self,
        x_t: Float[Tensor, "B C H W"],
        t: PatchTime | Float[Tensor, " B"] | Float[Tensor, "B N"],
        condition: Int64[Tensor, " _"] | None = None,
        *,
        active: ActiveTokens | None = None,
        tokens_after: int | None = None,
    ) -> ModelOutput:
        """Velocity and log-variance at x_t.

        t: in [0, 1], 1 is data. condition: labels; None is the null condition. The output has the
        dtype of x_t, whatever the weights' is.
        active: compute these tokens only; the output is zero in the others' pixels. For sampling:
        keys and values are overwritten in place.
        tokens_after: give the tokens after that block too, 1 … depth, for objectives that look
        inside.
        """
        if x_t.shape[1:] != (self.config.in_channels, *self.config.image_size):
            raise UserError(
                f"input of shape {tuple(x_t.shape)}: this model takes "
                f"(B, {self.config.in_channels}, *{self.config.image_size})"
            )
        time = as_patch_time(t, len(x_t), self.config.num_patches)
        if condition is None:
            condition = self._null(x_t)
        elif condition.shape != (len(x_t),):
            raise UserError(f"labels {tuple(condition.shape)} for {len(x_t)} images: give one each")
        tokens = self.x_embedder(x_t.to(self.pos_embed.dtype)) + self.pos_embed  # (B, N, D)
        chosen, memory = (None, []) if active is None else active
        if self.time_nodes:
            time = interpolated(time, self.time_nodes)
        packed = chosen is not None and chosen.ndim == 1
        if chosen is not None and not packed:
            tokens, time = _take(tokens, chosen), time.at(chosen)  # (B, M, D)
        c = self.t_embedder(time.values) + self.y_embedder(condition)[:, None]  # (B, U, D)
        if chosen is not None and packed:  # as of one image with B·U times
            tokens, time = tokens.flatten(0, 1)[chosen][None], time.at(chosen)  # (1, T, D)
            c = c.flatten(0, 1)[None]  # (1, B·U, D)
        if tokens_after is not None and not 1 <= tokens_after <= len(self.blocks):
            raise UserError(f"no block {tokens_after}: this model has 1 to {len(self.blocks)}")
        seen = None
        if active is None:
            blocks = list(self.blocks)
            if tokens_after is not None:
                tokens = seen = self.run_blocks(blocks[:tokens_after], tokens, c, time)
                blocks = blocks[tokens_after:]
            tokens = self.run_blocks(blocks, tokens, c, time)  # (B, N, D)
        else:
            for number, block in enumerate(self.blocks):
                remembered = None if chosen is None else Remembered(chosen, memory[number])
                # (B, N or M, D), or (1, T, D)
                tokens, keys_values = block(tokens, c, time, remembered)
                if chosen is None:
                    memory.append(keys_values)
                if number + 1 == tokens_after:
                    seen = tokens
        tokens = self.final_layer(tokens, c, time)  # (B, N or M, P²·(C + 1)), or (1, T, …)
        if chosen is not None:
            tokens = _put(tokens, chosen, len(x_t), self.config.num_patches)
        image = unpatchify(tokens.to(x_t.dtype), self.config.image_size, self.patch_size)
        velocity, logvar = image.split(
            [self.config.in_channels, int(self.config.predict_difficulty)], dim=1
        )
        return ModelOutput(velocity, logvar if self.config.predict_difficulty else None, seen)

    def run_blocks(
        self,
        blocks: Iterable[nn.Module],
        tokens: Float[Tensor, "B N D"],
        c: Float[Tensor, "B U D"],
        time: PatchTime,
    ) -> Float[Tensor, "B N D"]:
        """All tokens through some of the blocks, in order."""
        for block in blocks:
            tokens, _ = block(tokens, c, time)
        return tokens

    def _null(self, x_t: Tensor) -> Int64[Tensor, " B"]:
        return torch.full((len(x_t),), self.config.num_classes, device=x_t.device)

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        """Raises UserError unless the condition is None or (batch,) labels in range."""
        if condition is None:
            return
        if condition.shape != (batch,) or condition.dtype != torch.int64:
            raise UserError(
                f"labels {tuple(condition.shape)} of {condition.dtype}: give ({batch},) int64"
            )
        classes = self.config.num_classes
        wrong = condition[(condition < 0) | (condition >= classes)]
        if len(wrong):
            raise label_error(int(wrong[0]), classes)

    def drop_condition(
        self, condition: Int64[Tensor, " B"], dropped: Bool[Tensor, " B"]
    ) -> Int64[Tensor, " B"]:
        """The labels, with the null label where `dropped`."""
        return condition.masked_fill(dropped, self.config.num_classes)

    def save(self, path: str | Path) -> None:
        """Write a model folder, complete or absent; an existing model folder is replaced."""
        save_folder(Path(path), self.description())

    def description(self) -> ModelDescription:
        """Everything that a model folder holds besides the weights' numbers, and the weights."""
        sizes = asdict(self.config)
        return ModelDescription(
            "PatchDiT", sizes, self.data_info, self.state_dict(), self.sampling_info
        )


class PatchEmbedder(nn.Module):
    """Image → tokens by a strided convolution."""

    def __init__(self, channels: int, hidden_size: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        if x.is_cuda:
            return strided_product(x, self.proj)
        return self.proj(x).flatten(2).transpose(1, 2)


def strided_product(x: Float[Tensor, "B C H W"], convolution: nn.Conv2d) -> Float[Tensor, "B N D"]:
    """What a convolution with the stride of its kernel is, token after token in memory.

    A convolution's layout is channel after channel, and the compiler carries it into the blocks:
    three of 57 norms, with a transposition within, took 6 ms of a training step's 252 (XL/2, H100).
    """
    size = convolution.kernel_size[0]
    patches = x.unfold(2, size, size).unfold(3, size, size)  # (B, C, rows, columns, P, P)
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # (B, N, C·P²)
    return F.linear(patches, convolution.weight.flatten(1), convolution.bias)


def label_error(label: int, num_classes: int) -> UserError:
    """The error for a label that the model does not know."""
    if num_classes == 0:
        return UserError(f"label {label}: this model is unconditional, give no labels")
    return UserError(f"label {label} is out of range: this model knows 0 to {num_classes - 1}")


def _take(rows: Tensor, index: Int64[Tensor, "B M"]) -> Tensor:
    """(B, N, F) → (B, M, F)."""
    return rows.gather(1, index[:, :, None].expand(-1, -1, rows.shape[2]))


def _put(rows: Tensor, index: Tokens, batch: int, num_patches: int) -> Tensor:
    """(B, M, F), or packed (1, T, F) → (B, N, F), zero elsewhere."""
    everywhere = rows.new_zeros(batch, num_patches, rows.shape[2])
    if index.ndim == 1:
        return everywhere.flatten(0, 1).index_put((index,), rows[0]).view_as(everywhere)
    return everywhere.scatter(1, index[:, :, None].expand_as(rows), rows)


def _bias(module: nn.Linear | nn.Conv2d) -> Tensor:
    assert module.bias is not None
    return module.bias


def _zero(module: nn.Module) -> None:
    assert isinstance(module, nn.Linear)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(_bias(module))

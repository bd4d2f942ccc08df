"""PatchDiT: a diffusion transformer in which every patch has its own time and difficulty."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.patches import unpatchify
from patch_forcing.core.time import PatchTime, as_patch_time
from patch_forcing.core.time_nodes import interpolated
from patch_forcing.models.condition_kinds import condition_kind
from patch_forcing.models.conditions import ConditionModule, Embedded
from patch_forcing.models.config import DataInfo, PatchDiTConfig, SamplingInfo, check_data
from patch_forcing.models.embeddings import PatchEmbedder, TimestepEmbedder, sincos_positions
from patch_forcing.models.folder import ModelDescription, save_folder
from patch_forcing.models.layers import (
    Block,
    Conditioning,
    CrossAttention,
    FinalLayer,
    Modulation,
)
from patch_forcing.models.options import Recompute
from patch_forcing.models.rotary import Rotation, patch_positions, rotation
from patch_forcing.models.token_subset import BlockMemory, put, take, take_rotation

Layer = Callable[[Tensor, Conditioning], Tensor]
"""A block, or one with its memory."""


class PatchDiT(nn.Module):
    """DiT/SiT with adaLN-Zero (Peebles & Xie 2023; Ma et al. 2024) and two changes.

    The time condition is per token, and the output has one more channel, the log-variance of the
    velocity. Where all tokens hold the same time, this is SiT.

    data_info: what the numbers mean as images. sampling_info: how the model is best sampled. They
    go with the weights into a model folder.
    time_nodes: if an image holds more times than this, conditions are computed at so many nodes
    and interpolated (core/time_nodes.py); 0 computes them at each time.
    Raises UserError if classes or channels are not those of data_info.
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
        check_data(config, self.data_info)
        width, channels = config.hidden_size, config.in_channels
        self.x_embedder = PatchEmbedder(channels, width, config.patch_size)
        self.t_embedder = TimestepEmbedder(config.vector_size)
        self.y_embedder: ConditionModule = condition_kind(config.condition).module(config)
        self.attends = bool(getattr(self.y_embedder, "attended", False))
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, self.attends, config.condition_size)
            for _ in range(config.depth)
        )
        out_channels = channels + int(config.predict_difficulty)
        self.final_layer = FinalLayer(width, config.patch_size, out_channels, config.condition_size)
        self.pos_embed: Tensor
        positions = torch.empty(1, 1 if config.is_rotary else config.num_patches, width)
        self.register_buffer("pos_embed", positions, persistent=False)
        self.init_positions()
        self.init_weights()

    def init_positions(self) -> None:
        """Fill in the fixed positions. They are not stored, so loading calls this again."""
        if self.config.is_rotary:  # blocks turn queries and keys instead
            self.pos_embed.zero_()
            return
        self.pos_embed.copy_(sincos_positions(*self.config.grid, self.config.hidden_size))

    def init_weights(self) -> None:
        """Initialise all weights as DiT does."""
        # linears, and the patch embedding seen as one: keep the variance of activations
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(_bias(module))
        self.y_embedder.init_weights()
        # times: small, so that the zero-initialised modulation starts to learn smoothly
        for module in self.t_embedder.mlp:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        # adaLN-Zero: every block starts as the identity, and the network's output at zero
        for module in self.modules():
            if isinstance(module, Modulation):
                _zero(module[1])
            elif isinstance(module, CrossAttention):
                _zero(module.proj)
        _zero(self.final_layer.linear)

    def forward(
        self,
        x_t: Float[Tensor, "B C H W"],
        t: PatchTime | Float[Tensor, " B"] | Float[Tensor, "B N"],
        condition: Tensor | Embedded | None = None,
        *,
        active: ActiveTokens | None = None,
        tokens_after: int | None = None,
        crop: Float[Tensor, "B 4"] | None = None,
    ) -> ModelOutput:
        """Velocity and log-variance at x_t, in its dtype, whatever the weights' is.

        t: in [0, 1], 1 is data. condition: of the kind that the config names, one for each image,
        or what `prepare_condition` made of them; None is the null condition.
        active: compute these tokens only, M of each image; the output is zero in the others'
        pixels. For sampling: keys and values are overwritten in place.
        tokens_after: give the tokens after that block too, 1 … L, for objectives that look inside.
        With rotary positions: H and W are any multiples of P; crop: which part of its picture each
        image is (models/rotary.py).
        Raises UserError if images, times, condition or block do not suit.
        """
        grid = self._check(x_t, condition, tokens_after, crop)
        batch, patches = len(x_t), grid[0] * grid[1]
        time = as_patch_time(t, batch, patches)  # U times an image, (B, U)
        if self.time_nodes:
            time = interpolated(time, self.time_nodes)  # (B, U), U at most so many
        x = self.x_embedder(x_t.to(self.pos_embed.dtype)) + self.pos_embed  # (B, N, D)
        given = self._embedded(condition, batch)
        # all tokens: M = N; packed ones are those of one image, (1, M, D)
        x, time, vector = take(active, x, time, given.vector[:, None])  # (B, M, D), (B, 1, D)
        rows = self.t_embedder(time.values) + vector  # (B, U, D)
        turned = self._rotation(grid, crop, active, batch)  # (B, M, 2, half of a head)
        c = Conditioning(rows, time, given.tokens, given.mask, turned)
        blocks, tokens = self._blocks(active, given.keys_values), None
        if tokens_after is not None:
            x = tokens = self.run_blocks(blocks[:tokens_after], x, c)  # (B, M, D)
        x = self.run_blocks(blocks[tokens_after or 0 :], x, c)  # (B, M, D)
        x = self.final_layer(x, c)  # (B, M, P²·(C + 1))
        x = put(active, x, batch, patches).to(x_t.dtype)  # (B, N, P²·(C + 1))
        image = unpatchify(x, x_t.shape[-2:], self.patch_size)  # (B, C + 1, H, W)
        channels = [self.config.in_channels, int(self.config.predict_difficulty)]
        velocity, logvar = image.split(channels, dim=1)  # (B, C, H, W), (B, 1, H, W)
        return ModelOutput(velocity, logvar if self.config.predict_difficulty else None, tokens)

    def run_blocks(
        self, blocks: Iterable[Layer], x: Float[Tensor, "B M D"], c: Conditioning
    ) -> Float[Tensor, "B M D"]:
        """Pass tokens through a run of blocks, in order."""
        for block in blocks:
            x = block(x, c)
        return x

    def _blocks(self, active: ActiveTokens | None, kept: tuple[Tensor, ...] | None) -> list[Layer]:
        """The L blocks, each bound to its part of the memory if tokens are remembered, and to its
        keys and values of conditions if they are kept.
        """
        if active is None and kept is None:
            return list(self.blocks)
        return [
            partial(
                block,
                memory=None if active is None else BlockMemory(active, number),
                kept=None if kept is None else kept[number],
            )
            for number, block in enumerate(self.blocks)
        ]

    def _embedded(self, condition: Tensor | Embedded | None, batch: int) -> Embedded:
        if isinstance(condition, Embedded):
            return condition
        return self.y_embedder(self.null_condition(batch) if condition is None else condition)

    def prepare_condition(self, condition: Tensor | None, batch: int) -> Tensor | Embedded | None:
        """What evaluations under the same conditions share, to be given in their place.

        Of texts, what takes most of the time: tokens are refined, and each block has its keys and
        values of them. Other kinds are as they were.
        """
        if not self.attends:
            return condition
        given = self._embedded(condition, batch)
        assert given.tokens is not None
        kept = tuple(
            block.cross.keys_values(given.tokens)
            for block in self.blocks
            if isinstance(block, Block) and block.cross is not None
        )
        return given._replace(tokens=None, keys_values=kept)

    def _rotation(
        self,
        grid: tuple[int, int],
        crop: Tensor | None,
        active: ActiveTokens | None,
        batch: int,
    ) -> Rotation | None:
        """Of the active tokens; None if positions are not rotary."""
        if not self.config.is_rotary:
            return None
        place = self.pos_embed.device
        at = patch_positions(grid, self.config.num_patches, crop, place)  # (1 or B, N, 2)
        by = rotation(at, self.config.hidden_size // self.config.num_heads)
        return take_rotation(active, by, batch)

    def _check(
        self,
        x_t: Tensor,
        condition: Tensor | Embedded | None,
        tokens_after: int | None,
        crop: Tensor | None,
    ) -> tuple[int, int]:
        """Rows and columns of patches. Raises UserError for what does not suit."""
        rotary, channels = self.config.is_rotary, self.config.in_channels
        size = tuple(x_t.shape[2:]) if rotary else self.config.image_size
        if x_t.ndim != 4 or x_t.shape[1:] != (channels, *size):
            sides = "H, W" if rotary else f"*{self.config.image_size}"
            raise UserError(
                f"input of shape {tuple(x_t.shape)}: this model takes (B, {channels}, {sides})"
            )
        if crop is not None and not rotary:
            raise UserError("crop for fixed positions: leave it out, or train with position=rope")
        given = condition.vector if isinstance(condition, Embedded) else condition
        if given is not None and len(given) != len(x_t):
            raise UserError(f"condition {tuple(given.shape)} for {len(x_t)} images: give one each")
        if tokens_after is not None and not 1 <= tokens_after <= len(self.blocks):
            raise UserError(f"no block {tokens_after}: this model has 1 to {len(self.blocks)}")
        return patch_grid(x_t.shape[2:], self.patch_size)

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        """Raises UserError unless it is None, or suits the model and so many images."""
        if condition is not None:
            self.y_embedder.check(condition, batch)

    def null_condition(self, batch: int) -> Tensor:
        """The null condition of so many images, as a tensor."""
        return self.y_embedder.null(batch)

    def drop_condition(self, condition: Tensor, dropped: Bool[Tensor, " B"]) -> Tensor:
        """The condition, with the null condition in the dropped rows."""
        rows = dropped.view(-1, *(1 for _ in condition.shape[1:]))  # (B, 1, …)
        return torch.where(rows, self.null_condition(len(condition)).to(condition), condition)

    @property
    def patch_size(self) -> int:
        """P."""
        return self.config.patch_size

    @property
    def recompute_activations(self) -> Recompute:
        """What of each block the backward pass computes again (models/recompute.py)."""
        return next(block.recompute for block in self.blocks if isinstance(block, Block))

    @recompute_activations.setter
    def recompute_activations(self, what: Recompute) -> None:
        for block in self.blocks:
            assert isinstance(block, Block)
            block.recompute = what

    def train_difficulty_alone(self) -> None:
        """All but the last layer is frozen, of which the velocity's rows learn nothing if the
        objective has `difficulty_alone`. Nothing before it is kept for a backward pass.
        """
        self.requires_grad_(False)
        self.final_layer.linear.requires_grad_(True)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The 2-D weights inside the blocks: what optimizers for matrices are made for."""
        return [weight for weight in self.blocks.parameters() if weight.ndim == 2]

    def save(self, path: str | Path) -> None:
        """Write a model folder, complete or absent; an existing model folder is replaced."""
        save_folder(Path(path), self.description())

    def description(self) -> ModelDescription:
        """Everything that a model folder holds besides the weights' numbers, and the weights."""
        sizes = self.config.stored()
        return ModelDescription(
            "PatchDiT", sizes, self.data_info, self.state_dict(), self.sampling_info
        )


def _bias(module: nn.Linear | nn.Conv2d) -> Tensor:
    assert module.bias is not None
    return module.bias


def _zero(module: nn.Module) -> None:
    assert isinstance(module, nn.Linear)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(_bias(module))

"""A Self-Flow model, as the paper (arXiv 2603.06507) and SiT's paper describe it, in plain torch.

A SiT whose tokens each have a noise level τ: x_τ = (1 − τ)·data + τ·noise, velocity noise − data.
Nothing is shared with the package or with tests/support/published.py, and tensors have the names of
DiT's published files.
"""

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated token by token."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c).chunk(6, -1)
        width = h.shape[-1]

        def norm(z: Tensor) -> Tensor:
            return nn.functional.layer_norm(z, (width,), eps=1e-6)

        qkv = self.attn["qkv"](norm(h) * (1 + scale_a) + shift_a)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1)
        )
        attended = torch.softmax(q @ k.mT / math.sqrt(width // self.heads), -1) @ v
        h = h + gate_a * self.attn["proj"](attended.transpose(1, 2).flatten(2))
        hidden = self.mlp["fc1"](norm(h) * (1 + scale_m) + shift_m)
        return h + gate_m * self.mlp["fc2"](nn.functional.gelu(hidden, approximate="tanh"))


class SelfFlow(nn.Module):
    """outputs: channels that come out; twice those that go in, of which the second half is unused,
    or as many.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 2,
        heads: int = 4,
        channels: int = 4,
        side: int = 2,
        grid: int = 4,
        classes: int = 10,
        outputs: int = 8,
    ):
        super().__init__()
        self.channels, self.side, self.grid = channels, side, grid
        self.pos_embed = nn.Parameter(positions(grid, width)[None], requires_grad=False)
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(channels, width, side, stride=side)})
        self.t_embedder = nn.ModuleDict(
            {"mlp": nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))}
        )
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, width)})
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = nn.ModuleDict(
            {
                "linear": nn.Linear(width, side * side * outputs),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)),
            }
        )

    def forward(self, x: Tensor, tau: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W), (B, N) noise levels, (B,) labels → noise − data, (B, C, H, W)."""
        h = self.x_embedder["proj"](x).flatten(2).mT + self.pos_embed
        angle = tau[..., None] * 10_000.0 ** (-torch.arange(128) / 128)
        features = torch.cat([torch.cos(angle), torch.sin(angle)], -1)
        label = self.y_embedder["embedding_table"](y)
        c = self.t_embedder["mlp"](features) + label[:, None]
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.final_layer["adaLN_modulation"](c).chunk(2, -1)
        h = nn.functional.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift
        out = self.final_layer["linear"](h)
        out = out.view(len(x), self.grid, self.grid, self.side, self.side, -1)
        image = torch.einsum("nhwpqc->nchpwq", out).reshape(len(x), -1, *x.shape[2:])
        return image[:, : self.channels]


def positions(grid: int, width: int) -> Tensor:
    """(grid², width): sines and cosines of the column, then of the row."""
    omega = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = (
        one.flatten()[:, None] for one in torch.meshgrid(*2 * [torch.arange(grid)], indexing="ij")
    )
    parts = [f(place * omega) for place in (column, row) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, 1).float()


def random_self_flow(seed: int = 0, **sizes: int) -> SelfFlow:
    """One whose every weight matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SelfFlow(**sizes)
        for weight in model.parameters():
            if weight.requires_grad:
                scale = math.prod(weight.shape[1:]) ** -0.5 if weight.ndim > 1 else 0.5
                nn.init.normal_(weight, std=scale)
    return model.eval()

"""Checkpoints in the published form, a plain network that reads them, and the published loops.

Written from docs of the method alone, dense and slow, sharing nothing with the package: every token
has its own condition, and guidance is two calls.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
Predict = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]


def position_table(side: int, width: int) -> Tensor:
    """(1, side², width): the column's sines, its cosines, then the row's."""
    table = torch.zeros(1, side * side, width, dtype=torch.float64)
    quarter = width // 4
    for token in range(side * side):
        for axis, place in enumerate((token % side, token // side)):
            for k in range(quarter):
                angle = place / 10000 ** (k / quarter)
                table[0, token, 2 * quarter * axis + k] = math.sin(angle)
                table[0, token, 2 * quarter * axis + quarter + k] = math.cos(angle)
    return table.float()


def random_state(
    *, width=32, depth=2, channels=4, side=2, grid=4, classes=10, outputs=None, seed=0
) -> State:
    """A checkpoint of random weights; outputs: channels that come out, C + 1 if not given."""
    random = torch.Generator().manual_seed(seed)
    outputs = channels + 1 if outputs is None else outputs
    shapes = {
        "x_embedder.proj": (width, channels, side, side),
        "t_embedder.mlp.0": (width, 256),
        "t_embedder.mlp.2": (width, width),
        "final_layer.linear": (side * side * outputs, width),
        "final_layer.adaLN_modulation.1": (2 * width, width),
    }
    for i in range(depth):
        shapes[f"blocks.{i}.attn.qkv"] = (3 * width, width)
        shapes[f"blocks.{i}.attn.proj"] = (width, width)
        shapes[f"blocks.{i}.mlp.fc1"] = (4 * width, width)
        shapes[f"blocks.{i}.mlp.fc2"] = (width, 4 * width)
        shapes[f"blocks.{i}.adaLN_modulation.1"] = (6 * width, width)
    state = {"pos_embed": position_table(grid, width)}
    state["y_embedder.embedding_table.weight"] = torch.randn(classes + 1, width, generator=random)
    for name, shape in shapes.items():
        fan_in = math.prod(shape[1:])
        state[f"{name}.weight"] = torch.randn(shape, generator=random) / fan_in**0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=random) / 2
    return state


def forward(state: State, x: Tensor, t: Tensor, y: Tensor, heads: int) -> Tensor:
    """All output channels (B, outputs, H, W); t: (B, N)."""

    def linear(name: str, z: Tensor) -> Tensor:
        return z @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(z: Tensor) -> Tensor:
        centred = z - z.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    kernel = state["x_embedder.proj.weight"]
    width, _, side, _ = kernel.shape
    batch, _, height, _ = x.shape
    rows = height // side
    h = F.unfold(x, side, stride=side).mT @ kernel.flatten(1).T + state["x_embedder.proj.bias"]
    h = h + state["pos_embed"]
    frequencies = torch.exp(-math.log(10000) * torch.arange(128) / 128)
    angle = t[..., None] * frequencies
    features = torch.cat([angle.cos(), angle.sin()], -1)
    c = linear("t_embedder.mlp.2", F.silu(linear("t_embedder.mlp.0", features)))
    c = F.silu(c + state["y_embedder.embedding_table.weight"][y][:, None])  # (B, N, D)
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    for i in range(depth):
        b = f"blocks.{i}"
        m = linear(f"{b}.adaLN_modulation.1", c).split(width, -1)
        qkv = linear(f"{b}.attn.qkv", norm(h) * (1 + m[1]) + m[0])
        q, k, v = qkv.view(batch, -1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / (width // heads) ** 0.5).softmax(-1)
        h = h + m[2] * linear(f"{b}.attn.proj", (weights @ v).transpose(1, 2).flatten(2))
        z = linear(f"{b}.mlp.fc1", norm(h) * (1 + m[4]) + m[3])
        z = 0.5 * z * (1 + torch.tanh((2 / math.pi) ** 0.5 * (z + 0.044715 * z**3)))
        h = h + m[5] * linear(f"{b}.mlp.fc2", z)
    m = linear("final_layer.adaLN_modulation.1", c).split(width, -1)
    out = linear("final_layer.linear", norm(h) * (1 + m[1]) + m[0])
    outputs = out.shape[-1] // side**2
    image = torch.zeros(batch, outputs, height, height)
    for token in range(rows * rows):
        top, left = side * (token // rows), side * (token % rows)
        patch = out[:, token].view(batch, side, side, outputs).permute(0, 3, 1, 2)
        image[:, :, top : top + side, left : left + side] = patch
    return image


class Guided:
    """v and logvar of a checkpoint with log-variance, as the published code guides it."""

    def __init__(self, state: State, labels: Tensor, heads: int, scale: float = 1.0):
        self.state, self.labels, self.heads, self.scale = state, labels, heads, scale
        self.null = torch.full_like(labels, len(state["y_embedder.embedding_table.weight"]) - 1)
        self.side = state["x_embedder.proj.weight"].shape[-1]

    def bare(self, x: Tensor, t: Tensor) -> Tensor:
        return forward(self.state, x, t, self.labels, self.heads)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """All channels, guided alike."""
        good = self.bare(x, t)
        if self.scale == 1:
            return good
        bad = forward(self.state, x, t, self.null, self.heads)
        return bad + self.scale * (good - bad)

    def easy(self, out: Tensor, fraction: float) -> Tensor:
        """(B, N), the patches of least predicted variance."""
        d = F.avg_pool2d(out[:, -1:].exp(), self.side).flatten(1)
        order = d.argsort(dim=1, stable=True)[:, : int(fraction * d.shape[1])]
        return torch.zeros_like(d, dtype=torch.bool).scatter(1, order, True)

    def pixels(self, patches: Tensor, like: Tensor) -> Tensor:
        rows = like.shape[-1] // self.side
        grid = patches.view(len(patches), 1, rows, rows).float()
        return F.interpolate(grid, scale_factor=float(self.side), mode="nearest")

    def times(self, x: Tensor, value: float) -> Tensor:
        return torch.full((len(x), (x.shape[-1] // self.side) ** 2), value)


def euler(net: Guided, x: Tensor, steps: int) -> Tensor:
    for k in range(steps):
        x = x + net(x, net.times(x, k / steps))[:, :-1] / steps
    return x


def dual_loop(net: Guided, x: Tensor, steps: int, p: float = 0.4, n: int = 4) -> Tensor:
    for k in range(steps):
        now, then, small = k / steps, (k + 1) / steps, 1 / steps / n
        out = net(x, net.times(x, now))
        easy = net.easy(out, p)
        ahead = net.pixels(easy, x)
        x = x + out[:, :-1] * (ahead / steps + (1 - ahead) * small)
        for j in range(1, n):
            t = torch.where(easy, then, now + j * small)
            x = x + net(x, t)[:, :-1] * (1 - ahead) * small
    return x


def look_ahead(net: Guided, x: Tensor, steps: int, p: float = 0.4, r: float = 1.4) -> Tensor:
    for k in range(steps):
        now, dt = k / steps, 1 / steps
        if now <= 0.05:
            x = x + net.bare(x, net.times(x, now))[:, :-1] * dt
            continue
        first = net(x, net.times(x, now))
        easy, context = net.easy(first, p), min(1.0, r * now)
        mask = net.pixels(easy, x)
        pushed = x + mask * (context - now) * net.bare(x, net.times(x, now))[:, :-1]
        second = net(pushed, torch.where(easy, context, now))
        x = x + dt * (mask * first + (1 - mask) * second)[:, :-1]
    return x

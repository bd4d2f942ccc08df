"""Small networks that judge images, trained in a minute or two on images that have no end."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

Net = TypeVar("Net", bound=nn.Module)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(
        self, channels: int, width: int, stride: int | tuple[int, int] = 1, dilation: int = 1
    ):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return F.relu(self.body(x) + self.shortcut(x))


def learn(
    network: Net,
    batch: Callable[[int], tuple[Float[Tensor, "B C H W"], Int64[Tensor, "B ..."]]],
    steps: int,
    device: str,
    *,
    logits: Callable[[Net, Tensor], Tensor] = lambda network, x: network(x),
    rate: float = 3e-3,
    weight_decay: float = 0.02,
    smoothing: float = 0.0,
    average_decay: float = 0.99,
) -> Net:
    """One cycle of AdamW on images and their classes, step by step, and the average of the last
    steps' weights.

    batch: step → images, and classes where the logits (B, K, …) have them. rate: the highest.
    smoothing: of labels. average_decay: of a step.
    """
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps + 1, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(average_decay),
        use_buffers=True,
    )

    @torch.compile(disable=device == "cpu")
    def loss_of(x: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            scores = logits(network, x)
        return F.cross_entropy(scores.float(), target, label_smoothing=smoothing)

    started = time.perf_counter()
    for step in range(steps):
        x, target = batch(step)
        loss = loss_of(x.contiguous(memory_format=torch.channels_last), target)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        cycle.step()
        average.update_parameters(network)
        if step % max(steps // 10, 1) == 0:
            seconds = time.perf_counter() - started
            name = type(network).__name__.lower()
            print(f"{name}, step {step}: loss {loss.item():.4f}, {seconds:.0f} s", flush=True)
    trained: Net = average.module
    return trained.eval()

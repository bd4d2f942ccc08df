"""Seeds → images. Image i depends on seed i, the model and the settings, and on nothing else."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError, is_out_of_memory
from patch_forcing.core.random import CountedGenerator
from patch_forcing.models.conditions import label_error
from patch_forcing.models.config import DataInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.evaluation import Evaluation, SampleResult
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.guidance import Guidance
from patch_forcing.sampling.sampler import Sampler


@dataclass(frozen=True)
class Generated:
    """One batch of images.

    images: (B, C, H, W) uint8, on the CPU. nfe: network evaluations per image, guidance counted.
    image_nfe: those of each image's own patches. seconds: wall-clock that was waited for the batch.
    trace: one Evaluation per call, if asked for.
    """

    seeds: tuple[int, ...]
    labels: tuple[int, ...] | None
    images: UInt8[Tensor, "B C H W"]
    nfe: float
    image_nfe: tuple[float, ...]
    seconds: float
    trace: list[Evaluation] | None


@torch.no_grad()
def generate(
    model: PatchDiT,
    sampler: Sampler,
    time_grid: list[float],
    seeds: Sequence[int],
    labels: Sequence[int] | None = None,
    *,
    guidance: Guidance | None = None,
    batch_size: int = 64,
    trace: bool = False,
    decode: Callable[[Tensor], UInt8[Tensor, "B C H W"]] | None = None,
) -> Iterator[Generated]:
    """Sample one image for each seed, in batches and in order, on the model's device.

    On a GPU the next batch is sampled while one is decoded, and while the caller is busy with it.

    labels: one for all, or one for each seed; None is unconditional.
    decode: x_1 → images; by default x_1 are pixels in the model's data range.
    batch_size: at most so many at once; where memory runs out, half as many from then on, which
    changes images by rounding only.
    Raises UserError for labels out of range or not as many as seeds, before any work.
    """
    chosen = check_labels(labels, len(seeds), model.config.num_classes)
    check_seeds(seeds)
    device = model.pos_embed.device
    if decode is None:
        decode = partial(to_uint8, info=model.data_info)
    sampled = _sample(model, sampler, time_grid, seeds, chosen, guidance, batch_size, trace)
    on_gpu = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_gpu else None
    started = time.perf_counter()
    for some, some_labels, result in ahead(sampled, device.type) if on_gpu else sampled:
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            images = _decode_within_memory(decode, result.x_1)
        seconds = time.perf_counter() - started
        own = tuple(result.image_nfe.tolist())
        yield Generated(some, some_labels, images, result.nfe, own, seconds, result.trace)
        started = time.perf_counter()


Labels = tuple[int, ...] | None


def _sample(
    model: PatchDiT,
    sampler: Sampler,
    time_grid: list[float],
    seeds: Sequence[int],
    labels: list[int] | None,
    guidance: Guidance | None,
    batch_size: int,
    trace: bool,
) -> Iterator[tuple[tuple[int, ...], Labels, SampleResult]]:
    """Batch after batch, of half the size from where memory runs out."""
    device = model.pos_embed.device
    shape = (model.config.in_channels, *model.config.image_size)

    @torch.no_grad()  # here too: it holds for a thread
    def one_batch(some: tuple[int, ...], some_labels: Labels) -> SampleResult:
        condition = None if some_labels is None else torch.tensor(some_labels, device=device)
        generator = CountedGenerator(some, device=device)
        result = sampler(
            VelocityField(model, condition, guidance),
            generator.fork("noise").normal(*shape),
            time_grid,
            generator=generator.fork("sampler"),
            trace=trace,
        )
        if device.type == "cuda":  # another stream reads it
            torch.cuda.current_stream(device).synchronize()
        return result

    start = 0
    while start < len(seeds):
        some = tuple(seeds[start : start + batch_size])
        some_labels = None if labels is None else tuple(labels[start : start + batch_size])
        result = None
        try:
            result = one_batch(some, some_labels)
        except (MemoryError, RuntimeError) as error:
            if len(some) == 1 or not is_out_of_memory(error):
                raise
        if result is None:  # here nothing holds on to the memory of the attempt any more
            batch_size = (len(some) + 1) // 2
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        yield some, some_labels, result
        start += len(some)


def _decode_within_memory(
    decode: Callable[[Tensor], UInt8[Tensor, "B C H W"]], x_1: Float[Tensor, "B ..."]
) -> UInt8[Tensor, "B C H W"]:
    """Images, on the CPU; half after half where memory runs out."""
    try:
        return decode(x_1).cpu()
    except (MemoryError, RuntimeError) as error:
        if len(x_1) == 1 or not is_out_of_memory(error):
            raise
    halves = x_1.chunk(2)
    return torch.cat([_decode_within_memory(decode, half) for half in halves])


Item = TypeVar("Item")


def ahead(items: Iterator[Item], device_type: str) -> Iterator[Item]:
    """The same items; a thread makes the next one while one is in use.

    The caller's autocast on such devices holds there too; by itself it is a thread's own.
    """
    end = object()
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)

    def following() -> Any:
        with torch.autocast(device_type, dtype, enabled=enabled):
            return next(items, end)

    with ThreadPoolExecutor(max_workers=1) as worker:
        coming: Future[Any] = worker.submit(following)
        while (item := coming.result()) is not end:
            coming = worker.submit(following)
            yield item


def check_labels(labels: Sequence[int] | None, count: int, num_classes: int) -> list[int] | None:
    """One label for each of `count` seeds. Raises UserError if they do not fit."""
    if labels is None:
        return None
    for label in labels:
        if not 0 <= label < num_classes:
            raise label_error(label, num_classes)
    if len(labels) == 1:
        return list(labels) * count
    if len(labels) != count:
        raise UserError(
            f"{len(labels)} labels for {count} seeds: give one label, or one for each seed"
        )
    return list(labels)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises UserError unless there are seeds, all within 0 … 2^63 − 1."""
    if not seeds:
        raise UserError("no seeds: give at least one")
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise UserError(f"seed {seed} is out of range: choose 0 to 2^63 - 1")


def to_uint8(x: Float[Tensor, "B C H W"], info: DataInfo) -> UInt8[Tensor, "B C H W"]:
    """Numbers in the model's data range → 0 … 255."""
    low, high = info.data_range
    return ((x - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)

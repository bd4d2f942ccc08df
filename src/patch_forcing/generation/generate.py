"""Seeds → images. Image i depends on seed i, the model and the settings, and on nothing else.

Where the device has other kernels for a batch of another size, a few bytes may differ by ±1.
"""

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
from patch_forcing.generation.conditions import Conditions, NoConditions
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.generation.request import Sampling
from patch_forcing.models.dit import PatchDiT
from patch_forcing.sampling.evaluation import Evaluation, SampleResult
from patch_forcing.sampling.field import Field, VelocityField

WrapField = Callable[[Field], Field]
"""What stands between a sampler and the model's field, such as an edit that holds patches fast."""
Decode = Callable[[Tensor], UInt8[Tensor, "B C H W"]]
"""What makes images of x_1, or of a prediction of it."""
BatchCallback = Callable[[Evaluation, tuple[int, ...]], None]
"""What is called with every evaluation of a batch and the seeds of the batch's images."""


@dataclass(frozen=True)
class Generated:
    """One batch of images.

    images: (B, C, H, W) uint8, on the CPU. nfe: network evaluations per image, guidance counted.
    image_nfe: those of each image's own patches. seconds: wall-clock that was waited for the batch.
    trace: one Evaluation per call, if it was to be kept.
    """

    seeds: tuple[int, ...]
    conditions: Conditions
    images: UInt8[Tensor, "B C H W"]
    nfe: float
    image_nfe: tuple[float, ...]
    seconds: float
    trace: list[Evaluation] | None

    @property
    def labels(self) -> tuple[int, ...] | None:
        """The class of each image; None where conditions are no classes."""
        return self.conditions.labels


@torch.no_grad()
def generate(
    model: PatchDiT,
    sampling: Sampling,
    seeds: Sequence[int],
    conditions: Conditions | None = None,
    *,
    batch_size: int = 64,
    trace: bool = False,
    decode: Decode | None = None,
    wrap_field: WrapField | None = None,
    callback: BatchCallback | None = None,
) -> Iterator[Generated]:
    """Sample one image for each seed, in batches and in order, on the model's device.

    On a GPU the next batch is sampled while one is decoded, and while the caller is busy with it.

    conditions: one for all, or one for each seed; None is unconditional.
    decode: x_1 → images; by default x_1 are pixels in the model's data range.
    batch_size: at most so many at once; where memory runs out, half as many from then on, which
    changes images by rounding only, ±1 in a few bytes. That batch is then sampled again from its
    beginning.
    wrap_field: makes the field that the sampler calls out of the model's, once for each batch. An
    image still depends on nothing else, but for rounding, if the wrapper treats every image for
    itself.
    callback: called with every evaluation, in order, and the seeds of its batch; on a GPU by the
    thread that samples ahead. It may raise to stop: the exception passes through, once the batches
    that were finished before are yielded, and nothing of the unfinished one is kept.
    Raises UserError before any work if there are neither one condition nor as many as seeds.
    """
    shown = (NoConditions() if conditions is None else conditions).for_seeds(seeds)
    check_seeds(seeds)
    device = model.pos_embed.device
    if decode is None:
        decode = partial(to_uint8, info=model.data_info)

    @torch.no_grad()  # here too: it holds for a thread
    def sample(images: slice) -> SampleResult:
        batch = tuple(seeds[images])
        guidance = sampling.guidance
        if guidance is not None:
            guidance = guidance.for_images(batch, sampling.time_grid, device)
        field = VelocityField(model, shown[images].tensor(device), guidance)
        return _sample(model, sampling, batch, field, trace, wrap_field, callback)

    sampled = _within_memory(sample, len(seeds), batch_size)
    on_gpu = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_gpu else None
    started = time.perf_counter()
    for images, result in ahead(sampled, device.type) if on_gpu else sampled:
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            pixels = _decode_within_memory(decode, result.x_1)
        yield Generated(
            tuple(seeds[images]),
            shown[images],
            pixels,
            result.nfe,
            tuple(result.image_nfe.tolist()),
            time.perf_counter() - started,
            result.trace,
        )
        started = time.perf_counter()


def _sample(
    model: PatchDiT,
    sampling: Sampling,
    seeds: tuple[int, ...],
    field: Field,
    trace: bool,
    wrap_field: WrapField | None,
    callback: BatchCallback | None,
) -> SampleResult:
    """One batch, finished when this returns."""
    device, config = model.pos_embed.device, model.config
    generator = CountedGenerator(seeds, device=device)
    shape = config.in_channels, *(sampling.cells or config.image_size)
    result = sampling.sampler(
        field if wrap_field is None else wrap_field(field),
        generator.fork("noise").normal(*shape),
        list(sampling.time_grid),
        generator=generator.fork("sampler"),
        trace=trace,
        callback=None if callback is None else lambda evaluation: callback(evaluation, seeds),
    )
    if device.type == "cuda":  # another stream reads it
        torch.cuda.current_stream(device).synchronize()
    return result


def _within_memory(
    sample: Callable[[slice], SampleResult], count: int, batch_size: int
) -> Iterator[tuple[slice, SampleResult]]:
    """Batch after batch of `count` images, of half the size from where memory runs out."""
    start = 0
    while start < count:
        images = slice(start, min(start + batch_size, count))
        size, result = images.stop - start, None
        try:
            result = sample(images)
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        if result is None:  # here nothing holds on to the memory of the attempt any more
            batch_size = (size + 1) // 2
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            continue
        yield images, result
        start = images.stop


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


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises UserError unless there are seeds, all within 0 … 2^63 − 1."""
    if not seeds:
        raise UserError("no seeds: give at least one")
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise UserError(f"seed {seed} is out of range: choose 0 to 2^63 - 1")

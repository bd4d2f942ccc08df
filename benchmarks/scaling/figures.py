"""What is computed from measured rows: efficiency, share of the card, hours and money."""

from collections.abc import Mapping, Sequence

from benchmarks.common.record import Row

PASSES = 3
"""Of a training step, in forward passes: the backward pass is twice one."""


def efficiency(rate: float, gpus: int, one: float) -> float:
    """The share of what as many GPUs do by themselves. rate, one: images a second."""
    return rate / (gpus * one)


def share_of_products(rate: float, gpus: int, flop: float, matrix_rate: float) -> float:
    """Of what the cards do in one large product. flop: of a forward pass of one image.

    Only the operations that one shared time needs count.
    """
    return PASSES * flop * rate / (gpus * matrix_rate)


def hours(rate: float, images: int) -> float:
    """Of a training on so many images, at so many a second."""
    return images / rate / 3600


def price(hours: float, gpus: int, gpu_hour: float) -> float:
    """What these hours of all GPUs cost, at the price of one GPU's hour."""
    return hours * gpus * gpu_hour


def steady_rate(finished: Mapping[int, float], world: int, size: int) -> float:
    """Images a second of all processes, after each one's first shard, which pays for its start.

    finished: seconds at which each shard was there; process r makes shards r, r + world, …
    """
    rate = 0.0
    for rank in range(world):
        times = [at for number, at in finished.items() if number % world == rank]
        if len(times) > 1:
            rate += (len(times) - 1) * size / (max(times) - min(times))
    return rate


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows of trainings and samplings beside what one GPU did, of the same machine.

    weak_efficiency: against one with as many images as each of these GPUs. strong_efficiency:
    against one with the same images a step. share: of the card's products, where they were timed.
    """
    return [{**row, **_beside_one(row, rows)} for row in rows]


def _beside_one(row: Row, rows: Sequence[Row]) -> Row:
    if "images_per_second" not in row:
        return {}
    rate, gpus, more = row["images_per_second"], row["gpus"], Row()
    ones = [
        one
        for one in rows
        if one["part"] == row["part"]
        and one["gpus"] == 1
        and one["place"] == row["place"]
        and "images_per_second" in one
    ]
    if row["part"] == "sampling":
        for one in ones:
            if gpus > 1 and one["images"] == row["images"]:
                more["weak_efficiency"] = efficiency(rate, gpus, one["images_per_second"])
        return more
    for one in (one for one in ones if one["times"] == row["times"]):
        if gpus > 1 and (one["batch"], one["parts"]) == (row["batch"] / gpus, row["parts"]):
            more["weak_efficiency"] = efficiency(rate, gpus, one["images_per_second"])
        if gpus > 1 and one["batch"] == row["batch"]:
            more["strong_efficiency"] = efficiency(rate, gpus, one["images_per_second"])
        if "matrix_rate" in one:
            flop = 1e9 * one["gflop_per_image"]
            more["share"] = share_of_products(rate, gpus, flop, one["matrix_rate"])
    return more

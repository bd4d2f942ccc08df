"""Images, a reference and networks → an `Evaluation`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.io.image_file import save_image
from patch_forcing.scoring.copies import (
    Copies,
    check_held_out,
    copies_row,
    find_copies,
    pairs_sheet,
)
from patch_forcing.scoring.evaluation import Evaluation
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.looking import Features, Looker
from patch_forcing.scoring.measuring import Measured, Measuring, Side, check_counts
from patch_forcing.scoring.metric_names import NEARER, USUAL, check_metrics
from patch_forcing.scoring.networks import find_networks
from patch_forcing.scoring.record import network_record, whole_record
from patch_forcing.scoring.reference import Reference, training_images, write_statistics
from patch_forcing.views.progress import progress_bar


@dataclass(frozen=True)
class Measurement:
    """What is measured, and by what; validated when built.

    features: networks by name; none: those that are there and fit. metrics: by name; none: the
    usual ones, as far as they can be had. train: a folder of training images, or a run, which
    samples may be copies of. work: a folder that keeps features, so that the same measurement goes
    on where it stopped. pairs: a PNG of the ten samples nearest to training images. statistics: an
    .npz of the reference's moments in the features of one network.
    Raises UserError for unknown metrics and for options that exclude each other.
    """

    features: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    train: Path | None = None
    work: Path | None = None
    pairs: Path | None = None
    statistics: Path | None = None

    def __post_init__(self) -> None:
        check_metrics(self.metrics)
        if self.pairs is not None and self.train is None:
            raise UserError(f"pairs {self.pairs} without training images: add --train FOLDER")
        if len(set(self.features)) < len(self.features):
            raise UserError(f"features {', '.join(self.features)}: one is there twice")


@dataclass(frozen=True)
class _Seen:
    """Features of all sets."""

    sampled: Features
    real: Features | None
    train: Features | None


def measure(
    images: ImageSet,
    reference: Reference,
    measurement: Measurement,
    *,
    device: str = "cpu",
    ranks: Ranks = ALONE,
    progress: bool | None = False,
) -> Evaluation | None:
    """Look at the images and the reference, and measure. Only the first rank has the result.

    Raises UserError, before any image is made, for networks that are missing, and where the images
    are too few for a metric that was named.
    """
    networks = find_networks(images, reference, measurement.features, device)
    _check_one_network(measurement, len(networks))
    there = None if reference.images is None else reference.images.count
    check_counts(measurement.metrics, images.count, there)
    train = None if measurement.train is None else training_images(measurement.train, images.size)
    if train is not None and reference.images is None:
        raise UserError(
            f"--train {train.name} with statistics: how near new images are to it takes images, so "
            "give --reference as a folder or an array of held-out images"
        )
    sets = [images, *filter(None, (reference.images, train))]
    with progress_bar(progress, total=sum(s.count for s in sets), unit="image") as bar:
        looker = Looker(networks, device, ranks, measurement.work, bar.update)
        real = None if reference.images is None else looker.look(reference.images, "reference")
        known = None if train is None else looker.look(train, "train")
        shared = check_held_out(real, known, reference.name) if real and known else 0
        seen = _Seen(looker.look(images, "samples"), real, known)
    if not ranks.first:
        return None
    started = time.perf_counter()
    rows, influences, copies, sides = [], {}, [], []
    tuned = images.recipe().get("tuned_on") or {}
    place = "cpu" if device.startswith("mps") else device  # which has no fp64
    for number, network in enumerate(networks):
        side = _side(reference, seen.real, network, number, place)
        measured = _measured(images, side, seen, number, network, measurement.metrics)
        near = _copies(seen, number)
        if near is not None:
            measured.estimates[NEARER] = near.estimate
            copies.append(near)
        row = network_record(network, measured, side, reference, seen.real, tuned)
        if near is not None and train is not None and known is not None:
            row["train"] = copies_row(near, shared, train, known.hash)
        rows.append(row)
        sides.append(side)
        for metric, estimate in measured.estimates.items():
            influences[f"{network.name}/{metric}"] = estimate.deviations.numpy()
    _check_measured(rows, measurement.metrics)
    if measurement.statistics is not None and sides[0].statistics is not None:
        write_statistics(measurement.statistics, sides[0].statistics, networks[0].name)
    if measurement.pairs is not None and train is not None:
        save_image(pairs_sheet(copies[0], images, train), measurement.pairs)
    record = whole_record(images, seen.sampled, reference, seen.real, rows, device)
    spent = round(time.perf_counter() - started, 2)
    record |= {"seconds": seen.sampled.seconds | {"metrics": spent}, "ranks": ranks.world}
    return Evaluation(record, influences)


def _check_one_network(measurement: Measurement, count: int) -> None:
    if measurement.statistics is not None and count != 1:
        raise UserError(
            f"statistics {measurement.statistics} are of one network, here are {count}: give one "
            "--features"
        )


def _measured(
    images: ImageSet,
    side: Side,
    seen: _Seen,
    number: int,
    network: FeatureNetwork,
    metrics: Sequence[str],
) -> Measured:
    """The metrics of one network, where the reference's features are."""
    sampled, places = seen.sampled.vectors[number], seen.sampled.places.get(number)
    device = sampled.device if side.statistics is None else side.statistics.mean.device
    places = None if places is None else places.to(device)
    measuring = Measuring(network, sampled.to(device), places, images.labels, images.prompts, side)
    return measuring.measure(metrics or USUAL, chosen=bool(metrics))


def _copies(seen: _Seen, number: int) -> Copies | None:
    """How near samples are to training images, if there are any."""
    if seen.real is None or seen.train is None:
        return None
    parts = (seen.sampled, seen.real, seen.train)
    return find_copies(*(part.vectors[number] for part in parts))


def _side(
    reference: Reference, real: Features | None, network: FeatureNetwork, number: int, device: str
) -> Side:
    """What the reference is in the features of a network. Statistics in its file come first."""
    vectors = None if real is None else real.vectors[number].to(device)
    places = None if real is None else real.places.get(number)
    statistics = None if vectors is None or len(vectors) < 2 else FeatureStatistics.of(vectors)
    by_place = None if places is None or len(places) < 2 else FeatureStatistics.of(places)
    stored = reference.stored
    if stored is not None and stored.fits(network):
        statistics = stored.statistics
        by_place = stored.places or by_place
    labels = None if reference.images is None else reference.images.labels
    return Side(
        vectors,
        None if statistics is None else statistics.to(device),
        None if by_place is None else by_place.to(device),
        labels,
    )


def _check_measured(results: Sequence[dict[str, Any]], metrics: Sequence[str]) -> None:
    """Raises UserError if a metric that was named could be had of no network."""
    for metric in metrics:
        reasons = [row["left_out"].get(metric) for row in results]
        if all(reasons):
            raise UserError(f"{metric} cannot be measured: {reasons[0]}")

"""Which feature networks measure: those that a user names, or those that are there and fit."""

from collections.abc import Sequence

from patch_forcing.core.errors import UserError
from patch_forcing.features.classifiers import installed
from patch_forcing.features.find import find_features
from patch_forcing.features.names import (
    EFFICIENTNET,
    EMOJI,
    INCEPTION,
    cached_dinov2,
    emoji_classes,
)
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.places import no_network
from patch_forcing.scoring.reference import Reference


def find_networks(
    images: ImageSet, reference: Reference, chosen: Sequence[str], device: str
) -> list[FeatureNetwork]:
    """The networks of these names on the device; of none, `usual_features`.

    Raises UserError if one is missing, or the reference's statistics are of another.
    """
    names = chosen or usual_features(images, reference)
    networks = [find_features(name).to(device) for name in names]
    if reference.images is None and reference.stored is not None:
        fitting = [network for network in networks if reference.stored.fits(network)]
        if not fitting or (chosen and len(fitting) < len(networks)):
            of = reference.stored.features or f"{INCEPTION}, as files without a name are"
            unfit = next(n for n in networks if n not in fitting)
            raise UserError(
                f"--reference {reference.name} holds statistics of {of}, not of {unfit.name}: "
                "choose --features to match, or give images"
            )
        networks = fitting
    return networks


def usual_features(images: ImageSet, reference: Reference) -> list[str]:
    """Networks where nobody names one: those that are there and fit.

    Raises UserError if there is none.
    """
    there = [name for name in (EFFICIENTNET, INCEPTION) if installed(name)]
    if dinov2 := cached_dinov2():
        there.append(dinov2)
    classes = set(images.labels or ())
    if reference.name == EMOJI or (classes and classes <= emoji_classes()):
        return [EMOJI, *there]
    if reference.images is None:
        stored = reference.stored
        return (
            [INCEPTION]
            if stored is None or stored.features is None
            else [stored.features.partition(" ")[0]]
        )
    if not there:
        raise no_network()
    return there

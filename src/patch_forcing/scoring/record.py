"""The record of an evaluation: all that its numbers depend on."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from patch_forcing.features.names import INCEPTION
from patch_forcing.features.network import FeatureNetwork, resizing
from patch_forcing.io.provenance import commit, hardware, versions
from patch_forcing.scoring.evaluation import FORMAT_VERSION, KIND, metric_row
from patch_forcing.scoring.folder_images import LayoutImages
from patch_forcing.scoring.images import FITTED, ImageSet, seeds_text
from patch_forcing.scoring.looking import Features
from patch_forcing.scoring.measuring import Measured, Side
from patch_forcing.scoring.metric_names import METRICS, NEARER_NAME
from patch_forcing.scoring.reference import Reference


def network_record(
    network: FeatureNetwork,
    measured: Measured,
    side: Side,
    reference: Reference,
    real: Features | None,
    tuned_on: Mapping[str, str],
) -> dict[str, Any]:
    """What a record says of one network. tuned_on: settings, and what each was chosen by."""
    stored = reference.stored is not None and reference.stored.fits(network)
    is_inception = network.name.partition(" ")[0] == INCEPTION
    count = len(real.digests) if real is not None else None
    rows = {}
    for metric, estimate in measured.estimates.items():
        name = "FID" if metric == "fd" and is_inception else METRICS.get(metric, NEARER_NAME)
        of_file = stored and metric in ("fd", "fd-infinity", "sfid") and side.statistics is not None
        known = (side.statistics.count or None) if of_file and side.statistics else count
        rows[metric] = metric_row(name, estimate, None if metric == "is" else known)
        if metric in measured.enough:
            rows[metric]["enough"] = measured.enough[metric]
        if metric == "fd" and measured.bias is not None:
            rows[metric]["bias"] = measured.bias
    row: dict[str, Any] = {
        "features": network.name,
        "resize": resizing(network),
        "tuned": [setting for setting, by in tuned_on.items() if _names(by, network)],
        "reference": reference.stored.hash if stored and reference.stored else "images",
        "metrics": rows,
        "left_out": measured.left_out,
    }
    if measured.by_class:
        row["by_class"] = measured.by_class
    return row


def _names(text: str, network: FeatureNetwork) -> bool:
    """Whether a setting was chosen by these features, as far as a model's folder says it."""
    return network.name.partition(" ")[0] in text.split()


def whole_record(
    images: ImageSet,
    sampled: Features,
    reference: Reference,
    real: Features | None,
    results: list[dict[str, Any]],
    device: str,
) -> dict[str, Any]:
    """All of it; what begins with _ goes into the file beside it."""
    recipe = images.recipe()
    sampling, tuned = recipe.pop("sampling", None), recipe.pop("tuned_on", None)
    patches = recipe.pop("num_patches", None)
    if sampling is not None and sampled.nfe:
        nfe = sum(sampled.nfe) / len(sampled.nfe)
        tokens = None if patches is None else nfe * patches
        sampling |= {"nfe": nfe, "token_evaluations": tokens}
    stored, seen = reference.stored, reference.images
    hashes = [part.hash for part in (real, stored) if part is not None]
    fitted = isinstance(seen, LayoutImages)
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "model": recipe.get("model"),
        "subject": recipe | {"images_hash": sampled.hash},
        "n": images.count,
        "size": list(images.size),
        "seeds": seeds_text(images.seeds),
        "classes": None if images.labels is None else len(set(images.labels)),
        "prompts": None if images.prompts is None else len(set(images.prompts)),
        "sampling": sampling,
        "tuned_on": tuned,
        "reference": {
            "name": reference.name,
            "kind": "statistics" if seen is None else "images",
            "n": seen.count if seen is not None else (stored and stored.statistics.count) or None,
            "hash": "+".join(hashes),
            "resize": FITTED if fitted else "none",
        },
        "interval": "95 %, over other samples of the same number, reference fixed",
        "results": results,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(device),
        "versions": versions(),
        "_seeds": None if images.seeds is None else list(images.seeds),
        "_labels": None if images.labels is None else list(images.labels),
        "_prompts": None if images.prompts is None else [_digest(t) for t in images.prompts],
    }


def _digest(text: str) -> str:
    """16 digits that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

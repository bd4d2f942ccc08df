"""What our own commands left among the images, told by what lies in it and not by its name.

So a run in the folder of its images is no part of them, and a user's class may be called samples.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from patch_forcing.data.atlas_layout import MANIFEST, SHEET
from patch_forcing.data.feature_cache import FEATURES, KEY
from patch_forcing.data.latent_shards import INDEX, PLAN
from patch_forcing.io.image_file import is_own_image
from patch_forcing.io.ledger import SHARDS
from patch_forcing.io.model_layout import CONFIG, is_model_folder, is_own_config
from patch_forcing.io.run_layout import RUN, holds_own_run
from patch_forcing.io.sample_layout import BEGUN, ROWS, holds_own_samples

SAMPLES = "samples"
_SHEETS = re.compile(r"(sheet|maps|samplers|atlas|step-\d{8,})\.png|film\.gif")
"""Names of images that commands draw unless they are given others."""
_MAX_CHARTS = 8
"""Images beside a JSON file of their name, in one folder, that may be charts beside their report;
more are images with labels."""


def own_output(folder: Path, names: Collection[str]) -> str:
    """What of ours a folder holds, in a word; empty if there is nothing.

    names: of all in it but images, hidden ones too.
    """
    if RUN in names and holds_own_run(folder):
        return "a run"
    if (ROWS in names or BEGUN in names) and holds_own_samples(folder):
        return SAMPLES
    if CONFIG in names and is_model_folder(folder) and is_own_config(folder / CONFIG):
        return "a model"
    if PLAN in names and (INDEX in names or SHARDS in names):
        return "latents"
    if KEY in names and FEATURES in names:
        return "features"
    if MANIFEST in names and is_own_image(folder / SHEET):
        return "an atlas"
    return ""


def own_images(folder: Path, images: Sequence[str], others: Collection[str]) -> set[str]:
    """Those of the images that are sheets, films or charts of ours, by the mark that they bear."""
    reports = {name.removesuffix(".json") for name in others if name.endswith(".json")}
    charts = [name for name in images if reports and name.removesuffix(".png") in reports]
    drawn = {name for name in images if _SHEETS.fullmatch(name)}
    drawn.update(charts if len(charts) <= _MAX_CHARTS else ())
    return {name for name in drawn if is_own_image(folder / name)}

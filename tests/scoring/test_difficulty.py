"""Models of known errors on images of known pixels; folders, scenes, latents and captions alike."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.core.calibration import network_errors
from patch_forcing.models.config import DataInfo
from patch_forcing.scoring.clean_images import CleanImages
from patch_forcing.scoring.clean_options import CleanOptions
from patch_forcing.scoring.difficulty import measure_difficulty
from tests.support.emoji_font import save_atlas, tiny_atlas
from tests.support.exact import tiny_dit
from tests.support.latents import SHAPE, SPACE, telling_latents

SIZE = 16


def load(folder, model, class_names=(), **info):
    """The pipeline of a model that lies in a folder."""
    model.data_info = DataInfo(class_names=class_names, **info)
    model.save(folder)
    return pf.load(folder)


@pytest.fixture
def untrained(tmp_path):
    """Velocity 0 and log variance 0 everywhere: all that a fresh network predicts."""
    sizes = {"patch_size": 4, "in_channels": 3, "hidden_size": 16, "depth": 1, "num_heads": 2}
    return load(tmp_path / "fresh", pf.PatchDiT(pf.PatchDiTConfig(SIZE, num_classes=0, **sizes)))


def write(folder, values):
    """Images of one grey each."""
    folder.mkdir(parents=True)
    for number, value in enumerate(values):
        pixels = np.full((SIZE, SIZE, 3), value, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def measured(pipe, path, count=None, condition=None, **options):
    images = CleanImages(pipe, path, count, CleanOptions(condition))
    return measure_difficulty(pipe, images, **options)


def test_a_fresh_network_errs_by_the_variance_of_data_and_noise_and_knows_nothing(
    tmp_path, untrained
):
    values = np.arange(0, 255, 10)
    report = measured(untrained, write(tmp_path / "data", values), bins=4)
    # v = 0, so the error is E(x_1 − x_0)² = x_1² + 1
    expected = float(np.mean((values / 127.5 - 1) ** 2)) + 1
    for row in (report.record["overall"], *report.record["by_time"]):
        assert row["predicted"] == 1
        assert row["ratio"]["value"] == pytest.approx(row["true"])
        assert row["true"] == pytest.approx(expected, rel=0.03)
        octaves = math.log2(row["true"])
        assert row["calibration_error"]["value"] == pytest.approx(octaves, abs=0.02)
        assert (row["rank_correlation"]["low"], row["rank_correlation"]["high"]) == (0, 0)
    assert report.record["overall"]["patches"] == len(values) * 4 * 16
    assert report.warning == (
        "the difficulty head is dead: it predicts the same for all patches of an image (1 on "
        "average); adaptive samplers will not profit"
    )


def test_images_are_those_of_the_folder_under_the_models_classes(tmp_path):
    model = tiny_dit(SIZE, patch_size=4, num_classes=3)
    pipe = load(tmp_path / "model", model, ("c", "b", "a"))
    shades = {"a": 10, "b": 100, "c": 200}
    for name, value in shades.items():
        write(tmp_path / "data" / name, [value, value + 1])
    images = CleanImages(pipe, tmp_path / "data", 5)
    seen = {}
    for places, x_1, condition in images.batches(2):
        assert len(places) == len(x_1) == len(condition)
        for image, label in zip(x_1, condition.tolist(), strict=True):
            seen[round(float((image.mean() + 1) * 127.5))] = label
    names = {value: "cba"[label] for value, label in seen.items()}
    assert len(names) == 5
    assert all(shades[name] in (value, value - 1) for value, name in names.items())


def test_numbers_do_not_depend_on_batches_and_change_with_the_seed(tmp_path):
    pipe = load(tmp_path / "model", tiny_dit(SIZE, patch_size=4, num_classes=0))
    data = write(tmp_path / "data", range(0, 200, 20))
    whole, parts = (measured(pipe, data, bins=2, batch_size=size).record for size in (64, 3))
    assert whole["data"] == parts["data"]
    for first, second in zip(whole["by_time"], parts["by_time"], strict=True):
        assert first["true"] == pytest.approx(second["true"], rel=1e-5)
        assert first["predicted"] == pytest.approx(second["predicted"], rel=1e-5)
    other = measured(pipe, data, bins=2, seed=1).record
    assert other["overall"]["true"] != pytest.approx(whole["overall"]["true"], rel=1e-5)


def test_patches_may_be_noised_as_in_training(tmp_path):
    pipe = load(tmp_path / "model", tiny_dit(SIZE, patch_size=4, num_classes=0))
    data = write(tmp_path / "data", range(0, 200, 20))
    record = measured(pipe, data, bins=5, timesteps="tg").record
    assert record["times"] == "tg"
    patches = [row["patches"] for row in record["by_time"]]
    assert sum(patches) == 10 * 5 * 16
    assert len(set(patches)) > 1  # times are as they fall


def test_scenes_of_an_atlas_are_composed_at_the_models_size(tmp_path):
    atlas = tiny_atlas()
    save_atlas(tmp_path / "atlas", atlas)
    model = tiny_dit(SIZE, patch_size=4, num_classes=len(atlas.subgroups))
    pipe = load(tmp_path / "model", model, atlas.subgroups)
    record = measured(pipe, tmp_path / "atlas", 6, bins=2).record
    assert (record["data"]["kind"], record["data"]["condition"]) == ("emoji", "class")
    assert record["n"] == 6
    assert record["data"]["available"] is None
    apart = measured(pipe, tmp_path / "atlas", 6, "none", bins=2).record
    assert apart["data"]["hash"] == record["data"]["hash"]
    assert apart["overall"]["true"] != record["overall"]["true"]


def test_latents_are_as_encode_wrote_them(tmp_path):
    telling_latents(tmp_path / "latents")
    sizes = {"in_channels": SHAPE[0], "patch_size": 1, "num_classes": 3}
    model = tiny_dit(SHAPE[1:], **sizes)
    info = DataInfo.of_latents(SPACE, ("a", "b", "c"))
    pipe = pf.Pipeline("model", tmp_path, _with(model, info))
    images = CleanImages(pipe, tmp_path / "latents", 12)
    ((_, x_1, condition),) = images.batches(64)
    # SPACE halves what is above 1; the posteriors have no spread
    numbers = (x_1[:, 0, 0, 0] / 0.5 + 1).round().long()
    assert sorted(numbers.tolist()) == list(range(12))
    assert condition.equal(numbers % 3)


def _with(model, info):
    model.data_info = info
    return model


def test_captions_are_the_condition_of_models_of_texts(tmp_path):
    model = tiny_dit(SIZE, patch_size=4, num_classes=0, condition="bytes:length=8")
    pipe = load(tmp_path / "model", model)
    data = write(tmp_path / "data", (0, 250))
    rows = [{"file_name": f"{n}.png", "text": text} for n, text in enumerate(("dark", "light"))]
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ((_, x_1, condition),) = CleanImages(pipe, data).batches(8)
    dark = int(x_1.mean((1, 2, 3)).argmin())
    assert bytes((condition[dark] - 1).clamp(min=0).tolist()).startswith(b"dark")
    record = measured(pipe, data, bins=1).record
    assert record["data"]["condition"] == "caption"


def test_the_record_is_the_errors_of_the_network(tmp_path):
    """One bin and one batch, put together by hand from its parts."""
    pipe = load(tmp_path / "model", tiny_dit(SIZE, patch_size=4, num_classes=0))
    data = write(tmp_path / "data", range(0, 200, 20))
    result = measured(pipe, data, bins=1).record["overall"]
    from patch_forcing.core.random import CountedGenerator

    ((places, x_1, _),) = CleanImages(pipe, data).batches(64)
    draws = CountedGenerator(0, torch.tensor([*places])).fork("difficulty 0")
    t = pf.PatchTime.shared(draws.fork("timesteps").uniform(), 16)
    x_0 = draws.fork("noise").normal(3, SIZE, SIZE)
    errors = network_errors(pipe.model, x_1, x_0, t, None)
    assert result["predicted"] == pytest.approx(float(errors.variance.mean()), rel=1e-5)
    assert result["true"] == pytest.approx(float(errors.error.mean()), rel=1e-5)
    assert result["standardised"] == pytest.approx(float(errors.standardised.mean()), rel=1e-5)


def test_a_network_that_predicts_no_number_is_refused(tmp_path, untrained):
    with torch.no_grad():
        next(untrained.model.parameters()).fill_(math.nan)
    with pytest.raises(pf.UserError, match="predicts NaN or infinity"):
        measured(untrained, write(tmp_path / "data", (1, 2, 3)), bins=1)

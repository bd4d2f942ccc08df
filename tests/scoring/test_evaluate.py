"""Folders, arrays, statistics and models are measured alike, and a record says all of it."""

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

import patch_forcing as pf
from patch_forcing.evaluation.frechet import frechet_distance
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.statistics import FeatureStatistics
from patch_forcing.generation.gallery import write_samples
from patch_forcing.scoring import looking, model_images
from patch_forcing.scoring.comparison import compare, differences, unpaired
from patch_forcing.scoring.evaluation import Evaluation, read_evaluation
from patch_forcing.scoring.few_images import enough_images, few_images
from patch_forcing.scoring.reference import read_statistics
from tests.support.exact import tiny_dit

SIZE = 16


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """(N, 16, 16, 3): smooth, so that the network sees them apart."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def write_folder(folder, images, classes=1):
    """Images as PNGs, in so many classes' folders in turn."""
    for number, image in enumerate(images):
        place = folder / f"class-{number % classes}" if classes > 1 else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:04}.png")
    return folder


@pytest.fixture
def real(tmp_path):
    return write_folder(tmp_path / "real", pictures(40, 1))


@pytest.fixture
def model(tmp_path):
    network = tiny_dit(input_size=(SIZE, SIZE), in_channels=3, num_classes=2, patch_size=4)
    network.data_info = pf.DataInfo(class_names=("class-0", "class-1"))
    network.save(tmp_path / "model")
    return tmp_path / "model"


def evaluate(subject, reference, **options):
    return pf.evaluate(subject, reference, **{"features": ["emoji"]} | options)


def values(evaluation):
    return {name: row["value"] for name, row in evaluation.record["results"][0]["metrics"].items()}


def test_a_folder_and_an_array_of_the_same_images_score_alike(tmp_path, real):
    images = pictures(30)
    np.savez(tmp_path / "a.npz", images)
    by_array = evaluate(tmp_path / "a.npz", real)
    by_folder = evaluate(write_folder(tmp_path / "a", images), real)
    assert values(by_array) == values(by_folder)
    assert set(values(by_array)) == {
        "fd",
        "kid",
        "is",
        "precision",
        "recall",
        "density",
        "coverage",
    }
    hashes = [e.record["subject"]["images_hash"] for e in (by_array, by_folder)]
    assert hashes[0] == hashes[1]
    assert by_array.record["reference"]["hash"] == by_folder.record["reference"]["hash"]
    assert "sfid" in by_array.record["results"][0]["left_out"]


def test_the_distance_is_that_of_the_emoji_benchmark(tmp_path):
    features, images = load_emoji_features(), pictures(30)
    np.savez(tmp_path / "a.npz", images)
    seen = features.read(torch.from_numpy(images.transpose(0, 3, 1, 2))).features
    before = frechet_distance(FeatureStatistics.of(seen), features.reference)
    now = evaluate(tmp_path / "a.npz", "emoji", metrics=["fd"])
    assert now["fd"]["value"] == pytest.approx(before, rel=1e-3)
    assert now["fd"]["low"] < before < now["fd"]["high"]


def test_statistics_that_were_written_stand_for_the_images(tmp_path, real):
    np.savez(tmp_path / "a.npz", pictures(30))
    stats = tmp_path / "stats.npz"
    whole = evaluate(tmp_path / "a.npz", real, statistics=stats)
    again = evaluate(tmp_path / "a.npz", stats, metrics=["fd"])
    assert again["fd"]["value"] == pytest.approx(whole["fd"]["value"])
    assert again["fd"]["n_reference"] == 40
    assert read_statistics(stats).features == load_emoji_features().name
    bare = tmp_path / "bare.npz"  # as ADM's and pytorch-fid's files are: of Inception
    with np.load(stats) as arrays:
        np.savez(bare, mu=arrays["mu"], sigma=arrays["sigma"])
    with pytest.raises(pf.UserError, match="holds statistics of inception, as files without"):
        evaluate(tmp_path / "a.npz", bare)


def test_a_models_images_are_those_that_sample_writes(tmp_path, model, real):
    options = {"sampler": "euler", "num_steps": 2}
    direct = evaluate(model, real, count=12, labels="all", metrics=["fd", "kid"], **options)
    pipe = pf.load(model)
    write_samples(pipe(labels="all", seeds=range(12), **options), pipe, tmp_path / "samples")
    written = evaluate(tmp_path / "samples", real, metrics=["fd", "kid"])
    assert values(direct) == pytest.approx(values(written), rel=1e-3)
    ours, theirs = direct.record, written.record
    assert ours["seeds"] == theirs["seeds"] == "0-11"
    assert ours["sampling"]["sampler"] == theirs["sampling"]["sampler"] == "euler"
    assert ours["sampling"]["nfe"] == theirs["sampling"]["nfe"] == 2
    assert ours["sampling"]["token_evaluations"] == 2 * 16
    assert ours["subject"]["model_hash"] == theirs["subject"]["model_hash"] == pipe.hash
    assert ours["tuned_on"] is None


def test_emoji_64_says_what_its_settings_were_chosen_by():
    pipe = pf.load("emoji-64")
    chosen = pipe.resolve(pipe.choose({"labels": [0]}, {}).request)
    assert model_images.tuned_on(pipe, chosen)["guidance"] == "fd of emoji features"
    other = pipe.resolve(
        pipe.choose({"labels": [0]}, {"time_grid": "uniform", "guidance_scale": 2}).request
    )
    assert model_images.tuned_on(pipe, other) is None
    advice = pipe.model.sampling_info.recommended
    guided = {"guidance_scale": advice.guidance_scale, "guidance_kind": "noisier"}
    kind = pipe.resolve(pipe.choose({"labels": [0]}, guided).request)
    assert "guidance" not in (model_images.tuned_on(pipe, kind) or {})


def test_records_say_what_guidance_leads_away_from_if_it_is_not_the_condition(
    tmp_path, model, real
):
    kind = "noisier:ratio=0.5"
    options = {"sampler": "euler", "num_steps": 2, "guidance_scale": 2.0, "guidance_kind": kind}
    direct = evaluate(model, real, count=4, labels="all", metrics=["fd"], **options)
    assert direct.sampled_by == f"euler, 4 evaluations, guidance 2 ({kind})"
    pipe = pf.load(model)
    write_samples(pipe(labels="all", seeds=range(4), **options), pipe, tmp_path / "samples")
    written = evaluate(tmp_path / "samples", real, metrics=["fd"])
    assert written.record["sampling"]["guidance_kind"] == kind
    del written.record["sampling"]["guidance_kind"]  # as records were before there was one
    assert written.sampled_by == "euler, 4 evaluations, guidance 2"


def test_labels_are_as_frequent_as_in_the_reference(tmp_path, model):
    images = pictures(12, 1)
    for number, image in enumerate(images):
        place = tmp_path / "real" / f"class-{int(number >= 9)}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    made = evaluate(model, tmp_path / "real", count=8, metrics=["fd"], sampler="euler", num_steps=1)
    assert made.record["_labels"] == ["class-0"] * 6 + ["class-1"] * 2


def test_the_worst_class_comes_first(tmp_path):
    good, real = pictures(40, 1), pictures(40, 2)
    good[1::2] //= 8  # the second class is dark
    folders = [write_folder(tmp_path / name, i, 2) for name, i in (("a", good), ("b", real))]
    rows = evaluate(*folders, metrics=["fd-by-class"]).record["results"][0]["by_class"]
    assert [row["class"] for row in rows] == ["class-1", "class-0"]
    assert rows[0]["low"] > rows[1]["high"]


def test_copies_of_training_images_are_found_and_drawn(tmp_path):
    train, held_out = pictures(30, 1), pictures(30, 2)
    names = {"train": train, "held-out": held_out, "copies": train[:12]}
    paths = {name: write_folder(tmp_path / name, images) for name, images in names.items()}
    sheet = tmp_path / "pairs.png"
    result = evaluate(
        paths["copies"], paths["held-out"], metrics=["fd"], train=paths["train"], pairs=sheet
    )
    assert result["nearer-to-training"]["value"] == 1
    row = result.record["results"][0]["train"]
    assert (row["n"], row["smallest_distance"], row["reference_images_among_them"]) == (30, 0, 0)
    with Image.open(sheet) as drawn:
        assert drawn.width > 300
    with pytest.raises(pf.UserError, match="30 of its 30 images are those of --train"):
        evaluate(paths["copies"], paths["train"], metrics=["fd"], train=paths["train"])


def test_what_is_kept_is_not_computed_again(tmp_path, real, monkeypatch):
    monkeypatch.setattr(looking, "SHARD", 16)
    np.savez(tmp_path / "a.npz", pictures(30))
    options = {"metrics": ["fd", "kid"], "work": tmp_path / "work"}
    whole = evaluate(tmp_path / "a.npz", real, metrics=["fd", "kid"])
    first = evaluate(tmp_path / "a.npz", real, **options)
    assert values(first) == values(whole)
    looked = []
    monkeypatch.setattr(looking, "image_features", lambda *args: looked.append(args))
    assert values(evaluate(tmp_path / "a.npz", real, **options)) == values(whole)
    assert not looked
    np.savez(tmp_path / "b.npz", pictures(30, 5))
    with pytest.raises(pf.UserError, match=r"holds features \(samples\) of images="):
        evaluate(tmp_path / "b.npz", real, **options)


def test_records_are_compared_in_pairs_where_seeds_and_labels_are_the_same(tmp_path, model, real):
    files = []
    for steps in (1, 2):
        made = evaluate(
            model, real, count=12, labels="all", metrics=["fd", "kid"], sampler="euler",
            num_steps=steps,
        )  # fmt: skip
        files.append(made.save(tmp_path / f"{steps}.json"))
    a, b = map(read_evaluation, files)
    assert unpaired(a, b) == ""
    rows = {row.metric: row for row in differences(a, b)}
    assert rows["fd"].paired
    assert rows["fd"].low < rows["fd"].second - rows["fd"].first < rows["fd"].high
    apart = a["fd"]["error"] ** 2 + b["fd"]["error"] ** 2
    assert rows["fd"].high - rows["fd"].low < 4 * apart**0.5
    page = compare(files)
    assert "2.json less 1.json" in page
    assert "| yes |" in page
    (tmp_path / "2.images.npz").unlink()
    assert "Not paired: a record lacks its .images.npz" in compare(files)


def test_few_images_are_named_with_how_many_are_enough(tmp_path, real):
    seen = evaluate(
        write_folder(tmp_path / "a", pictures(16)), real, metrics=["fd", "kid", "is", "recall"]
    )
    rows = seen.record["results"][0]["metrics"]
    assert {name: row.get("enough") for name, row in rows.items()} == {
        "fd": 1000, "kid": None, "is": 1000, "recall": 100,
    }  # fmt: skip
    assert 0 < rows["fd"]["bias"] < rows["fd"]["value"]
    assert re.fullmatch(
        r"16 samples and 40 real ones are few: fd of emoji takes 1,000 \(of [\d.e+]+, "
        r"[\d.e+]+ or more is bias\); is 1,000; recall 100",
        seen.warning,
    )
    rows = {"kid": rows["kid"]}
    assert few_images(seen.record | {"results": [{"features": "emoji", "metrics": rows}]}) is None
    few = evaluate(real, real, count=3, metrics=["fd"])
    assert "bias" not in few["fd"]
    assert few.warning == "3 samples and 40 real ones are few: fd of emoji takes 1,000"


def test_enough_images_are_at_least_as_many_as_features():
    assert [enough_images("fd", width) for width in (144, 2048)] == [1000, 2048]
    assert [enough_images("precision", width) for width in (144, 2048)] == [100, 100]
    assert enough_images("kid", 2048) == 0


def test_a_difference_from_none_is_no_certainty():
    """0 of 24 against 6 of 24: by Newcombe's hybrid of Wilson's 0.1380 and the other's error."""
    zero = {"value": 0.0, "low": 0.0, "high": 0.138, "error": 0.0}
    quarter = {"value": 0.25, "low": 0.06, "high": 0.44, "error": 0.09}
    records = [
        Evaluation({"results": [{"features": "x", "metrics": {"precision": row}}]})
        for row in (zero, quarter)
    ]
    (row,) = differences(*records)
    assert not row.paired
    assert (row.low, row.high) == pytest.approx((0.25 - math.hypot(0.19, 0.138), 0.44))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.update(n=13), "other number of images (12, 13)"),
        (lambda r: r["reference"].update(hash="x"), "other reference ("),
        (lambda r: r["results"][0].update(features="other 1"), "other features (emoji "),
        (lambda r: r["results"][0].update(resize="nearest"), "other resize or reference of emoji"),
        (lambda r: r.update(size=[8, 8]), "other size ((16, 16), (8, 8))"),
    ],
)
def test_unlike_records_are_not_compared(tmp_path, real, change, reason):
    made = evaluate(write_folder(tmp_path / "a", pictures(12)), real, metrics=["fd"])
    first = made.save(tmp_path / "a.json")
    record = json.loads(first.read_text())
    change(record)
    second = tmp_path / "b.json"
    second.write_text(json.dumps(record))
    assert f"not comparable: {reason}" in compare([first, second])

"""What began before with another order of its classes keeps that order."""

import dataclasses
import json

import pytest

from patch_forcing.codecs.autoencoder import Pixels
from patch_forcing.data.latent_shards import INDEX, read_index
from patch_forcing.data.sources import FolderSource
from patch_forcing.io.run_layout import ema_folder
from patch_forcing.models.loading import load_model
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions
from patch_forcing.runs.run import TrainingRun
from patch_forcing.runs.trainer import train
from tests.support.image_files import photos
from tests.support.same_runs import assert_same

BEFORE, NOW = ("0", "1", "10", "2"), ("0", "1", "2", "10")


@pytest.fixture
def source(tmp_path):
    photos(tmp_path / "data", dict.fromkeys(NOW, 3))
    return FolderSource(str(tmp_path / "data"), size=8)


def classes_of(run):
    return tuple(json.loads((run / "run.json").read_text())["found"]["classes"])


def test_a_run_goes_on_in_the_order_in_which_it_began(source, recipe, tmp_path):
    old = source.open().in_recorded_order(BEFORE)
    assert old.info.class_names == BEFORE
    recipe = dataclasses.replace(recipe, data=source, steps=4)
    half = dataclasses.replace(recipe, steps=2)
    whole = TrainingRun("folder", recipe, tmp_path / "whole", old, progress=False).train()
    TrainingRun("folder", half, tmp_path / "parts", old, progress=False).train()
    parts = train("folder", recipe, tmp_path / "parts", progress=False)
    assert parts.steps_before == 2
    assert_same(whole.checkpoint, parts.checkpoint)
    assert load_model(ema_folder(parts.checkpoint)).data_info.class_names == BEFORE
    assert classes_of(tmp_path / "parts") == BEFORE
    train("folder", half, tmp_path / "other", progress=False)
    assert classes_of(tmp_path / "other") == NOW


def test_images_keep_their_class_in_another_order(source):
    data, old = source.open(), source.open().in_recorded_order(BEFORE)
    assert data.info.class_names == NOW
    named = [data.layout.class_names[label] for label in data.layout.labels]
    assert named == [name for name in ("0", "1", "10", "2") for _ in range(3)]
    assert [old.layout.class_names[label] for label in old.layout.labels] == named
    assert data.in_recorded_order(("0", "1", "2")) is data


def test_an_encoding_goes_on_in_the_order_in_which_it_began(source, tmp_path):
    options = EncodeOptions(size=8, batch_size=3, shard_size=5)
    old = source.open().in_recorded_order(BEFORE)
    for name in ("whole", "parts"):
        Encoding(old, Pixels(), tmp_path / name, options).run(progress=False)
    (tmp_path / "parts" / INDEX).unlink()
    again = Encoding(source.open(), Pixels(), tmp_path / "parts", options)
    assert again.run(progress=False).complete
    assert read_index(tmp_path / "parts").class_names == BEFORE
    assert read_index(tmp_path / "parts").hash == read_index(tmp_path / "whole").hash

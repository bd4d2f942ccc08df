"""Runs started from Python: on folders and torch data sets, exact as those of the command line."""

import dataclasses
import json

import pytest
import torch
from torch.utils.data import Dataset

import patch_forcing as pf
from patch_forcing.cli.train import train as command
from patch_forcing.data.images import read_image
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import photos
from tests.support.same_runs import assert_same, losses

SMALL = {"network": {"depth": 1, "hidden_size": 16, "num_heads": 2, "patch_size": 4}}
OPTIONS = {"steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, **SMALL}


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("pets") / "pets", {"cat": 9, "owl": 8})


class Pets(Dataset):
    """The folder's images as a data set of tensors, in the folder's order."""

    classes = ["cat", "owl"]

    def __init__(self, folder):
        files = sorted(folder.rglob("*.png"))
        self.items = [
            (torch.from_numpy(read_image(f, 16, 3, "crop")), f.parent.name) for f in files
        ]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        image, name = self.items[number]
        return image, self.classes.index(name)


def test_a_data_set_trains_as_the_folder_of_the_same_images_bit_for_bit(recipe, pets, tmp_path):
    source = FolderSource(path=str(pets), size=16, flip=False)
    folder = pf.train(dataclasses.replace(recipe, data=source), out=tmp_path / "folder")
    dataset = pf.train(recipe, Pets(pets), tmp_path / "dataset")
    assert losses(folder.folder) == losses(dataset.folder)
    assert_same(folder.outcome.checkpoint, dataset.outcome.checkpoint)


def test_a_data_set_resumes_bit_for_bit(recipe, pets, tmp_path):
    whole = pf.train(recipe, Pets(pets), tmp_path / "whole")
    pf.train(recipe, Pets(pets), tmp_path / "parts", steps=3)
    parts = pf.train(recipe, Pets(pets), tmp_path / "parts")
    assert parts.outcome.steps_before == 3
    assert_same(whole.outcome.checkpoint, parts.outcome.checkpoint)
    assert losses(whole.folder) == losses(parts.folder)


def test_a_resumed_run_refuses_another_data_set(recipe, pets, tmp_path):
    pf.train(recipe, Pets(pets), tmp_path / "run", steps=2)
    other = Pets(pets)
    other.items[0] = (255 - other.items[0][0], "cat")
    with pytest.raises(pf.UserError, match=r"data\.identity='[0-9a-f]{16}', now it is"):
        pf.train(recipe, other, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["recipe"]["data"]["kind"] == "GivenSource"
    assert record["recipe"]["data"]["type"] == "DatasetData"
    facts = record["found"]
    assert {name: facts[name] for name in ("items", "shape", "classes", "pixels")} == {
        "items": 17,
        "shape": [3, 16, 16],
        "classes": 2,
        "pixels": "0 to 255",
    }


def test_the_run_gives_its_pipeline_and_its_lines(pets, tmp_path):
    run = pf.train("folder", Pets(pets), tmp_path / "run", **OPTIONS)
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]
    pipe = run.pipeline()
    assert pipe.model.data_info.class_names == ("cat", "owl")
    assert len(pipe(labels=["owl"], seeds=[0], num_steps=2).images) == 1


def test_a_path_is_what_the_command_takes_and_the_command_goes_on(pets, tmp_path, capsys):
    run = pf.train("folder", pets, tmp_path / "run", **OPTIONS)
    words = ["--steps", "6", "--batch-size", "8", "--log-every", "1", "--checkpoint-every", "2"]
    sizes = ["depth", "1", "hidden-size", "16", "num-heads", "2", "patch-size", "4"]
    for name, value in zip(sizes[::2], sizes[1::2], strict=True):
        words += [f"--network.{name}", value]
    command(["folder", "--data.path", str(pets), "--out", str(run.folder), *words])
    assert "resumed at 4" in capsys.readouterr().out


def test_opened_data_train_as_their_source(recipe, tmp_path):
    one = pf.train(recipe, out=tmp_path / "one")
    two = pf.train(recipe, recipe.data.open(), tmp_path / "two")
    three = pf.train(recipe, recipe.data, tmp_path / "three")
    for other in (two, three):
        assert_same(one.outcome.checkpoint, other.outcome.checkpoint)


def test_items_that_change_are_said_and_the_run_goes_on(recipe, pets, tmp_path, caplog):
    class Mirrored(Pets):
        def __getitem__(self, number):
            image, label = super().__getitem__(number)
            return (image.flip(2) if torch.rand(()) < 0.5 else image), label

    pf.train(recipe, Mirrored(pets), tmp_path / "run", steps=2)
    assert pf.train(recipe, Mirrored(pets), tmp_path / "run").outcome.steps == recipe.steps
    assert ["changes between reads" in message for message in caplog.messages] == [True, True]


def test_a_data_set_is_aligned_with_cached_features(recipe, pets, tmp_path):
    network = dataclasses.replace(recipe.network, depth=2)
    options = {"encoder": "emoji", "projector_dim": 8, "cache": str(tmp_path / "cache")}
    run = pf.train(
        dataclasses.replace(recipe, network=network),
        Pets(pets),
        tmp_path / "run",
        alignment=options,
    )
    assert all("alignment" in row for row in run.metrics())
    assert (tmp_path / "cache" / "features.npy").exists()


@pytest.mark.parametrize(
    ("recipe_", "options", "sentence"),
    [
        ("digitz", {}, "unknown recipe 'digitz': did you mean 'digits'"),
        ("digits", {"step": 4}, "unknown field of the recipe 'step': did you mean 'steps'"),
        ("digits", {"network": {"dept": 4}}, "unknown field of the network 'dept': did you mean"),
        ("digits", {"steps": "4"}, "steps.*4.* do not fit|steps=4 is out of range"),
        ("digits", {"network": 7}, "do not fit"),
        ("digits", {"timesteps": 5}, "do not fit"),
        ("digits", {"data": iter([])}, "has no items by number"),
    ],
)
def test_mistakes_are_one_line(tmp_path, recipe_, options, sentence):
    with pytest.raises(pf.UserError, match=sentence) as error:
        pf.train(recipe_, out=tmp_path / "run", **options)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()

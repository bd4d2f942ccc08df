"""Data sets through the package `datasets`, from real files that it wrote; no network."""

import os
import sys

import pytest

import patch_forcing as pf
from patch_forcing.data.batch import Inferred, ReplacesBadSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.hub import hub_layout
from patch_forcing.data.open_images import open_images
from patch_forcing.data.sources import FolderSource, HubSource
from tests.support.image_files import (
    PNG,
    assert_every_bad_file_is_named,
    encoded,
    noise,
    photos,
    with_every_bad_file,
)


@pytest.fixture(scope="session")
def animals(datasets):
    """Eleven noisy images of three classes, one of which has none here."""
    return made(
        datasets,
        {"image": [stored(seed=i) for i in range(11)], "label": [2 * (i % 2) for i in range(11)]},
        label=datasets.ClassLabel(names=["cat", "dog", "owl"]),
    )


def stored(data=None, **how):
    """An image as parquet files hold it."""
    return {"bytes": encoded(noise(**how)) if data is None else data, "path": None}


def made(datasets, columns, **features):
    features = {"image": datasets.Image(decode=False)} | features
    features |= {name: datasets.Value("string") for name in columns if name not in features}
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return data.cast_column("image", datasets.Image()) if "image" in columns else data


@pytest.fixture(params=["saved", "saved splits", "parquet", "splits of parquet"])
def path(animals, datasets, tmp_path, request):
    """The animals on this disk, in each way that `datasets` keeps them."""
    root = tmp_path / "animals"
    if request.param == "saved":
        animals.save_to_disk(root)
    elif request.param == "saved splits":
        datasets.DatasetDict(train=animals, test=animals.select(range(2))).save_to_disk(root)
    else:
        root.mkdir()
        animals.to_parquet(root / "train-00000-of-00001.parquet")
        if "splits" in request.param:
            animals.select(range(2)).to_parquet(root / "test-00000-of-00001.parquet")
    return str(root)


def test_what_datasets_wrote_is_training_data_that_was_looked_at(path):
    data = HubSource(path).open()
    assert isinstance(data, TrainingData)
    assert isinstance(data, Inferred)
    assert isinstance(data, ReplacesBadSamples)
    assert data.info.class_names == ("cat", "dog", "owl")
    assert data.num_classes == 3
    assert data.summary.splitlines() == [
        "11 images, 3 classes (cat 6, dog 0, owl 5), read as 20×20 in colour",
        f"from {path}:train: classes by label, no captions",
    ]
    assert data.layout.place(3) == f"{path}:train[3]"


def test_images_and_labels_are_those_that_were_written(path):
    data = HubSource(path, flip=False).open()
    batch = data.batch(BatchSpec(0, 11, 0))
    for image, label in zip(batch.x_1, batch.condition, strict=True):
        square = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        seed = next(i for i in range(11) if (noise(seed=i)[:, 2:22] == square).all())
        assert label == 2 * (seed % 2)
    parts = [data.batch(BatchSpec(0, 11, 0).share(rank, 3)) for rank in range(3)]
    assert [label for part in parts for label in part.condition] == list(batch.condition)


@pytest.mark.usefixtures("datasets")
def test_a_folder_of_images_is_read_as_folder_reads_it(tmp_path):
    root = photos(tmp_path / "mine", {"cat": 3, "owl": 4})
    ours, theirs = HubSource(str(root)).open(), FolderSource(str(root)).open()
    assert ours.layout.class_sizes == theirs.layout.class_sizes
    one, other = ours.batch(BatchSpec(2, 7, 5)), theirs.batch(BatchSpec(2, 7, 5))
    assert one.x_1.equal(other.x_1)
    assert one.condition.equal(other.condition)
    (root / "owl" / "002.png").unlink()
    again = HubSource(str(root)).open()  # as remembered by datasets, or looked at anew
    again.batch(BatchSpec(0, again.num_samples, 0))
    assert len(again.bad_samples()) == again.num_samples - 6


def test_splits_and_slices_are_chosen_by_name(animals, tmp_path):
    root = tmp_path / "pq"
    root.mkdir()
    animals.to_parquet(root / "train.parquet")
    animals.select(range(2)).to_parquet(root / "test.parquet")
    assert HubSource(str(root), split="test").open().num_samples == 2
    assert HubSource(str(root), split="train[:4]").open().num_samples == 4
    assert (
        HubSource(str(root)).open().facts["names"]
        != (HubSource(str(root), split="train[:4]").open().facts["names"])
    )


def saved(data, tmp_path):
    data.save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


def test_order_and_choice_of_rows_are_kept(animals, tmp_path):
    """Datasets keeps such a choice beside the rows, not in them."""
    chosen = animals.select([9, 0, 4])
    data = HubSource(saved(chosen, tmp_path)).open()
    assert list(data.layout.labels) == [2, 0, 0]
    assert data.layout.read(0) == encoded(noise(seed=9))


def test_every_kind_of_bad_file_is_named_as_in_a_folder(datasets, tmp_path):
    files = with_every_bad_file()
    data = made(datasets, {"image": [stored(data) for data in files.values()]})
    opened = HubSource(saved(data, tmp_path), size=16).open()
    names = dict(zip(opened.layout.names, files, strict=True))
    assert_every_bad_file_is_named(opened, names.get)


def test_paths_that_a_stranger_chose_lead_to_files_alone(datasets, tmp_path):
    """A parquet file may name any path; reading a device or a pipe would never end."""
    os.mkfifo(tmp_path / "pipe.png")
    paths = [str(tmp_path / "pipe.png"), "/dev/zero", str(tmp_path), "http://127.0.0.1/x.png"]
    images = [stored(PNG) for _ in range(8)]
    images[:4] = [{"bytes": None, "path": path} for path in paths]
    data = made(datasets, {"image": images})
    source = HubSource("stranger/images")
    opened = open_images(hub_layout(source, data), source)  # saving it here would read them
    opened.batch(BatchSpec(0, 8, 0))
    named = {int(bad.path[:-1].split("[")[1]): bad.reason for bad in opened.bad_samples()}
    assert named == {
        0: "not a regular file", 1: "not a regular file", 2: "a folder",
        3: "No such file or directory",
    }  # fmt: skip


def test_rows_without_an_image_or_a_class_are_bad(datasets, tmp_path):
    images = [stored(PNG) for _ in range(8)]
    images[1], images[2] = None, stored(b"")
    data = made(
        datasets,
        {"image": images, "label": [0, 0, 0, 0, None, -1, 1, 0]},
        label=datasets.ClassLabel(names=["cat", "owl"]),
    )
    opened = HubSource(saved(data, tmp_path)).open()
    opened.batch(BatchSpec(0, 8, 0))
    named = {int(bad.path[:-1].split("[")[1]): bad.reason for bad in opened.bad_samples()}
    assert named == {
        1: "no image", 2: "empty file", 4: "no label",
        5: "label -1 is no class",
    }  # fmt: skip


def test_below_zero_is_no_class_and_where_a_column_has_a_null_the_next_counts(datasets, tmp_path):
    columns = {"label": [2, None, -1, 0], "class": [None, 3, 5, None], "text": ["a", None, "b", ""],
               "caption": [None, "c", None, "d"]}  # fmt: skip
    data = made(datasets, {"image": [stored(PNG)] * 4, **columns})
    layout = HubSource(saved(data, tmp_path)).open().layout
    assert layout.class_names == ("0", "2", "3")
    assert layout.labels[:2] + layout.labels[3:] == (1, 2, 0)
    assert layout.faults == {2: "label -1 is no class"}
    assert layout.captions == ("a", "c", "b", "d")


@pytest.mark.parametrize(("name", "values"), [("label", [3, 10, 3]), ("class", ["3", "10", "3"])])
def test_labels_without_names_are_their_own(datasets, tmp_path, name, values):
    whole = {name: datasets.Value("int64")} if name == "label" else {}
    data = made(datasets, {"image": [stored(PNG)] * 3, name: values}, **whole)
    opened = HubSource(saved(data, tmp_path)).open()
    assert opened.info.class_names == ("3", "10")
    assert opened.layout.class_sizes == {"3": 2, "10": 1}


def test_captions_are_taken_where_there_are_no_classes(datasets, tmp_path):
    texts = ["a", "b", None, "", "c", "d"]
    data = made(datasets, {"image": [stored(PNG)] * 6, "text": texts, "alt": [*"uvwxyz"]})
    path = saved(data, tmp_path)
    opened = HubSource(path).open()
    assert opened.captioned
    assert set(opened.batch(BatchSpec(0, 6, 0)).captions) <= {"a", "b", "c", "d"}
    assert sorted(bad.reason for bad in opened.bad_samples()) == ["empty caption", "no caption"]
    other = HubSource(path, caption_column="alt").open()
    assert set(other.batch(BatchSpec(0, 6, 0)).captions) == {*"uvwxyz"}
    without = HubSource(path, condition="none").open().batch(BatchSpec(0, 6, 0))
    assert (without.condition, without.captions) == (None, None)


def test_a_caption_column_that_is_named_counts_more_than_classes(datasets, tmp_path):
    columns = {"image": [stored(PNG)] * 2, "label": [0, 1], "text": ["a", "b"], "n": [1, 2]}
    data = made(datasets, columns, n=datasets.Value("int64"))
    path = saved(data, tmp_path)
    assert not HubSource(path).open().captioned
    assert HubSource(path, caption_column="text").open().captioned
    assert not HubSource(path, label_column="label", caption_column="text").open().captioned
    assert not HubSource(path, condition="class", caption_column="text").open().captioned
    with pytest.raises(pf.UserError, match=r"caption_column=n of .* no captions, such as: capt"):
        HubSource(path, caption_column="n").open()


def test_of_several_columns_one_must_be_chosen(datasets, tmp_path):
    names = datasets.ClassLabel(names=["a", "b"])
    data = made(
        datasets,
        {"mask": [stored(b"")] * 2, "image": [stored(PNG)] * 2, "fine": [0, 1], "coarse": [1, 1]},
        mask=datasets.Image(decode=False), fine=names, coarse=names,
    )  # fmt: skip
    path = saved(data.cast_column("mask", datasets.Image()), tmp_path)
    assert HubSource(path, label_column="fine").open().layout.class_sizes == {"a": 1, "b": 1}
    with pytest.raises(pf.UserError, match="has the label columns fine, coarse: choose one with"):
        HubSource(path).open()


WRONG = {
    "nothing": ({"path": ""}, r"data\.path is not given: add --data\.path OWNER/NAME"),
    "nowhere": ({"path": "nowhere"}, r"data\.path=nowhere is not there: give a folder, or OWNER"),
    "no data": (
        {"path": "empty"},
        r"data\.path=empty cannot be loaded: .*: check its files, --data.conf",
    ),
    "split": ({"split": "tset"}, "unknown data.split of .*saved 'tset': did you mean 'test'"),
    "column": ({"label_column": "labl"}, "unknown data.label_column of .*: did you mean 'label'"),
    "no image": ({"image_column": "label"}, "holds no images, but int64: choose among image"),
    "config": ({"config": "big"}, r"data\.config=big: .*saved was saved without: leave it out"),
    "no images": (
        {"path": "numbers"},
        "numbers has no column of images, only label: name another data",
    ),
    "no rows": ({"path": "no rows"}, r"data\.path=no rows cannot be loaded: .*no data!"),
    "no splits": ({"path": "numbers", "split": "test"}, "numbers has no splits: leave it out"),
    "captions": ({"condition": "caption"}, r"data\.condition=caption: no image of saved has one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_had_is_told(animals, datasets, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    datasets.DatasetDict(train=animals, test=animals.select(range(2))).save_to_disk("saved")
    animals.remove_columns("image").save_to_disk("numbers")
    (tmp_path / "no rows").mkdir()
    animals.select([]).to_parquet("no rows/train.parquet")
    options, message = WRONG[case]
    with pytest.raises(pf.UserError, match=message) as error:
        HubSource(**({"path": "saved"} | options)).open()
    assert "\n" not in str(error.value)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(pf.UserError, match=r"pip install .*\[datasets\]'"):
        HubSource(str(tmp_path)).open()

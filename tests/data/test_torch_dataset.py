"""Items of torch data sets: what fits, what they become, and the sentence where they do not."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import patch_forcing as pf
from patch_forcing.data.batch import Inferred, NamesSamples, Pictured, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.torch_dataset import MAX_QUIET_ITEMS, DatasetData
from tests.support.image_files import noise

BYTES = torch.from_numpy(np.stack([noise(8, 12, seed=k).transpose(2, 0, 1) for k in range(20)]))
LABELS = torch.arange(20) % 3


class Named(Dataset):
    """As torchvision's: class names beside items."""

    classes = ["cat", "dog", "owl"]

    def __len__(self):
        return len(BYTES)

    def __getitem__(self, number):
        return BYTES[number], int(LABELS[number])


def items(image=lambda k: BYTES[k], condition=lambda k: int(LABELS[k]), count=20):
    return [(image(k), condition(k)) for k in range(count)]


def pil(number):
    return Image.fromarray(BYTES[number].permute(1, 2, 0).numpy())


def batch_of(data, step=0, size=16, **options):
    return data.batch(BatchSpec(step, size, 0, **options))


def test_it_is_all_that_training_data_can_be():
    data = DatasetData(Named())
    for kind in (TrainingData, Inferred, NamesSamples, Pictured):
        assert isinstance(data, kind)
    assert (data.shape, data.num_classes) == ((3, 8, 12), 3)
    assert data.info.class_names == ("cat", "dog", "owl")
    assert data.summary == "20 items, 3 classes, 8×12 in colour"
    assert DatasetData(Subset(Named(), range(5))).info.class_names == ("cat", "dog", "owl")


def test_items_are_named_by_the_numbers_that_a_step_sees():
    spec = BatchSpec(3, 7, 5)
    names = DatasetData(items()).sample_names(spec)
    assert names == [str(number) for number in spec.sample_ids(20).tolist()]


@pytest.mark.parametrize(
    "image",
    [
        lambda k: BYTES[k],
        pil,
        lambda k: BYTES[k] / 255,
        lambda k: BYTES[k].double() / 255,
        lambda k: BYTES[k] / 127.5 - 1,
    ],
    ids=["uint8", "PIL", "0 to 1", "doubles", "-1 to 1"],
)
def test_every_kind_of_image_is_the_same_in_minus_one_to_one(image):
    data = DatasetData(items(image))
    for step in (0, 1, 4):
        x_1, labels, *_ = batch_of(data, step)
        ids = BatchSpec(step, 16, 0).sample_ids(20)
        torch.testing.assert_close(x_1, BYTES[ids] / 127.5 - 1)
        assert labels.equal(LABELS[ids])
        assert data.picture_numbers(BatchSpec(step, 16, 0)).equal(ids)
    torch.testing.assert_close(data.picture(7), BYTES[7] / 127.5 - 1)


def test_grey_images_among_coloured_ones_have_three_channels():
    def mixed(k):
        return pil(k).convert("L") if k % 2 else pil(k)

    assert DatasetData(items(lambda k: pil(k).convert("L"))).shape == (1, 8, 12)
    data = DatasetData(items(mixed))
    assert data.shape == (3, 8, 12)
    assert data.picture(1)[0].equal(data.picture(1)[2])


def test_a_batch_is_the_same_whatever_was_read_before_and_by_however_many():
    whole = batch_of(DatasetData(Named()), 3)
    parts = DatasetData(Named(), threads=4)
    batch_of(parts, 7)
    for first in (8, 0):
        part = batch_of(parts, 3, places=range(first, first + 8))
        assert part.x_1.equal(whole.x_1[first : first + 8])
        assert part.condition.equal(whole.condition[first : first + 8])


def test_without_conditions_there_are_none():
    data = DatasetData(items(condition=lambda _: None))
    assert (data.num_classes, batch_of(data).condition) == (0, None)


@pytest.mark.parametrize("label", [int, np.int64, torch.tensor])
def test_classes_are_counted_where_nothing_names_them(label):
    data = DatasetData(items(condition=lambda k: label(int(LABELS[k]))))
    assert (data.num_classes, data.info.class_names) == (3, ())
    assert DatasetData(TensorDataset(BYTES, LABELS)).num_classes == 3
    assert DatasetData(items(), num_classes=7).num_classes == 7
    assert DatasetData(items(), names=["a", "b", "c"]).info.class_names == ("a", "b", "c")


def test_that_all_of_many_items_are_read_is_said(caplog):
    class Many(Named):
        classes = ()

        def __len__(self):
            return MAX_QUIET_ITEMS + 1

        def __getitem__(self, number):
            return super().__getitem__(number % 20)

    assert DatasetData(Many()).num_classes == 3
    assert caplog.messages == [
        "the data set names no classes: its 1001 items are read once to see how many there are; "
        "DatasetData(dataset, num_classes=N) saves that"
    ]
    caplog.clear()
    Many.targets = [0, 1, 4]
    assert DatasetData(Many()).num_classes == 5
    assert caplog.messages == []


def test_items_that_change_are_said_once_and_nothing_is_kept_of_them(caplog):
    class Augmented(Named):
        def __getitem__(self, number):
            image, label = super().__getitem__(number)
            return image.roll(int(torch.randint(8, ())), 1), label

    data = DatasetData(Augmented())
    (message,) = caplog.messages
    assert message.startswith("item 0 of the data set changes between reads")
    assert message.endswith("not bit for bit")
    assert data.facts["samples"] is None
    assert data.facts == DatasetData(Augmented()).facts
    with pytest.raises(pf.UserError, match=r"changes between reads: leave out alignment\.cache"):
        data.picture_numbers(BatchSpec(0, 4, 0))


def test_what_is_known_tells_data_sets_apart():
    one = DatasetData(Named())
    assert (one.facts, one.identity) == (DatasetData(Named()).facts, DatasetData(Named()).identity)
    for other in (
        items(count=19),
        items(pil),
        items(lambda k: BYTES[-k]),
        items(lambda k: BYTES[k] / 255),
    ):
        other = DatasetData(other)
        same = other.facts == one.facts
        assert same == (other.identity == one.identity)
        assert same == (other.facts["samples"] == one.facts["samples"] and len(one.facts) == 5)
    assert DatasetData(items(pil)).identity == one.identity


class Endless(IterableDataset):
    def __iter__(self):
        yield BYTES[0], 0


class Raising(Named):
    def __getitem__(self, number):
        if number == 19:
            raise OSError("disk on fire")
        return super().__getitem__(number)


class NoLength:
    def __getitem__(self, number):
        return BYTES[0], 0


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (Endless(), "Endless has no items by number, .* such as list"),
        (7, "int has no items by number"),
        (NoLength(), "NoLength has no length"),
        ([], "list is empty"),
        (Raising(), r"item 19 of the data set cannot be read \(OSError: disk on fire\)"),
        ([BYTES[0]], r"item 0 of the data set is a Tensor: give \(image, class\)"),
        ([{"image": BYTES[0]}], "item 0 of the data set is a dict"),
        (items(lambda k: BYTES[k].numpy()), "image of item 0 .* is ndarray: give PIL"),
        (items(lambda k: BYTES[k].permute(1, 2, 0)), r"is \(8, 12, 3\): give PIL.*\(C, H, W\)"),
        (items(lambda k: BYTES[k].long()), "is int64: give uint8, or floats"),
        (items(lambda k: BYTES[k].float()), r"item 0 .* holds 0 to 25\d, others lie in \[0, 1\]"),
        (items(lambda k: BYTES[k] / BYTES[0] * 0), "item 0 .* holds nan to nan"),
        (
            items(lambda k: BYTES[k, :, : 8 - (k == 19)]),
            "item 19 .* is 3×7×12 of uint8, others are",
        ),
        (items(lambda k: BYTES[k] if k else BYTES[k] / 255), "uint8, others are 3×8×12 of float32"),
        (items(condition=lambda _: "cat"), "has the condition 'cat': give a class"),
        (items(condition=lambda _: 0.5), "has the condition 0.5: give a class"),
        (items(condition=lambda _: True), "has the condition True: give a class"),
        (items(condition=lambda _: -1), "item 0 of the data set is of class -1: choose 0 to"),
        (
            items(condition=lambda k: None if k else 0),
            "has the condition None, others have classes",
        ),
        (items(condition=lambda k: k or None), "has the condition .*, others have none"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(dataset, sentence):
    with pytest.raises(pf.UserError, match=sentence) as error:
        DatasetData(dataset)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("late", "sentence"),
    [
        ((BYTES[1, :, :4], 0), "item 1 of the data set is 3×4×12 of uint8, others are 3×8×12"),
        ((BYTES[1], 3), "item 1 of the data set is of class 3: choose 0 to 2, of 3 classes"),
        ((BYTES[1], None), "item 1 of the data set has the condition None, others have classes"),
    ],
)
def test_an_item_that_was_not_looked_at_first_is_named_when_its_turn_comes(late, sentence):
    dataset = Named()
    dataset.__class__ = type("Late", (Named,), {})
    type(dataset).__len__ = lambda _: 40
    type(dataset).__getitem__ = lambda _, k: late if k == 1 else (BYTES[k % 20], k % 3)
    data = DatasetData(dataset)
    with pytest.raises(pf.UserError, match=sentence):
        batch_of(data, size=40)


def test_a_negative_float_after_only_positive_ones_contradicts_their_range():
    images = torch.rand(40, 1, 8, 8)
    images[1, 0, 0, 0] = -0.5
    data = DatasetData([(image, None) for image in images])
    with pytest.raises(pf.UserError, match=r"item 1 .* holds -0.5 to .*, others lie in \[0, 1\]"):
        batch_of(data, size=40)


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.WARNING)

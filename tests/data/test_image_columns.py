"""Parquet as pandas and Spark write it: images and labels are those that were written."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.sources import HubSource
from tests.support.image_files import PNG, encoded, noise

pytestmark = pytest.mark.usefixtures("datasets")
FILES = [encoded(noise(seed=i)) for i in range(4)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SPARK = pa.struct(
    [("origin", pa.string()), ("height", pa.int32()), ("width", pa.int32()),
     ("nChannels", pa.int32()), ("mode", pa.int32()), ("data", pa.binary())]
)  # fmt: skip


def write(folder: Path, name: str = "train.parquet", **columns) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return str(folder)


def spark(pixels: np.ndarray, mode: int) -> dict:
    """Spark's struct of an image (H, W, channels)."""
    height, width, channels = pixels.shape
    return {"origin": "file:/a.png", "height": height, "width": width, "nChannels": channels,
            "mode": mode, "data": pixels.tobytes()}  # fmt: skip


def files_of(data) -> list[bytes]:
    return [data.layout.read(number) for number in range(data.num_samples)]


def bad(data) -> dict[int, str]:
    data.batch(BatchSpec(0, data.num_samples, 0))
    return {int(row.path[:-1].split("[")[1]): row.reason for row in data.bad_samples()}


FORMS = {
    "struct": pa.array([{"bytes": data, "path": None} for data in FILES], STRUCT),
    "struct of bytes first found null": pa.array(
        [{"bytes": data, "path": "x.png", "more": 1} for data in FILES],
        pa.struct([("path", pa.string()), ("more", pa.int8()), ("bytes", pa.large_binary())]),
    ),
    "binary": pa.array(FILES, pa.binary()),
    "large binary": pa.array(FILES, pa.large_binary()),
    "uint8": pa.array([list(data) for data in FILES], pa.list_(pa.uint8())),
    "large list": pa.array([list(data) for data in FILES], pa.large_list(pa.uint8())),
    "whole numbers": pa.array([list(data) for data in FILES]),
    "tinyint": pa.array(
        [np.frombuffer(data, np.int8).tolist() for data in FILES], pa.list_(pa.int8())
    ),
}
with contextlib.suppress(AttributeError, pa.ArrowNotImplementedError):  # of an older pyarrow
    VIEWS = pa.array(FILES, pa.binary_view())
    pq.write_table(pa.table({"x": VIEWS}), io.BytesIO())
    FORMS["binary view"] = VIEWS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [None, "image"])
def test_a_file_comes_out_of_each_form_as_it_went_in(tmp_path, form, named):
    path = write(tmp_path / "x", image=FORMS[form], label=[0, 1, 0, 1])
    data = HubSource(path, image_column=named).open()
    assert files_of(data) == FILES
    assert data.layout.labels == (0, 1, 0, 1)


@pytest.mark.parametrize(
    ("mode", "channels", "order"), [(0, 1, [0]), (16, 3, [2, 1, 0]), (24, 4, [2, 1, 0, 3])]
)
def test_pixels_of_spark_are_blue_first(tmp_path, mode, channels, order):
    pixels = np.arange(8 * 12 * channels, dtype=np.uint8).reshape(8, 12, channels)
    column = pa.array([spark(pixels, mode)], SPARK)
    data = HubSource(write(tmp_path / "x", image=column), size=8).open()
    (tmp_path / "0.png").write_bytes(files_of(data)[0])
    assert (np.atleast_3d(np.array(Image.open(tmp_path / "0.png"))) == pixels[..., order]).all()


def test_what_spark_could_not_read_is_bad(tmp_path):
    good = spark(np.zeros((8, 8, 3), np.uint8), 16)
    none = {"height": -1, "width": -1, "nChannels": -1, "mode": -1, "data": b""}
    rows = [good, none, good | {"mode": 21}, good | {"data": bytes(5)}, None]
    data = HubSource(write(tmp_path / "x", image=pa.array(rows, SPARK)), size=8).open()
    assert bad(data) == {
        1: "no image", 2: "3 channels in Spark's mode 21, not of 8 bits",
        3: "5 bytes of 8×8 pixels, 3 channels", 4: "no image",
    }  # fmt: skip


def test_lists_of_what_is_no_byte_are_bad(tmp_path):
    path = write(tmp_path / "x", image=[list(PNG), [1, 256], [1, None], [-129], [], None])
    why = "a list of numbers that are no bytes"
    assert bad(HubSource(path).open()) == {1: why, 2: why, 3: why, 4: "empty file", 5: "no image"}


def test_categories_missing_numbers_and_an_index_of_pandas(tmp_path):
    index = {"__index_level_0__": [7, 5, 3, 1]}
    names = pa.array(["b", "a", "b", None]).dictionary_encode()
    data = HubSource(write(tmp_path / "a", image=FILES, label=names, **index)).open()
    assert (data.layout.class_names, data.layout.labels[:3]) == (("a", "b"), (1, 0, 1))
    assert data.layout.faults == {3: "no label"}
    numbers = pa.array([2.0, None, 0.0, 10.0])
    data = HubSource(write(tmp_path / "b", image=FILES, label=numbers, **index)).open()
    assert (data.layout.class_names, data.layout.faults) == (("0", "2", "10"), {1: "no label"})


def test_the_surest_kind_of_column_is_taken_then_the_usual_name(tmp_path):
    struct = FORMS["struct"]
    mixed = write(tmp_path / "a", thumbnail=FILES, picture=struct, numbers=[[1, 2]] * 4)
    assert files_of(HubSource(mixed).open()) == FILES
    two = write(tmp_path / "b", mask=[b""] * 4, img=FILES)
    assert files_of(HubSource(two).open()) == FILES
    with pytest.raises(pf.UserError, match="has the image columns jpg, mask: choose one with --da"):
        HubSource(write(tmp_path / "c", jpg=FILES, mask=FILES)).open()


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"image": ["a.png", "b.png"]}, {"image_column": "image"},
         "data.image_column=image of x holds no images, but string: write the bytes of image files "
         "into a column, or cast it to datasets.Image()"),
        ({"image": [[[[1, 2, 3]]], [[[1, 2, 3]]]]}, {},
         "x has no column of images, only image: name another data set, or write the bytes of"),
        ({"image": FILES[:2], "vector": [[1], [2]]}, {"image_column": "vectr"},
         "unknown data.image_column of x 'vectr': did you mean 'vector'?"),
        ({"image": FILES[:2], "text": ["a", "b"]}, {"image_column": "text"},
         "data.image_column=text of x holds no images, but string: choose among image"),
    ],
)  # fmt: skip
def test_columns_that_hold_no_images_are_named(tmp_path, monkeypatch, columns, options, message):
    monkeypatch.chdir(tmp_path)
    write(Path("x"), **columns)
    with pytest.raises(pf.UserError) as error:
        HubSource("x", **options).open()
    assert str(error.value).startswith(message)

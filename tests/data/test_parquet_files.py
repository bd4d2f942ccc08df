"""Folders and files of Parquet as Spark leaves them: read whole, or what is wrong is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import patch_forcing as pf
from patch_forcing.data.sources import HubSource
from tests.support.image_files import encoded, noise

pytestmark = pytest.mark.usefixtures("datasets")
FILES = [encoded(noise(seed=i)) for i in range(4)]


def write(folder: Path, name: str = "train.parquet", **columns) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)


def files_of(data) -> list[bytes]:
    return [data.layout.read(number) for number in range(data.num_samples)]


def test_a_folder_of_spark_with_all_that_lies_in_it(tmp_path):
    none = {"content": pa.array([], pa.binary()), "label": pa.array([], pa.string())}
    parts = [{"content": FILES[:2], "label": ["cat", "dog"]}, none,
             {"content": FILES[2:], "label": ["cat", "dog"]}]  # fmt: skip
    for number, columns in enumerate(parts):
        write(tmp_path / "x", f"part-0000{number}-3f0c-c000.snappy.parquet", **columns)
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-00000.crc", "_metadata", "_common_metadata"):
        (tmp_path / "x" / name).write_bytes(b"")
    write(tmp_path / "x" / ".spark-staging", content=FILES)
    data = HubSource(str(tmp_path / "x")).open()
    assert files_of(data) == FILES
    assert (data.layout.class_names, data.layout.labels) == (("cat", "dog"), (0, 1, 0, 1))


@pytest.mark.parametrize("name", ["b.parquet", "B.PARQUET"])
def test_one_file_is_read_by_its_name(tmp_path, name):
    write(tmp_path, "a.parquet", image=FILES[:1])
    write(tmp_path, name, image=FILES[1:])
    assert files_of(HubSource(str(tmp_path / name)).open()) == FILES[1:]
    assert files_of(HubSource(str(tmp_path / name), split="train[:2]").open()) == FILES[1:3]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("x/label=cat/part-0.parquet", "data.path=x is in partitions (label=cat), and label is in "
         "no file: write it without partitions (Spark: without partitionBy)"),
        ("x/a/year=1/b=2/part-0.parquet", "data.path=x is in partitions (year=1), and year is in"),
        ("x/_temporary/0/part-0.parquet", "data.path=x holds _temporary/0/part-0.parquet, which "
         "Spark passes over and datasets does not: remove _temporary"),
    ],
)  # fmt: skip
def test_folders_that_are_not_one_table_are_refused(tmp_path, monkeypatch, file, message):
    monkeypatch.chdir(tmp_path)
    write(Path("x"), image=FILES, label=["a"] * 4)
    write(Path(file).parent, Path(file).name, image=FILES)
    with pytest.raises(pf.UserError) as error:
        HubSource("x").open()
    assert str(error.value).startswith(message)


def test_a_delta_table_is_refused(tmp_path):
    write(tmp_path / "x", image=FILES)
    (tmp_path / "x" / "_delta_log").mkdir()
    with pytest.raises(pf.UserError, match="x is a Delta table, whose files alone are not its row"):
        HubSource(str(tmp_path / "x")).open()


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_damaged_file_is_named(tmp_path, size, by_name):
    for name in ("a.parquet", "b.parquet"):
        write(tmp_path / "x", name, image=FILES)
    file = tmp_path / "x" / "b.parquet"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(pf.UserError) as error:
        HubSource(str(file if by_name else tmp_path / "x")).open()
    assert str(error.value).startswith(f"{file} is truncated or damaged (Parquet ")
    assert str(error.value).endswith("): copy it again")


def test_parts_of_unlike_columns_say_what_is_unlike(tmp_path):
    write(tmp_path, "a.parquet", image=FILES, label=[0, 1, 2, 3])
    write(tmp_path, "b.parquet", image=FILES, label=["cat"] * 4)
    with pytest.raises(pf.UserError, match="'cat' as a scalar of type int64: check its files, --"):
        HubSource(str(tmp_path)).open()


@pytest.mark.parametrize("option", ["config", "revision"])
def test_options_of_the_hub_are_refused_for_a_file(tmp_path, option):
    write(tmp_path, image=FILES)
    with pytest.raises(pf.UserError, match=rf"data\.{option}=big: .* was saved without: leave it"):
        HubSource(str(tmp_path / "train.parquet"), **{option: "big"}).open()

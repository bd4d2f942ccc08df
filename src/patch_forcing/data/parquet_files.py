"""Parquet files on this disk, before datasets reads them: what is no whole table, and why."""

from collections.abc import Iterator
from pathlib import Path

from patch_forcing.core.errors import UserError

_ENDING = ".parquet"


def is_parquet(place: Path) -> bool:
    """Whether it is one such file, by its name."""
    return place.suffix.lower() == _ENDING and place.is_file()


def check_tables(place: Path) -> bool:
    """Whether one of the files of a folder, or the file, has no rows, as Spark writes them.

    Raises UserError if files are not the rows of one table, or not all of it, or damaged.
    """
    if (place / "_delta_log").is_dir():
        raise UserError(
            f"data.path={place} is a Delta table, whose files alone are not its rows: write it as "
            "plain Parquet"
        )
    files = list(_files(place))
    for file in files:
        for folder in file.relative_to(place).parts[:-1]:
            column, is_partition, _ = folder.partition("=")
            if folder.startswith("_"):
                raise UserError(
                    f"data.path={place} holds {file.relative_to(place)}, which Spark passes over "
                    f"and datasets does not: remove {folder}"
                )
            if is_partition:
                raise UserError(
                    f"data.path={place} is in partitions ({folder}), and {column} is in no file: "
                    "write it without partitions (Spark: without partitionBy)"
                )
    return 0 in [_rows(file) for file in files]


def _rows(file: Path) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        count: int = parquet.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:150].rstrip(".")
        raise UserError(f"{file} is truncated or damaged ({why}): copy it again") from None
    return count


def _files(place: Path) -> Iterator[Path]:
    """Those of a folder, or itself; hidden ones are left aside, also by datasets."""
    if is_parquet(place):
        yield place
    elif place.is_dir():
        for file in sorted(place.rglob(f"*{_ENDING}")):
            hidden = any(name.startswith(".") for name in file.relative_to(place).parts)
            if not hidden and file.is_file():
                yield file

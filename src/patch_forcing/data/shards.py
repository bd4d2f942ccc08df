"""WebDataset shards, on this machine or behind URLs: tar files of images, labels and captions.

Each is looked through once; where its samples lie is remembered in a cache, for as long as the
shard stays the same. Then any sample is read by itself: from a URL, by asking for its bytes alone.
So shards need not fit on this disk, and the order is arithmetic, as with a folder.
"""

import contextlib
import errno
import glob
import hashlib
import io
import itertools
import json
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import Annotation, Condition, conditions
from patch_forcing.data.image_data import ImageData, ImageOptions, local_path
from patch_forcing.data.images import BadImageError
from patch_forcing.data.layout import Layout
from patch_forcing.data.reader import THREADS
from patch_forcing.data.tar_index import Sample, index_tar
from patch_forcing.data.tar_members import Stream
from patch_forcing.io.atomic import write_atomic

CACHE = "PATCH_FORCING_CACHE"
"""The environment's name of the folder for indices; ~/.cache/patch-forcing if it has none."""
_VERSION = 4
_EMPTY = Sample("", 0, 0, Annotation(fault="no sample in it"))
_MAX_SHARDS = 1_000_000
_STAMPS = (
    "ETag", "etag", "Last-Modified", "mtime", "LastModified", "last_modified", "created", "size",
)  # fmt: skip
"""What file systems call that which changes when a file does."""
_BRACES = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class ShardsSource(ImageOptions):
    """Tar files in WebDataset's form: KEY.jpg, and KEY.cls, KEY.txt or KEY.json with it."""

    path: str = ""
    """A folder of .tar files, one of them, a pattern as 'imagenet-{000..146}.tar' or '*.tar', or
    such a pattern of URLs; required."""

    def open(self) -> ImageData:
        """Look through those shards that are not known yet.

        Raises UserError if there are none, or one cannot be reached.
        """
        if not self.path:
            raise UserError("data.path is not given: add --data.path PATH, tar files in a folder")
        return self.images(find_shards(self.path, self.condition))


@runtime_checkable
class Shard(Protocol):
    """A tar file somewhere. Its methods raise OSError, or whatever a file system's client does."""

    @property
    def name(self) -> str:
        """Path or URL, as users write it."""

    def stamp(self) -> str:
        """Changes when the file does."""

    def open(self) -> Stream:
        """For looking through it."""

    def bytes_at(self, start: int, size: int) -> bytes:
        """That many, or fewer if it ends before."""


@dataclass(frozen=True)
class LocalShard:
    """A tar file on this machine."""

    name: str

    def stamp(self) -> str:
        """Size and times of change; the second also changes where a copy keeps the first."""
        status = Path(self.name).stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
            raise OSError(errno.EINVAL, "not a regular file")
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"

    def open(self) -> Stream:
        """For looking through it."""
        return Path(self.name).open("rb")

    def bytes_at(self, start: int, size: int) -> bytes:
        """That many, or fewer if it ends before."""
        with Path(self.name).open("rb") as stream:
            stream.seek(start)
            return stream.read(size)


@dataclass(frozen=True)
class RemoteShard:
    """A tar file behind a URL, through fsspec: http, s3, gs, hf and what else it knows."""

    name: str
    files: Any
    path: str

    def stamp(self) -> str:
        """Size, and what the server says of changes."""
        info = self.files.info(self.path)
        if not info.get("size"):
            raise OSError("the server does not say how long it is")
        return " ".join(f"{key}={info[key]}" for key in _STAMPS if info.get(key))

    def open(self) -> Stream:
        """For looking through it, from start to end in large pieces."""
        opened: io.IOBase = self.files.open(
            self.path, "rb", block_size=2**23, cache_type="readahead"
        )
        return opened

    def bytes_at(self, start: int, size: int) -> bytes:
        """That many, or fewer if it ends before; a server that gives all is no use."""
        data = bytes(self.files.cat_file(self.path, start=start, end=start + size))
        if len(data) > size:
            raise OSError("the server gives whole files only, not parts")
        return data


def find_shards(path: str, condition: Condition | None = None) -> Layout:
    """The samples of all shards that `path` means, in the order of the shards' names.

    Raises UserError if there are none, or one cannot be reached.
    """
    shards, remote = list_shards(path)
    with ThreadPoolExecutor(THREADS if remote else min(THREADS, os.cpu_count() or 1)) as pool:
        # seen on a terminal only: a large set takes a while, the first time
        bar = tqdm(
            pool.map(_index, shards), "shards", len(shards), leave=False, unit="", disable=None
        )
        indices = list(bar)
    if not any(indices):
        raise UserError(f"data.path={path}: no sample in {len(shards)} tar files: give others")
    indices = [inside or [_EMPTY] for inside in indices]
    firsts = [0, *itertools.accumulate(map(len, indices))]
    samples = [sample for inside in indices for sample in inside]
    known = conditions([sample.annotation for sample in samples], condition, path)
    names = [
        f"{shard.name}/{sample.name}" if sample.name else shard.name
        for shard, inside in zip(shards, indices, strict=True)
        for sample in inside
    ]
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr((sample.size, *sample.annotation[:2])).encode())
    places = [(sample.start, sample.size) for sample in samples]

    def read(number: int) -> bytes:
        shard = shards[bisect_right(firsts, number) - 1]
        return _read(shard, *places[number])

    return Layout(path, names, *known, read=read, remote=remote, annotations=digest.digest())


def list_shards(path: str) -> tuple[Sequence[Shard], bool]:
    """The shards that `path` means, sorted, and whether they are remote. Raises UserError."""
    names = _without_braces(path)
    if "://" in path:
        return [shard for name in names for shard in _remote(name, path)], True
    files: list[str] = []
    for name in names:
        here = local_path(name)
        if here.is_dir():  # hidden ones are left aside, as a Mac's ._x.tar
            files += (str(here / file) for file in glob.glob("*.tar", root_dir=here))  # noqa: PTH207
        elif here.is_file():
            files.append(str(here))
        elif any(letter in name for letter in "*?["):
            files += glob.glob(str(here))  # noqa: PTH207  # Path takes no absolute pattern
        else:
            raise UserError(f"data.path={path}: {name} is not there: give tar files, or a folder")
    if not files:
        raise UserError(f"data.path={path} means no tar file: give a folder of .tar files, or one")
    return [LocalShard(file) for file in sorted(set(files))], False


def _remote(url: str, path: str) -> list[Shard]:
    try:
        import fsspec

        files, inside = fsspec.core.url_to_fs(url)
        if "*" not in inside:
            return [RemoteShard(url, files, inside)]
        paths = sorted(map(str, files.glob(inside)))
        return [RemoteShard(files.unstrip_protocol(path), files, path) for path in paths]
    except ImportError as error:
        raise UserError(
            f"data.path={path}: {_brief(error)}: pip install 'patch-forcing[shards]', and the "
            "client of another kind of store than http"
        ) from None
    except Exception as error:  # each kind of file system has errors of its own
        raise UserError(f"data.path={path}: {_brief(error)}: check the URL") from None


def _without_braces(pattern: str) -> list[str]:
    """'a-{00..02}.tar' → a-00.tar, a-01.tar, a-02.tar, as shells and WebDataset do; {x,y} too."""
    names, end = [""], 0
    for match in _BRACES.finditer(pattern):
        if match[3] is not None:
            choices = match[3].split(",")
        else:
            numbers, width = range(int(match[1]), int(match[2]) + 1), len(match[1])
            choices = [f"{number:0{width}d}" for number in numbers[: _MAX_SHARDS + 1]]
        if not choices:
            raise UserError(f"data.path={pattern}: {match[0]} is no range: write {{000..146}}")
        if len(names) * len(choices) > _MAX_SHARDS:
            raise UserError(
                f"data.path={pattern} means more than {_MAX_SHARDS} files: write smaller ranges"
            )
        between, end = pattern[end : match.start()], match.end()
        names = [name + between + choice for name in names for choice in choices]
    return [name + pattern[end:] for name in names]


def _read(shard: Shard, start: int, size: int) -> bytes:
    try:
        data = shard.bytes_at(start, size)
    except OSError:
        raise  # a number says whether it may pass
    except Exception as error:
        raise BadImageError(_brief(error), may_pass=True) from None
    if len(data) < size:
        raise BadImageError("truncated: its shard ends before it does")
    return data


def _index(shard: Shard) -> list[Sample]:
    """From the cache, or by looking through the shard. Raises UserError if it is out of reach."""
    try:
        stamp = shard.stamp()
        file = _cached(shard)
        samples = _remembered(file, stamp) if file else None
        if samples is None:
            with shard.open() as stream:
                samples = index_tar(stream)
            if file:
                _remember(file, stamp, samples)
    except Exception as error:  # each kind of file system has errors of its own
        raise UserError(
            f"{shard.name} cannot be read: {_brief(error)}: mend that, or leave it out of data.path"
        ) from None
    return samples


def _cached(shard: Shard) -> Path | None:
    """Where its index is kept; None where there is no home for it."""
    try:
        folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "patch-forcing")
    except RuntimeError:  # a user without a home, as in many containers
        return None
    place = str(Path(shard.name).absolute()) if isinstance(shard, LocalShard) else shard.name
    return folder / "shards" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"


def _remembered(file: Path, stamp: str) -> list[Sample] | None:
    """What was written there, if it is whole and of the shard as it is now."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if [record["version"], record["stamp"]] != [_VERSION, stamp]:
            return None
        rows = record["samples"]
        return [Sample(name, start, size, Annotation(*row)) for name, start, size, row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(file: Path, stamp: str, samples: list[Sample]) -> None:
    record = {"version": _VERSION, "stamp": stamp, "samples": samples}
    # without room for it, or the right to write, the shard is looked through again next time
    with contextlib.suppress(OSError):
        write_atomic(file, json.dumps(record))


def _brief(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__

"""Where tar files of images are: on this machine or behind URLs, and which a pattern means."""

import errno
import glob
import io
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.data.image_options import local_path
from patch_forcing.data.notes import listed
from patch_forcing.data.tar_members import Stream

_MAX_SHARDS = 1_000_000
_STAMPS = (
    "ETag", "etag", "Last-Modified", "mtime", "LastModified", "last_modified", "created", "size",
)  # fmt: skip
"""What file systems call that which changes when a file does."""
_TARS = "*.[tT][aA][rR]"
_PACKED = (
    ".tgz",
    ".tbz2",
    ".txz",
    ".zip",
    *(f".tar.{kind}" for kind in ("gz", "bz2", "xz", "zst")),
)
_BRACES = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")


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


def list_shards(path: str) -> tuple[Sequence[Shard], bool]:
    """The shards that `path` means, sorted, and whether they are remote. Raises UserError."""
    names = _without_braces(path)
    if "://" in path:
        return [shard for name in names for shard in _remote(name, path)], True
    files: list[str] = []
    for name in names:
        here = local_path(name)
        if here.is_dir():  # hidden ones are left aside, as a Mac's ._x.tar
            files += (str(here / file) for file in glob.glob(_TARS, root_dir=here))  # noqa: PTH207
        elif here.is_file():
            files.append(str(here))
        elif any(letter in name for letter in "*?["):
            files += glob.glob(str(here))  # noqa: PTH207  # Path takes no absolute pattern
        else:
            raise UserError(f"data.path={path}: {name} is not there: give tar files, or a folder")
    if not files:
        others = "".join(f"; {note}" for note in unread_shards(path))
        raise UserError(
            f"data.path={path} means no tar file: give a folder of .tar files, or one{others}"
        )
    return [LocalShard(file) for file in sorted(set(files))], False


def unread_shards(path: str) -> list[str]:
    """What lies in a folder of shards, holds samples perhaps, and is not read; and the mend."""
    notes = []
    for folder in map(local_path, [] if "://" in path else _without_braces(path)):
        with suppress(OSError), os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir() for entry in entries if entry.name[0] != "."}
            packed = sorted(name for name in names if name.lower().endswith(_PACKED))
            notes += [f"{listed(packed, 3)} (unpack it to .tar)"] if packed else []
            folders = sorted(name for name, is_folder in names.items() if is_folder)
            inside = [one for one in folders if glob.glob(_TARS, root_dir=folder / one)]  # noqa: PTH207
            notes += (
                [f"tar files in {listed(inside, 3)} (give {inside[0]}/*.tar)"] if inside else []
            )
    return notes


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
            f"data.path={path}: {brief(error)}: {install_line('shards')}, and the "
            "client of another kind of store than http"
        ) from None
    except Exception as error:  # each kind of file system has errors of its own
        raise UserError(f"data.path={path}: {brief(error)}: check the URL") from None


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


def brief(error: Exception) -> str:
    """What any kind of file system says, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__

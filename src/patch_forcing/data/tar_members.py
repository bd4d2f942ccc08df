"""Members of a tar file one after another, and where it is damaged.

Python's tarfile reads headers one by one but ends without a word at a damaged one, or at zeros; so
headers are decoded by it and walked here.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK = tarfile.BLOCKSIZE
_MAX_NAME = 2**20
"""Bytes of a long name; what has more is none."""
MAX_SHARD = 2**60
MAX_PADDING = 2 * tarfile.RECORDSIZE
"""Bytes of zeros at the end of a tar that mean nothing: two blocks, the rest of a record, more."""
_RECORDS = tuple(2**power for power in range(16, 21))
"""Larger records, in bytes, that a tar may be filled up to."""
_NO_ZEROS = (".png", ".jpg", ".jpeg", ".gif", ".txt", ".json", ".cls", ".caption", ".cap")
"""Members whose data do not end in a block of zeros."""
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_NOT_AS_IS = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_SPARSE)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
Stream = BinaryIO | io.IOBase
"""What can be read and moved in; not all that can is the former at run time."""


class Member(NamedTuple):
    """size: −1 for a link or a sparse file, whose bytes do not lie there as they are."""

    name: str
    start: int
    size: int


def members(stream: Stream) -> Iterator[Member | str]:
    """Regular members, and where blocks are found that are none, that they are damaged."""
    place, sound, name, size, origin = 0, True, "", -1, 0
    last = Member("", 0, 0)
    while True:
        zeros, (place, block) = place, _past_zeros(stream, place)
        promised = bool(name) or size >= 0  # an extended header announces a member
        if len(block) < BLOCK:
            fault = _fault_at_end(stream, zeros, place, block, last, promised)
            if fault and sound:
                yield fault
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if not 0 <= header.size < MAX_SHARD:
                raise ValueError
            after = place + BLOCK
            if zeros < place:
                if sound and (promised or not _joined(zeros, place, origin)):
                    yield f"zeros from byte {zeros} to byte {place}"
                name, size, origin = "", -1, place
            if header.type in (*_EXTENDED, *_LONG):
                more = stream.read(header.size) if header.size <= _MAX_NAME else b""
                name, size = _extended(header, more, name, size)
        except (tarfile.HeaderError, ValueError):
            if sound:
                yield _no_tar(block) if place == 0 else f"damaged at byte {zeros}"
                if place == 0 and block.startswith(_COMPRESSED):
                    return  # all the rest would be looked through in vain
            place, sound, name, size = place + BLOCK, False, "", -1
            continue
        sound = True
        if header.type in (*_EXTENDED, *_LONG):
            place = after + _padded(header.size)
            continue
        size = header.size if size < 0 else size
        # links, folders and devices have no data, whatever their size says; unknown kinds may
        has_data = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES
        if header.type in _NOT_AS_IS or header.isreg():
            as_is = header.type not in _NOT_AS_IS
            last = Member(name or header.name, after, size if as_is else -1)
            yield last
        place = after + (_padded(size) if has_data else 0)
        name, size = "", -1


def _past_zeros(stream: Stream, place: int) -> tuple[int, bytes]:
    """The next block that is not of zeros, or the end, and where it lies."""
    while True:
        stream.seek(place)
        block = stream.read(BLOCK)
        if not block or any(block):
            return place, block
        place += len(block)


def _joined(zeros: int, place: int, origin: int) -> bool:
    """Whether zeros before a member end one tar, begun at `origin`, before another begins."""
    if zeros == 0 or place - zeros <= 2 * BLOCK:
        return zeros > 0
    return place - zeros <= MAX_PADDING and (place - origin) % tarfile.RECORDSIZE == 0


def _fault_at_end(
    stream: Stream, zeros: int, place: int, rest: bytes, last: Member, promised: bool
) -> str:
    """What is wrong with a tar that ends at `place`, with zeros before it; empty if nothing is.

    rest: less than a block.
    """
    if place == 0 or (zeros == 0 and rest):
        return _no_tar(rest)
    if rest or zeros == place:
        return "cut short: its end is missing"
    first, lost = zeros, promised
    if last.size > 0 and last.name.lower().endswith(_NO_ZEROS):
        stream.seek(last.start)
        sound = len(stream.read(last.size).rstrip(b"\0"))
        if last.size - sound >= min(last.size, BLOCK):
            first, lost = last.start + sound, True
    count = place - zeros
    if not lost and count > MAX_PADDING:
        lost = not any(place % size == 0 and count < size + 2 * BLOCK for size in _RECORDS)
    what = f"zeros from byte {first} to its end"
    return (what if first else f"no sample in it: {what}") if lost else ""


def _extended(header: tarfile.TarInfo, data: bytes, name: str, size: int) -> tuple[str, int]:
    """The name and the size of the member to come. Raises ValueError if the data are damaged."""
    if len(data) < header.size:
        raise ValueError
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape"), size
    while data and header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
        length = int(data.partition(b" ")[0])  # "27 path=…\n", all of it counted
        field, equals, value = data[:length].partition(b" ")[2].partition(b"=")
        if not (5 <= length <= len(data) and equals and value.endswith(b"\n")):
            raise ValueError
        if field == b"path":
            name = value[:-1].decode("utf-8", "surrogateescape")
        elif field == b"size":
            size = int(value)
            if not 0 <= size < MAX_SHARD:
                raise ValueError
        data = data[length:]
    return name, size


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _no_tar(start: bytes) -> str:
    if not start:
        return "empty file"
    if start.startswith(_COMPRESSED):
        return "compressed, so that no sample can be found in it: decompress it"
    return "no tar file"

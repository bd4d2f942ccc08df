"""Where each sample of a WebDataset shard lies in its tar file: one pass, then random access.

The `webdataset` package streams and shuffles through a buffer, so what a step sees depends on what
was read before; here position is arithmetic, which needs an index. Python's tarfile reads headers
one by one but ends without a word at a damaged one; so headers are decoded by it and walked here.
Nothing is ever written to disk under a member's name, and no member but images, labels and captions
is read: a pickle among them stays bytes.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from patch_forcing.data.annotations import Annotation, as_object, as_text, checked, from_fields
from patch_forcing.data.images import ENDINGS

BLOCK = tarfile.BLOCKSIZE
MAX_TEXT = 2**20
"""Bytes of a label, a caption or a long name; what has more is none."""
MAX_IMAGE = 2**28
"""Bytes of an image file, which is read as a whole."""
MAX_SHARD = 2**60
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
Stream = BinaryIO | io.IOBase
"""What can be read and moved in; not all that can is the former at run time."""
_NOT_AS_IS = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_SPARSE)
_ELSEWHERE = "a link or sparse: pack it with tar -h --hard-dereference"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_IMAGE_KINDS = tuple(ending[1:] for ending in ENDINGS)


class Sample(NamedTuple):
    """An image in a tar file: `size` bytes from byte `start`. name: KEY.KIND, or empty for a
    damaged stretch, which its annotation's fault describes.
    """

    name: str
    start: int
    size: int
    annotation: Annotation


class _Member(NamedTuple):
    """size: −1 for a link or a sparse file, whose bytes do not lie there as they are."""

    name: str
    start: int
    size: int


def index_tar(stream: Stream) -> list[Sample]:
    """Samples of a seekable stream, in its order; a damaged stretch counts as a bad one.

    Members in a row with the same KEY, their name up to the first dot of its last part, are one
    sample; KEY.cls is a whole number, KEY.txt a caption, KEY.json an object with either.
    """
    samples, key, parts = [], "", list[_Member]()
    for member in _members(stream):
        if isinstance(member, str):
            samples.append(Sample("", 0, 0, Annotation(fault=member)))
            continue
        its_key, kind = _split(member.name)
        if not kind:
            continue
        if parts and its_key != key:
            samples.append(_sample(stream, key, parts))
            parts = []
        key = its_key
        parts.append(member)
    return [*samples, _sample(stream, key, parts)] if parts else samples


def _split(name: str) -> tuple[str, str]:
    """Key and kind; no kind for folders, hidden members and those without an ending."""
    folder, slash, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return (f"{folder}{slash}{stem}", kind.lower()) if stem else (name, "")


def _sample(stream: Stream, key: str, parts: list[_Member]) -> Sample:
    kinds = [_split(part.name)[1] for part in parts]
    images = [part for part, kind in zip(parts, kinds, strict=True) if kind in _IMAGE_KINDS]
    if len(images) != 1 or len(set(kinds)) < len(kinds):
        what = f"{len(images) or 'no'} images" if len(images) != 1 else "a member twice"
        fault = f"{what} among {', '.join('.' + kind for kind in kinds[:9])}"
        return Sample(images[0].name if images else f"{key}.*", 0, 0, Annotation(fault=fault))
    image = images[0]
    if image.size < 0:
        return Sample(image.name, 0, 0, Annotation(fault=_ELSEWHERE))
    if image.size > MAX_IMAGE:
        fault = f"{image.size} bytes: more than {MAX_IMAGE} are no image to train on"
        return Sample(image.name, 0, 0, Annotation(fault=fault))
    annotation = Annotation()
    # later ones say more precisely what the JSON object says too
    for kind in ("json", "txt", "cls"):
        if kind in kinds:
            annotation = _annotated(stream, parts[kinds.index(kind)], kind, annotation)
    return Sample(image.name, image.start, image.size, annotation)


def _annotated(stream: Stream, part: _Member, kind: str, before: Annotation) -> Annotation:
    try:
        if part.size < 0:
            raise ValueError(f"is {_ELSEWHERE}")
        if part.size > MAX_TEXT:
            raise ValueError(f"has more than {MAX_TEXT} bytes")
        stream.seek(part.start)
        data = stream.read(part.size)
        if len(data) < part.size:
            raise ValueError("is truncated")
        if kind == "json":
            return from_fields(as_object(data))
        text = as_text(data)
        if kind == "txt":
            read = checked(caption=text)
            return before._replace(caption=read.caption, no_caption=read.no_caption)
        if not text.strip().isdecimal():
            raise ValueError("is no whole number")
        return before._replace(label=int(text))
    except ValueError as error:
        why = f"its .{kind} {str(error)[:80]}"
        if kind == "txt":
            return before._replace(caption=None, no_caption=why)
        if kind == "cls":
            return before._replace(label=None, no_label=why)
        return before._replace(no_label=why, no_caption=why)


def _members(stream: Stream) -> Iterator[_Member | str]:
    """Regular members, and where blocks are found that are none, that they are damaged."""
    place, sound, ended, name, size = 0, True, False, "", -1
    while True:
        stream.seek(place)
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            if place == 0:
                yield _no_tar(block)
            elif sound and (block or not ended):
                yield "cut short: its end is missing"
            return
        ended = not any(block)
        if ended:
            place += BLOCK
            continue
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if not 0 <= header.size < MAX_SHARD:
                raise ValueError
            after = place + BLOCK
            if header.type in (*_EXTENDED, *_LONG):
                more = stream.read(header.size) if header.size <= MAX_TEXT else b""
                name, size = _extended(header, more, name, size)
        except (tarfile.HeaderError, ValueError):
            if sound:
                yield _no_tar(block) if place == 0 else f"damaged at byte {place}"
                if place == 0 and block.startswith(_COMPRESSED):
                    return  # all the rest would be looked through in vain
            place, sound, name, size = place + BLOCK, False, "", -1
            continue
        sound = True
        if header.type in (*_EXTENDED, *_LONG):
            place = after + _padded(header.size)
            continue
        size = header.size if size < 0 else size
        if header.type in _NOT_AS_IS:
            yield _Member(name or header.name, after, -1)
        elif header.isreg():
            yield _Member(name or header.name, after, size)
        # links, folders and devices have no data, whatever their size says; unknown kinds may
        has_data = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES
        place = after + (_padded(size) if has_data else 0)
        name, size = "", -1


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

"""Where each sample of a WebDataset shard lies in its tar file: one pass, then random access.

The `webdataset` package streams and shuffles through a buffer, so what a step sees depends on what
was read before; here position is arithmetic, which needs an index. Nothing is ever written to disk
under a member's name, and no member but images, labels and captions is read: a pickle among them
stays bytes.
"""

from functools import partial
from typing import NamedTuple

from patch_forcing.data.annotations import Annotation
from patch_forcing.data.image_kinds import ENDINGS, USUAL_ENDINGS
from patch_forcing.data.listing import is_of_system
from patch_forcing.data.sidecars import MAX_TEXT, Sidecar, annotate, role
from patch_forcing.data.tar_members import Member, Stream, members

MAX_IMAGE = 2**28
"""Bytes of an image file, which is read as a whole."""
_ELSEWHERE = "a link or sparse: pack it with tar -h --hard-dereference"
_IMAGE_KINDS = [
    {ending[1:] for ending in USUAL_ENDINGS},
    {ending[1:] for ending in ENDINGS},
]
"""Where there is none of the first, the second counts."""


class Sample(NamedTuple):
    """An image in a tar file: `size` bytes from byte `start`. name: KEY.KIND, or empty for a
    damaged stretch, which its annotation's fault describes. beside: kinds of its other members.
    """

    name: str
    start: int
    size: int
    annotation: Annotation
    beside: tuple[str, ...] = ()


def index_tar(stream: Stream) -> list[Sample]:
    """Samples of a seekable stream, in its order; a damaged stretch counts as a bad one.

    Members in a row with the same KEY, their name up to the first dot of its last part, are one
    sample; KEY.cls is a label, KEY.txt a caption, KEY.json an object with either (`sidecars`).
    Members of one image that lie apart, as some tools write them, are one sample, too.
    """
    samples, key, parts = list[Sample](), "", list[Member]()
    known: dict[str, tuple[int, list[Member]]] = {}

    def finish() -> None:
        number, before = known.get(key, (0, []))
        if before and not (whole := _sample(stream, key, before + parts)).annotation.fault:
            samples[number], known[key] = whole, (number, before + parts)
        elif parts:
            known[key] = len(samples), parts
            samples.append(_sample(stream, key, parts))

    for member in members(stream):
        if isinstance(member, str):
            samples.append(Sample("", 0, 0, Annotation(fault=member)))
            continue
        its_key, kind = _split(member.name)
        if not kind:
            continue
        if its_key != key:
            finish()
            parts = []
        key = its_key
        parts.append(member)
    finish()
    return samples


def _split(name: str) -> tuple[str, str]:
    """Key and kind; no kind for folders, those without an ending, and what is hidden or put there
    by systems.
    """
    folder, slash, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    if not stem or any(map(is_of_system, name.split("/"))):
        return name, ""
    return f"{folder}{slash}{stem}", kind.lower()


def _sample(stream: Stream, key: str, parts: list[Member]) -> Sample:
    kinds = [_split(part.name)[1] for part in parts]
    of_kinds = _IMAGE_KINDS[not _IMAGE_KINDS[0].intersection(kinds)]
    by_kind = list(zip(kinds, parts, strict=True))
    images = [part for kind, part in by_kind if kind in of_kinds]
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
    read = partial(_text, stream)
    of_roles = [Sidecar(kind, partial(read, part)) for kind, part in by_kind if role(kind)]
    beside = tuple(kind for kind, part in by_kind if part is not image)
    return Sample(image.name, image.start, image.size, annotate(of_roles), beside)


def _text(stream: Stream, part: Member) -> bytes:
    """Raises ValueError saying why it has none."""
    if part.size < 0:
        raise ValueError(f"is {_ELSEWHERE}")
    if part.size > MAX_TEXT:
        raise ValueError(f"has more than {MAX_TEXT} bytes")
    stream.seek(part.start)
    data = stream.read(part.size)
    if len(data) < part.size:
        raise ValueError("is truncated")
    return bytes(data)

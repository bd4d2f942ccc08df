"""WebDataset shards, on this machine or behind URLs: tar files of images, labels and captions.

Each is looked through once; where its samples lie is remembered in a cache, for as long as the
shard stays the same. Then any sample is read by itself: from a URL, by asking for its bytes alone.
So shards need not fit on this disk, and the order is arithmetic, as with a folder.
"""

import contextlib
import hashlib
import itertools
import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import Annotation, Conditions, conditions
from patch_forcing.data.cache import cache_file
from patch_forcing.data.captions import Several
from patch_forcing.data.image_options import Condition
from patch_forcing.data.images import BadImageError
from patch_forcing.data.layout import Layout
from patch_forcing.data.metadata import tables_in
from patch_forcing.data.notes import Notes, joined, listed, source
from patch_forcing.data.reader import THREADS
from patch_forcing.data.shard_places import LocalShard, Shard, brief, list_shards, unread_shards
from patch_forcing.data.sidecars import Role, may_tell, role
from patch_forcing.data.splits import splits_among
from patch_forcing.data.tar_index import Sample, index_tar
from patch_forcing.io.atomic import write_atomic

_VERSION = 6
_EMPTY = Sample("", 0, 0, Annotation(fault="no sample in it"))


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

    notes = _notes(path, shards, samples, known)
    stamp = digest.digest()
    return Layout(path, names, *known, read=read, remote=remote, annotations=stamp, notes=notes)


def _notes(path: str, shards: Sequence[Shard], samples: list[Sample], known: Conditions) -> Notes:
    kinds = Counter(kind for sample in samples for kind in sample.beside)
    others = [kind for kind in sorted(kinds) if role(kind) is None]
    unread = [f"{kinds[kind]} .{kind}" for kind in others if may_tell(kind)]
    unread = [f"{listed(unread)} (.txt, .caption, .cls and .json are read)"] if unread else []
    around = sorted({Path(shard.name).parent for shard in shards if isinstance(shard, LocalShard)})
    unread += [f"{name} (pack .cls or .txt)" for folder in around for name in tables_in(folder)]
    unread += unread_shards(path)
    labels, captions = _givers(kinds, samples, "label"), _givers(kinds, samples, "caption")
    splits, doubts = splits_among(sorted({Path(shard.name).stem for shard in shards})), []
    if len(splits) > 1:
        doubts.append(f"{listed(splits)} are taken together: give a pattern")
    folders = {sample.name.rpartition("/")[0] for sample in samples if sample.name}
    if len(folders) > 1 and not labels:
        doubts.append(f"folders {listed(sorted(folders), 3)} in them are no classes: add .cls")
    aside = listed(f"{kinds[kind]} .{kind}" for kind in others)
    files = f"{len(shards)} tar file{'s' if len(shards) > 1 else ''}"
    return Notes(
        source(f"{path}, {files}", known, labels, captions),
        f"left aside: {aside}" if aside else "",
        joined(unread),
        joined(doubts),
    )


def _givers(kinds: Counter[str], samples: list[Sample], what: Role) -> str:
    """Which members give labels, or captions; empty if none does."""
    if not any(getattr(sample.annotation, what) is not None for sample in samples):
        return ""
    given = [kind for kind in kinds if role(kind) == what] or ["json"]
    return listed(f".{kind}" for kind in sorted(given))


def _read(shard: Shard, start: int, size: int) -> bytes:
    try:
        data = shard.bytes_at(start, size)
    except OSError:
        raise  # a number says whether it may pass
    except Exception as error:
        raise BadImageError(brief(error), may_pass=True) from None
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
            f"{shard.name} cannot be read: {brief(error)}: mend that, or leave it out of data.path"
        ) from None
    return samples


def _cached(shard: Shard) -> Path | None:
    """Where its index is kept; None where there is no home for it."""
    place = str(Path(shard.name).absolute()) if isinstance(shard, LocalShard) else shard.name
    return cache_file("shards", os.fsencode(place))


def _remembered(file: Path, stamp: str) -> list[Sample] | None:
    """What was written there, if it is whole and of the shard as it is now."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if [record["version"], record["stamp"]] != [_VERSION, stamp]:
            return None
        rows = record["samples"]
        return [
            Sample(name, start, size, _annotation(row), tuple(beside))
            for name, start, size, row, beside in rows
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _annotation(row: list[Any]) -> Annotation:
    annotation = Annotation(*row)
    if not isinstance(annotation.caption, list):
        return annotation
    texts, weights = annotation.caption
    return annotation._replace(caption=Several(tuple(texts), tuple(weights)))


def _remember(file: Path, stamp: str, samples: list[Sample]) -> None:
    record = {"version": _VERSION, "stamp": stamp, "samples": samples}
    # without room for it, or the right to write, the shard is looked through again next time
    with contextlib.suppress(OSError):
        write_atomic(file, json.dumps(record))

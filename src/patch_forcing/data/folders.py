"""Any folder of images: what it holds is inferred, and what cannot be read is replaced."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import BadSample, Batch, sample_epochs, sample_ids
from patch_forcing.data.images import BadImageError, Fit, read_header
from patch_forcing.data.layout import Layout, find_images
from patch_forcing.data.reader import ImageReader
from patch_forcing.models.config import DataInfo

LOOKED_AT = 1000
"""Images, evenly spread, from whose headers size and channels are inferred."""
MULTIPLE, LEAST, MOST = 4, 8, 64
"""Inferred sizes: multiples of 4, so that patches of some size tile them; above 64 pixels, training
takes a GPU and hours, which is the user's to ask for."""
PATIENCE = 1000
"""Bad samples in a row."""
FAILURES = 10
"""Samples in a row that the system cannot read: then it is the disk or the server that is bad."""


@dataclass(frozen=True)
class FolderSource:
    """A folder of images, or of one subfolder of images for each class."""

    path: str = ""
    """The folder; required."""
    size: int | None = None
    """Height and width, a multiple of 4. Default: the images' median shortest side, at most 64."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 is colour. Default: grey if all images are stored so."""
    fit: Fit = "crop"
    """crop: the middle of each image; pad: all of it, on white. The aspect is always kept."""
    flip: bool = True
    """Show each image mirrored, left to right, half of the time; not for writing or numbers."""
    max_bad_share: float = 0.01
    """Stop when more of the images looked at cannot be read, and more than 10."""

    def __post_init__(self) -> None:
        if self.size is not None and not (8 <= self.size <= 1024 and self.size % MULTIPLE == 0):
            raise UserError(
                f"data.size={self.size} does not fit: choose a multiple of {MULTIPLE}, 8 to 1024"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise UserError(f"data.max_bad_share={self.max_bad_share} is out of range: 0 to 1")

    def open(self) -> "FolderImages":
        """List the folder and look at some headers.

        Raises UserError if it is not given, not there, not arranged in classes, or unreadable.
        """
        if not self.path:
            raise UserError("data.path is not given: add --data.path DIR, a folder of images")
        try:
            folder = Path(self.path).expanduser()
        except RuntimeError:
            raise UserError(f"data.path={self.path}: there is no such user: write it out") from None
        layout = find_images(folder)
        size, channels = infer(layout)
        return FolderImages(layout, self.size or size, self.channels or channels, self)


def infer(layout: Layout) -> tuple[int, int]:
    """Size and channels that suit the images. Raises UserError if none can be read."""
    step = -(-len(layout.names) // LOOKED_AT)
    sides, all_grey, reason = [], True, ""
    for number in range(0, len(layout.names), step):
        file = layout.file(number)
        try:
            (width, height), grey = read_header(file)
        except BadImageError as error:
            reason = reason or f"{file}: {error}"
            continue
        sides.append(min(width, height))
        all_grey = all_grey and grey
    if not sides:
        raise UserError(f"no image of {layout.root} can be read, such as {reason}")
    fitting = int(statistics.median(sides)) // MULTIPLE * MULTIPLE
    return min(max(fitting, LEAST), MOST), 1 if all_grey else 3


class FolderImages:
    """The images of a folder in [−1, 1], in a new order each epoch.

    Which image stands where in a step, and whether it is mirrored, follows from (seed, epoch,
    sample); so does which other one takes the place of one that cannot be read.
    """

    def __init__(
        self,
        layout: Layout,
        size: int,
        channels: int,
        source: FolderSource,
        memory: int | None = None,
    ):
        """memory: bytes of images to keep, as ImageReader takes it."""
        self.layout = layout
        self.shape = (channels, size, size)
        self.num_samples = len(layout.names)
        self.num_classes = len(layout.class_names)
        self.info = DataInfo(class_names=layout.class_names)
        self.max_bad_share = source.max_bad_share
        self._flip = source.flip
        self._reader = ImageReader(layout, size, channels, source.fit, memory)
        self._labels = torch.tensor(layout.labels)
        self._known: set[int] = set()
        self._news: list[BadSample] = []

    @property
    def found(self) -> dict[str, Any]:
        """How many images, the classes, the shape, and which names were listed."""
        return {
            "images": self.num_samples,
            "classes": self.layout.class_sizes,
            "size": self.shape[1],
            "channels": self.shape[0],
            "names": self.layout.identity,
        }

    @property
    def summary(self) -> str:
        """Images, classes and shape in a line."""
        colour = "grey" if self.shape[0] == 1 else "in colour"
        shape = f"{self.shape[1]}×{self.shape[2]} {colour}"
        return f"{self.num_samples} images, {self.layout.summary}, read as {shape}"

    def batch(
        self, step: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> Batch:
        """The next batch_size images; those of the step after are read meanwhile."""
        ids = sample_ids(step, batch_size, self.num_samples, seed)
        epochs = sample_epochs(step, batch_size, self.num_samples)
        self._reader.read_ahead(ids.tolist())
        places = zip(ids.tolist(), epochs.tolist(), strict=True)
        used, pixels = zip(*(self._readable(seed, *place) for place in places), strict=True)
        self._reader.read_ahead(sample_ids(step + 1, batch_size, self.num_samples, seed).tolist())
        x_1 = torch.stack(pixels).to(device).float() / 127.5 - 1
        if self._flip:
            mirrored = CountedGenerator(seed, ids, epochs).fork("flip").uniform() < 0.5
            x_1 = torch.where(mirrored.to(device)[:, None, None, None], x_1.flip(-1), x_1)
        labels = self._labels[torch.tensor(used)].to(device) if self.num_classes else None
        return Batch(x_1, labels)

    def bad_samples(self) -> list[BadSample]:
        """Those whose turn came, for the first time, in the batches since the last call."""
        news, self._news = self._news, []
        return news

    def _readable(self, seed: int, number: int, epoch: int) -> tuple[int, UInt8[Tensor, "C S S"]]:
        """The sample, or the one in its place, and its pixels.

        A bad one is named when its own turn comes, not when it was tried in another's place: so
        the share of bad ones among those whose turn came is that of all.
        """
        failures = 0
        for candidate in self._candidates(seed, number, epoch):
            try:
                return candidate, self._reader(candidate)
            except BadImageError as error:
                bad = BadSample(str(self.layout.file(candidate)), str(error))
                if candidate == number and number not in self._known:
                    self._known.add(number)
                    self._news.append(bad)
                failures += error.may_pass
                if failures == FAILURES:
                    raise UserError(
                        f"{bad.path}: {bad.reason}, as with {FAILURES - 1} others: mend the "
                        "disk or the connection and start the same command again"
                    ) from None
        raise UserError(
            f"{min(PATIENCE, self.num_samples)} images in a row cannot be read, such as "
            f"{bad.path}: {bad.reason}: check the folder with patch-forcing data {self.layout.root}"
        )

    def _candidates(self, seed: int, number: int, epoch: int) -> Iterator[int]:
        """The sample, then others, each drawn from all: no good one is likelier than another."""
        yield number
        tried = {number}
        draws = CountedGenerator(seed, [number], epoch).fork("replacement")
        while len(tried) < min(PATIENCE, self.num_samples):
            candidate = int(draws.uniform().double() * self.num_samples)
            if candidate not in tried:
                tried.add(candidate)
                yield candidate

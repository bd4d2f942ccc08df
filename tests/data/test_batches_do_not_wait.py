"""On a GPU, the next batch is prepared while a step runs: nothing waits for work to end."""

import pytest
import torch
from PIL import Image

from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji_text import CaptionedScenes
from patch_forcing.data.sources import FolderSource
from patch_forcing.runs.texts import read_by
from patch_forcing.text.conditions import ByteReader
from tests.support.things import grey_things

pytestmark = pytest.mark.gpu


def captioned(_):
    return read_by(CaptionedScenes(grey_things(), 32), ByteReader(96))


def pictures(folder):
    for number in range(8):
        place = folder / "ab"[number % 2]
        place.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(place / f"{number}.png")
    return FolderSource(path=str(folder), size=16, held_out=0.0).open()


@pytest.mark.parametrize("data", [captioned, pictures])
def test_the_second_batch_waits_for_nothing(data, tmp_path):
    data = data(tmp_path)
    data.batch(BatchSpec(0, 4, 0), "cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = data.batch(BatchSpec(1, 4, 0), "cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    there, own = batch.x_1.cpu(), data.batch(BatchSpec(1, 4, 0)).x_1
    torch.testing.assert_close(there, own)

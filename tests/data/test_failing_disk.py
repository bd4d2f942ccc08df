"""What the system fails to read is tried again, and is bad only if it stays so."""

import errno
import os
from functools import partial

import numpy as np
import pytest

import patch_forcing as pf
from patch_forcing.data.check import check_images
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.images import BadImageError, read_header, read_image, read_whole
from patch_forcing.data.sources import FolderSource
from tests.support.image_files import encoded, fail, noise, photos

PNG = encoded(noise())
KINDS = {"PROGRESSIVE": encoded(noise(), "JPEG", progressive=True)}
KINDS |= {kind: encoded(noise(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
READS = [partial(read_image, size=16, channels=3, fit="crop"), read_header, read_whole]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_an_error_that_passes_is_waited_for(tmp_path, monkeypatch, read, number):
    file = tmp_path / "x.png"
    file.write_bytes(PNG)
    expected, fails = read(file), fail(monkeypatch, number, times=3)
    np.testing.assert_equal(read(file), expected)
    assert len(fails) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.6])
def test_also_if_it_comes_while_the_file_is_read(tmp_path, monkeypatch, kind, share):
    file = tmp_path / "x.png"
    file.write_bytes(KINDS[kind])
    expected = read_image(file, 16, 3, "crop")
    fails = fail(monkeypatch, errno.EIO, times=2, after=int(share * len(KINDS[kind])))
    assert np.array_equal(read_image(file, 16, 3, "crop"), expected)
    assert len(fails) == 2


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("number", "tries"), [(errno.EIO, 4), (errno.EACCES, 1)])
def test_an_error_that_stays_makes_a_file_bad(tmp_path, monkeypatch, read, number, tries):
    (tmp_path / "x.png").write_bytes(PNG)
    fails = fail(monkeypatch, number, times=9)
    with pytest.raises(BadImageError, match=rf"^{os.strerror(number)}$"):
        read(tmp_path / "x.png")
    assert len(fails) == tries


@pytest.mark.parametrize("looks", ["infer", "check"])
def test_a_disk_that_fails_altogether_is_not_tried_to_its_end(tmp_path, monkeypatch, looks):
    layout = find_images(photos(tmp_path, {"": 300}))
    monkeypatch.setattr("patch_forcing.data.check.threads", lambda _: 2)
    fails = fail(monkeypatch, errno.EIO, times=4)
    message = r"009\.png: Input/output error, as with 9 others: mend the disk or the connection"
    with pytest.raises(pf.UserError, match=message):
        FolderSource(str(tmp_path)).open() if looks == "infer" else list(check_images(layout))
    assert len(set(fails)) < 50


def test_errors_that_are_not_in_a_row_are_of_their_files(tmp_path, monkeypatch):
    layout = find_images(photos(tmp_path, {"": 24}))
    fails = fail(monkeypatch, errno.EIO, times=4)
    fails += [file for i in range(0, 24, 2) for file in [tmp_path / f"{i:03d}.png"] * 4]
    checked = list(check_images(layout))
    assert [str(size) for size in checked[1::2]] == ["Input/output error"] * 12
    assert checked[::2] == [(24, 20)] * 12

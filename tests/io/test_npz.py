"""Arrays written part by part are what numpy would have written at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import patch_forcing as pf
from patch_forcing.io.npz import read_about, write_npz


@given(arrays(np.uint8, array_shapes(min_dims=4, max_dims=4, max_side=4)), st.data())
def test_it_is_numpys_own_file_with_a_comment(tmp_path_factory, array, data):
    folder = tmp_path_factory.mktemp("npz")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(array)), max_size=3)))
    about = {"seeds": "0-3", "grid": None}
    write_npz(folder / "a.npz", array.shape, np.split(array, cuts), about)
    np.savez(folder / "b.npz", arr_0=array)
    ours, theirs = (folder / "a.npz").read_bytes(), (folder / "b.npz").read_bytes()
    assert ours.startswith(theirs[:-2])  # the last two bytes are a comment's length
    assert len(ours) - len(theirs) == int.from_bytes(ours[len(theirs) - 2 : len(theirs)], "little")
    assert read_about(folder / "a.npz") == about
    assert np.array_equal(np.load(folder / "a.npz")["arr_0"], array)


def test_what_fails_leaves_what_was_there(tmp_path):
    def parts():
        yield np.zeros((1, 2, 2, 3), np.uint8)
        raise OSError("disk full")

    (tmp_path / "a.npz").write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        write_npz(tmp_path / "a.npz", (2, 2, 2, 3), parts(), {})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.npz", b"old")]


def test_other_files_do_not_tell(tmp_path):
    np.savez(tmp_path / "plain.npz", arr_0=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("plain.npz", "text.npz"):
        with pytest.raises(pf.UserError, match=f"{name} is there and does not tell"):
            read_about(tmp_path / name)

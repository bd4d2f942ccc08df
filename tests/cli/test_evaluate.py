"""`evaluate` as users type it: one JSON object, and one line for every mistake."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patch_forcing.cli.main import run
from tests.support.exact import tiny_dit

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)


@pytest.fixture
def sets(here):
    """a.npz and b.npz of sound images, in the current folder."""
    np.savez("a.npz", IMAGES)
    np.savez("b.npz", 255 - IMAGES)
    return here


def test_one_json_object_is_printed_and_a_table_beside_it(sets, capsys):
    sides = ["a.npz", "--reference", "b.npz", "--features", "emoji"]
    run(["evaluate", *sides, "--metrics", "fd,kid", "--out", "x.json"])
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert record["results"][0]["metrics"].keys() == {"fd", "kid"}
    assert "| a.npz | 12 | emoji |" in printed.err
    written = json.loads((sets / "x.json").read_text())
    assert written.pop("images")["file"] == "x.images.npz"
    assert written == record
    run(["evaluate", "compare", "x.json", "x.json"])
    assert "x.json less x.json" in capsys.readouterr().out


@pytest.mark.usefixtures("sets")
def test_a_terminal_shows_the_table_and_the_record_if_it_is_to(capfd, monkeypatch):
    args = ["evaluate", "a.npz", "--reference", "b.npz", "--features", "emoji", "--metrics", "fd"]
    for more in ([], ["--out", "x.json"], ["--json"]):
        leader, follower = os.openpty()
        with os.fdopen(follower, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            run([*args, *more])
        os.set_blocking(leader, False)
        try:
            printed = os.read(leader, 2**16).decode()
        except OSError:  # nothing was
            printed = ""
        os.close(leader)
        *_, warning, last = capfd.readouterr().err.splitlines()
        if more == ["--json"]:
            assert json.loads(printed)["n"] == 12
            assert last.startswith("warning: 12 samples and 12 real ones are few: fd of emoji")
            continue
        assert not printed
        assert warning.startswith("warning: 12 samples")
        kept = "is in x.json" if more else "was not kept: --out FILE.json keeps it"
        assert last == f"the whole record {kept}; --json prints it"


BAD = {
    "grey.npz": {"arr_0": IMAGES[..., :1]},
    "flat.npz": {"arr_0": IMAGES[..., 0]},
    "deep.npz": {"arr_0": IMAGES.astype(np.uint16)},
    "nan.npz": {"arr_0": np.full(IMAGES.shape, np.nan, np.float32)},
    "labels.npz": {"arr_0": IMAGES, "arr_1": np.zeros(3, np.int64)},
    "empty.npz": {"x": IMAGES},
    "large.npz": {"arr_0": IMAGES.repeat(2, 1).repeat(2, 2)},
    "moments.npz": {"mu": np.zeros(144), "sigma": np.zeros((3, 3)), "features": "emoji"},
    "infinite.npz": {"mu": np.full(144, np.inf), "sigma": np.eye(144), "features": "emoji"},
    "few.npz": {"arr_0": IMAGES[:3]},
}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("grey.npz --reference b.npz", "repeat grey in three channels"),
        ("flat.npz --reference b.npz", "repeat grey in three channels"),
        ("deep.npz --reference b.npz", "arr_0 holds uint16, not uint8: save pixels 0 … 255"),
        ("nan.npz --reference b.npz", "arr_0 holds float32, not uint8: NaN among them is no pixel"),
        ("labels.npz --reference b.npz", "no label for each of 12 images"),
        ("object.npz --reference b.npz", "holds Python objects, which are never read"),
        ("cut.npz --reference b.npz", "no .npz file, or truncated"),
        ("short.npz --reference b.npz", "short.npz: arr_0"),
        ("a.npz --reference empty.npz", "empty.npz holds x: give arr_0 (images), or mu and sigma"),
        ("a.npz --reference large.npz", "32×32 pixels, the samples 16×16"),
        ("a.npz --reference moments.npz", "are no mean and covariance"),
        ("a.npz --reference infinite.npz", "holds NaN or infinity"),
        ("a.npz --reference nowhere", "--reference nowhere is not there"),
        ("nowhere.npz --reference b.npz", "nowhere.npz is not there"),
        ("few.npz --reference b.npz --metrics recall", "3 samples are too few, 16 are needed"),
        ("a.npz --reference b.npz --metrics fd-infinity", "12 samples are too few, 725 are needed"),
        ("a.npz --reference few.npz --metrics precision", "3 images of the reference are too few"),
        ("a.npz --reference b.npz --metrics fid", "fid is fd in Inception's features"),
        ("a.npz --reference b.npz --metrics kdi", "unknown metric 'kdi': did you mean 'kid'"),
        ("a.npz --reference b.npz --metrics sfid", "sfid cannot be measured: this network has no"),
        ("a.npz --reference b.npz --count 13", "holds 12 images, --count 13 is more"),
        ("a.npz --reference b.npz --seeds 0-3", "--seeds is of models"),
        ("a.npz --reference b.npz --pairs x.png", "without training images: add --train"),
        ("a.npz --reference b.npz --out x.txt", "name a file that ends in .json"),
        ("a.npz --reference b.npz --metrics fd-by-class", "the samples have no labels"),
        ("grey --reference b.npz", "holds grey images"),
        ("deep --reference b.npz", "holds grey images"),
        ("sizes --reference b.npz", "sizes/1.png has 8×8 pixels, others of sizes 16×16"),
        ("greymodel --reference b.npz", "makes images of 1 channel"),
        ("left --reference right --metrics fd-by-class", "class 'y' has 0 samples and 4 real"),
        ("compare x.json", "1 record to compare"),
        ("compare a.npz b.npz", "is no record of patch-forcing evaluate"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(sets, refused, line, message):
    for name, arrays in BAD.items():
        np.savez(name, **arrays)
    np.savez("object.npz", arr_0=np.array([{}], dtype=object))
    whole = (sets / "a.npz").read_bytes()
    (sets / "cut.npz").write_bytes(whole[: len(whole) // 2])
    header = b"'shape': (12, 16"
    (sets / "short.npz").write_bytes(whole.replace(header, b"'shape': (13, 16"))
    write("grey", [IMAGES[0, ..., 0], IMAGES[1, ..., 0]])
    write("deep", [IMAGES[0, ..., 0].astype(np.uint16) * 200] * 2)
    write("sizes", [IMAGES[0], IMAGES[1, :8, :8]])
    for side, names in (("left", "x"), ("right", "xy")):
        for name in names:
            write(f"{side}/{name}", IMAGES[:4])
    tiny_dit(input_size=(16, 16), in_channels=1, patch_size=4).save(sets / "greymodel")
    features = "" if line.startswith("compare") else " --features emoji"
    refused(f"evaluate {line}{features}", message)


def write(folder, images):
    Path(folder).mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(f"{folder}/{number}.png")

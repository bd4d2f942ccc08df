"""`patch-forcing edit` from its options to its files."""

import json

import numpy as np
import pytest
from PIL import Image

from patch_forcing.cli.main import run

STEPS = ["--sampler", "euler", "--steps", "2", "--device", "cpu"]


@pytest.fixture
def three(here):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "three.png")
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[8:] = 255
    Image.fromarray(mask).save(here / "mask.png")
    return pixels


def test_results_a_sheet_and_rows_are_written_and_fittings_are_said(three, here, capsys):
    line = ["edit", "digits", "three.png", "--mask", "mask.png", "--labels", "3,5", "--count", "3"]
    run([*line, *STEPS, "--guidance", "2", "--maps", "--film"])
    rows = json.loads((here / "edits/samples.json").read_text())
    assert [(row["seed"], row["label"]) for row in rows] == [(0, 3), (1, 5), (2, 3)]
    assert {row["edit"]["mask"] for row in rows} == {"mask.png"}
    assert sorted(file.name for file in (here / "edits/sheets").iterdir()) == [
        "film.gif", "maps.png", "sheet.png",
    ]  # fmt: skip
    for seed in range(3):
        result = np.array(Image.open(here / f"edits/{seed}.png"))
        assert (result[:4] == three[:4]).all()
        assert not (result[4:] == three[4:]).all()
    printed = capsys.readouterr().out
    assert "the mask is resized from 16x16 to 8x8\n8 of 16 patches may change\n" in printed
    assert "3 images with 4 evaluations each" in printed
    run([*line[:3], "--hardest", "0.3", "--extend", "left=4", "--seeds", "7", *STEPS])
    assert {file.name for file in (here / "edits").glob("*.png")} == {"7.png"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--keep-mask three.png --mask mask.png", "exclude each other"),
        ("--mask black.png", "the mask is black everywhere"),
        ("--strength 0.5 --labels ten", "unknown class"),
        ("--extend left=8", "no room for the image"),
        ("--mask alpha", "no alpha channel"),
        ("--strength 0.5 --seeds 1,1", "twice"),
        ("--strength 0.5 --guidance 3", "guidance without a condition"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(here, refused, options, message):
    Image.new("L", (8, 8)).save(here / "black.png")
    refused(f"edit digits three.png {options} --sampler euler --steps 1 --device cpu", message)


@pytest.mark.usefixtures("three")
def test_an_image_among_earlier_results_is_not_removed_with_them(here, refused, capsys):
    run(["edit", "digits", "three.png", "--strength", "0.5", "--count", "1", *STEPS])
    capsys.readouterr()
    again = "edit digits edits/0.png --strength 0.5 --count 1"
    refused(again, "edits/0.png lies in --out edits")
    refused(
        f"{again.replace('edits/0.png', 'three.png')} --mask edits/0.png", "lies in --out edits"
    )
    run([*again.split(" "), "--out", "more", *STEPS])
    assert (here / "more/0.png").exists()

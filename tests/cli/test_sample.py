"""How `sample --labels` is read, whatever classes are called."""

import json

import pytest

import patch_forcing as pf
from exact import tiny_dit
from patch_forcing.cli.main import run

NAMES = ("tench, Tinca tinca", "cat", " owl ", "cat,owl", "7,8", "1-2", "10", " cat")


@pytest.fixture
def sampled(tmp_path):
    """The labels of the images that --labels gives, of a model of these classes."""
    model = tiny_dit(num_classes=len(NAMES))
    model.data_info = pf.DataInfo(class_names=NAMES)
    model.save(tmp_path / "model")

    def sample(labels: str) -> list[int]:
        out = tmp_path / "samples"
        args = ["--labels", labels, "--sampler", "euler", "--steps", "1", "--out", str(out)]
        run(["sample", str(tmp_path / "model"), *args])
        return [row["label"] for row in json.loads((out / "samples.json").read_text())]

    return sample


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("tench, Tinca tinca", [0]),
        ("cat , tench, Tinca tinca , 4", [1, 0, 4]),
        ("owl", [2]),
        (" owl ,owl", [2, 2]),
        ("cat,owl", [3]),
        ("cat, owl", [1, 2]),
        ("7,8", [4]),
        ("7,1-2,0-1,10", [7, 5, 0, 1, 6]),
        (" cat,cat", [7, 1]),
        ("cat,owl,cat", [3, 1]),
    ],
)
def test_names_may_hold_commas_and_spaces_at_their_ends(sampled, text, labels):
    assert sampled(text) == labels


@pytest.mark.parametrize("text", ["tench", "Tinca tinca", "cat,,owl", "cat,"])
def test_a_part_of_a_name_or_nothing_is_no_class(sampled, text):
    with pytest.raises(pf.UserError, match="unknown class"):
        sampled(text)


def test_precision_is_recorded_and_fp8_needs_a_gpu(tmp_path):
    tiny_dit().save(tmp_path / "model")
    out = tmp_path / "samples"
    args = ["sample", str(tmp_path / "model"), "--steps", "2", "--out", str(out), "--precision"]
    run([*args, "bf16"])
    assert json.loads((out / "samples.json").read_text())[0]["precision"] == "bf16"
    with pytest.raises(pf.UserError, match="fp8 on cpu: choose bf16"):
        run([*args, "fp8", "--device", "cpu"])

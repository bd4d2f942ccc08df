"""The commands as a user types them, on real input at small size."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from patch_forcing.cli.main import run
from tests.support.tiny import SMALL_NETWORK

TINY = [*SMALL_NETWORK, "--batch-size", "8", "--log-every", "1"]


@pytest.mark.parametrize(
    "model",
    [
        "digits",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("emoji-64", "emoji-text")),
    ],
)
def test_demo_writes_images_maps_and_a_film(here, capsys, model):
    run(["demo", "--model", model])
    printed = capsys.readouterr().out
    count = {"digits": 40, "emoji-64": 16, "emoji-text": 8}[model]
    assert printed.startswith(f"{model}: {count} images, maps and a film, into demo; PyTorch is ")
    for name in ("sheet.png", "maps.png", "film.gif"):
        assert f"demo/{name}" in printed
        with Image.open(here / "demo" / name) as picture:
            assert picture.width > 200
    with Image.open(here / "demo" / "film.gif") as film:
        # 50 evaluations but for those level again, and the result
        assert film.n_frames == {"digits": 42, "emoji-64": 42, "emoji-text": 56}[model]


def test_the_end_of_a_training_tells_losses_sheets_and_what_to_try(here, capsys):
    run(["train", "digits", "--steps", "2", *TINY])
    losses, sheets, following = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"2 steps in \d+ s: loss \d\.\d{3} -> \d\.\d{3}", losses)
    sheet = "runs/digits/samples/step-00000002.png"
    assert sheets == f"samples with their difficulty: {sheet}"
    assert following == "next: patch-forcing sample runs/digits --labels 0,1 --count 8"
    run(["train", "digits", "--steps", "2", *TINY, "--sample-every", "0", "--out", "undrawn"])
    assert "no samples were drawn; --sample-every N draws them" in capsys.readouterr().out
    assert not (here / "undrawn" / "samples").exists()


def test_train_then_resume_then_sample(here, capsys):
    run(["train", "digits", "--steps", "2", *TINY])
    run(["train", "digits", "--steps", "3", *TINY])
    printed = capsys.readouterr().out
    assert "3 steps, resumed at 2" in printed
    assert "samples/step-00000003.png, the newest of 2 sheets\n" in printed
    run(["train", "digits", "--steps", "3", *TINY])
    assert "complete at 3 steps" in capsys.readouterr().out
    previews = [file.name for file in (here / "runs/digits/samples").iterdir()]
    assert sorted(previews) == ["step-00000002.png", "step-00000003.png"]
    assert json.loads((here / "runs/digits/run.json").read_text())["recipe"]["steps"] == 3
    run(
        [
            "sample",
            "runs/digits",
            "--labels",
            "3,7",
            "--sampler",
            "dual-loop",
            "--maps",
            "--steps",
            "2",
        ]
    )
    samples = here / "samples"
    assert {str(file.relative_to(samples)) for file in samples.rglob("*") if file.is_file()} == {
        "0.png", "1.png", "sheets/sheet.png", "sheets/maps.png", "samples.json",
    }  # fmt: skip


def test_samples_are_recorded_row_by_row_and_as_an_array(here):
    run([
        "sample", "digits", "--labels", "4", "--seeds", "2-3,9", "--sampler", "euler",
        "--nfe", "4", "--guidance", "2", "--npz", "all.npz", "--out", "out",
    ])  # fmt: skip
    rows = json.loads((here / "out" / "samples.json").read_text())
    assert [row["seed"] for row in rows] == [2, 3, 9]
    assert {row["label"] for row in rows} == {4}
    assert {row["nfe"] for row in rows} == {4}  # two steps, guided
    assert {row["token_evaluations"] for row in rows} == {4 * 16}
    assert rows[0]["grid"] == [0, 0.5, 1]
    assert len({row["model_hash"] for row in rows}) == 1
    array = np.load(here / "all.npz")["arr_0"]
    assert (array.dtype, array.shape) == (np.uint8, (3, 8, 8, 1))
    for row, pixels in zip(rows, array, strict=True):
        with Image.open(here / "out" / f"{row['seed']}.png") as image:
            assert np.array_equal(np.array(image), pixels[:, :, 0])


def test_dry_run_prints_the_resolved_run_and_writes_nothing(here, capsys):
    options = ["--optimizer.lr", "0.5", "--timesteps", "tg:std=0.1"]
    run(["train", "digits", *options, "--dry-run", "--json"])
    resolved = json.loads(capsys.readouterr().out)
    assert resolved["recipe"]["optimizer"]["lr"] == 0.5
    assert resolved["recipe"]["timesteps"] == "tg:std=0.1"
    assert resolved["estimate"]["parameters"] == 724232
    assert resolved["estimate"]["hours"] > 0
    run(["train", "digits", "--dry-run"])
    (sentence,) = capsys.readouterr().out.splitlines()
    assert sentence.startswith("700 steps of 128 images train 0.724 million parameters in about ")
    assert sentence.endswith(" GiB of disk")
    assert not list(here.iterdir())


@pytest.mark.slow
def test_a_dry_run_needs_no_data_where_the_recipe_fixes_their_sizes(here, capsys):
    run(["train", "imagenet256-pft-xl", "--dry-run", "--json", "--device", "cpu"])
    resolved = json.loads(capsys.readouterr().out)
    sizes = {"input_size": [32, 32], "in_channels": 4, "num_classes": 1000}
    assert sizes.items() <= resolved["model"].items()
    assert 670e6 < resolved["estimate"]["parameters"] < 680e6
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        ("train digits --json", "add --dry-run"),
        ("train digits --parallel shard", "torchrun"),
        ("train imagenet256-pft-xl", "data.path is not given"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_an_error(refused, line, mend):
    refused(line, mend)


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["--version"], ["train"], ["train", "--list"], ["train", "--help"]]
)
def test_help_and_lists(capsys, args):
    run(args)
    assert len(capsys.readouterr().out) > 10


@pytest.mark.parametrize("args", [["demo"], ["sample"], ["train", "digits"]])
def test_every_command_explains_its_options_with_defaults(capsys, args):
    with pytest.raises(SystemExit) as end:
        run([*args, "--help"])
    assert end.value.code == 0
    page = capsys.readouterr().out
    assert "--out" in page
    assert "default" in page


WRONG = {
    "trian digits": "did you mean 'train'",
    "train digit": "did you mean 'digits'",
    "train --steps 3": "the recipe comes first",
    "train digits --stepz 3": "did you mean '--steps'",
    "train digits --optimizer.rl 3": "did you mean '--optimizer.lr'",
    "train digits --steps many": "--steps: invalid literal",
    "train digits --track wnadb": "did you mean 'wandb'",
    "train digits --track ": "unknown tracker ''",
    "train digits --track": "missing value for argument '--track'",
    "train digits --sample-every -1": "sample_every=-1",
    "train digits --recommended.guidance-interval 0.1": "argument --recommended.guidance-interval "
    "'0.1': give FLOAT FLOAT: see",
    "sample digits --guidance-interval": "missing value for argument '--guidance-interval': give F",
    "train digits --steps": "missing value for argument '--steps'",
    "train digits --steps 0": "steps=0",
    "train digits --precision fp7": "invalid choice 'fp7'",
    "train digits --recompute-activations some": "invalid choice 'some'",
    "train digits --timesteps lgt": "did you mean 'ltg'",
    "train digits --timesteps ltg:lco=1": "did you mean 'loc'",
    "train digits --network.patch-size 3": "not divisible by patch size 3",
    "train digits --network.num-heads 5": "not divisible by num_heads=5",
    "train digits --device tpu9": "--device 'tpu9' is not on this machine",
    "train digits --seed -1": "seed=-1",
    "train digits more": "one argument too many",
    "sample": "MODEL",
    "sample digitz": "did you mean 'digits'",
    "sample empty": "empty is empty",
    "sample file.txt": "is a file",
    "sample digits --labels 11": "label 11 is out of range: this model knows 0 to 9",
    "sample digits --labels seven": "unknown class 'seven'",
    "sample digits --labels 3,": "unknown class ''",
    "sample digits --labels 7-3": "runs backwards",
    "sample digits --count 3 --seeds 0-2": "--count 3 and --seeds exclude each other",
    "sample digits --count 0": "--count 0 is out of range",
    "sample digits --seeds x": "--seeds 'x'",
    "sample digits --sampler dual-lop": "did you mean 'dual-loop'",
    "sample digits --sampler dual-loop:easy_fracton=1": "did you mean 'easy_fraction'",
    "sample digits --sampler dual-loop:easy_fraction=2": "easy_fraction=2.0 is out of range",
    "sample digits --sampler dual-loop:inner_steps=x": "inner_steps='x' does not fit",
    "sample digits --sampler dual-loop --nfe 1": "1 evaluations are too few",
    "sample digits --steps 3 --nfe 8": "exclude each other",
    "sample digits --steps 0": "steps=0 is out of range",
    "sample digits --labels 1 --guidance -2": "guidance scale -2",
    "sample digits --labels none --guidance 2": "guidance without a condition",
    "sample digits --labels 1 --guidance 2 --guidance-interval 0.9 0.1": "0 <= low < high <= 1",
    "sample digits --out file.txt": "is a file: name a folder",
    "sample digits --batch-size 0": "--batch-size 0 is out of range: choose 1 or more",
    "sample digits --labels 1 --guidance-interval 0.2 0.9": "without guidance",
    "sample digits --seeds 4,4": "4 is there twice",
    "sample digits --npz file.txt": "ends in .npz",
    "sample digits --device hpu": "'hpu' is not on this machine",
    "sample digits --device meta": "'meta' is not on this machine",
    "train digits --optimizer.betas 2 3": "optimizer.betas=2.0 is out of range",
    "train digits --optimizer.lr inf": "optimizer.lr=inf",
    "train digits --nll-weight -1": "nll_weight=-1",
    "train digits --train-only head": "invalid choice 'head'",
    "train digits --train-only difficulty": "add --init-from MODEL",
    "train digits --batch-size 99999999999999999999": "choose a whole number, 1 to 2147483648",
    "demo --out file.txt": "is a file: name a folder",
    "demo --sed 3": "did you mean '--seed'",
    "demo --model emoji64": "unknown bundled model 'emoji64': did you mean 'emoji-64'?",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_ends_in_one_line_with_status_2_and_writes_nothing(here, mistake, line):
    (here / "empty").mkdir()
    (here / "file.txt").write_text("mine")
    assert WRONG[line] in mistake(line)
    assert {file.name for file in here.iterdir()} == {"empty", "file.txt"}


def test_ctrl_c_saves_and_exits_with_130(here):
    """A real process and a real signal."""
    command = [
        sys.executable,
        "-m",
        "patch_forcing",
        "train",
        "digits",
        *TINY,
        "--steps",
        "1000000",
    ]
    process = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True)
    metrics = here / "runs" / "digits" / "metrics.jsonl"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130
    assert message.startswith("patch-forcing: stopped after step")
    assert "saved" in message
    assert len(list((here / "runs" / "digits" / "checkpoints").iterdir())) == 1


@pytest.mark.slow  # a minute of compilation
@pytest.mark.parametrize("timesteps", ["ltg", "ltg:levels=2", "shared-uniform"])
def test_a_compiled_run_learns_as_the_plain_one(here, timesteps):
    """In processes of their own: what checks types in tests cannot be compiled."""
    command = [sys.executable, "-m", "patch_forcing", "train", "digits", *TINY, "--steps", "5"]
    losses = []
    for name, switch in (("plain", "--no-compile"), ("compiled", "--compile")):
        whole = [*command, "--timesteps", timesteps, "--out", name, switch]
        subprocess.run(whole, cwd=here, check=True, capture_output=True)
        rows = (here / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([json.loads(row)["velocity"] for row in rows])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)

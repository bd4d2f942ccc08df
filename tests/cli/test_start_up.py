"""The command line answers before anything large is loaded."""

import json
import re
import subprocess
import sys

import pytest

from patch_forcing.cli.main import COMMANDS
from patch_forcing.runs.recipes import RECIPES
from tests.support.exact import tiny_dit

HELP = [
    [],
    *([command] for command in COMMANDS),
    *(["train", recipe] for recipe in RECIPES),
    *(["bench", name] for name in ("samplers", "speed", "grid")),
    *(["evaluate", name] for name in ("compare", "difficulty")),
    *(["data", name] for name in ("emoji", ".", "shards", "hub")),
    *(["encode", *name] for name in ([], ["."], ["shards"], ["hub"], [".", "--features", "x"])),
]
"""Whatever has a page of help."""
OUT = ["--out", "nothing"]
MISTAKES = [
    (["trian"], "train"),
    (["train", "digit"], "digits"),
    (["train", "digits", "--stpes", "3"], "--steps"),
    (["train", "digits", "--steps", "x"], "--steps"),
    (["train", "digits", "--steps", "0"], "steps=0"),
    (["train", "digits", "--timesteps", "ltg:levls=3"], "levels"),
    (["train", "digits", "--init-from", "nowhere"], "nowhere"),
    (["train", "digits", "--minutes", "0"], "--minutes 0"),
    (["train", "digits", "--minutes", "1", "--steps", "5"], "leave one of the two out"),
    (["train", "folder"], "--data.path"),
    *((["train", name, "--data.path", "nowhere"], "nowhere") for name in RECIPES if name in (
        "folder", "shards", "hub", "emoji-64", "imagenet256-pft-xl", "imagenet256-sit-b"
    )),
    (["sample", "nowhere"], "nowhere"),
    (["sample", "digits", "--sampler", "eulr"], "euler"),
    (["sample", "digits", "--grid", "shfted"], "shifted"),
    (["sample", "digits", "--guidance-schedule", "liner"], "linear"),
    (["sample", "digits", "--guidance-kind", "noiser", "--guidance", "2"], "noisier"),
    (["sample", "digits", "--guidance-kind", "noisier:ratoi=1", "--guidance", "2"], "ratio"),
    (["sample", "digits", "--guidance-kind", "noisier"], "other than 1"),
    (["sample", "digits", "--precision", "fp4"], "fp8"),
    (["sample", "digits", "--device", "gpu"], "cpu"),
    (["sample", "digits", "--autoguidance", "nowhere"], "nowhere"),
    (["sample", "digits", "--seeds", "1,1"], "twice"),
    (["sample", "emoji-64", "--labels", "cta"], "'cat-face'? patch-forcing info emoji-64 lists"),
    (["sample", "digits", "--labels", "3,10"], "label 10"),
    (["sample", "digits", "--prompt", "a cat"], "--prompt 'a cat': digits takes --labels: give"),
    (["sample", "digits", "--prompt", "a", "--prompt", "b"], "--prompt a and 1 more: digits"),
    (["edit", "emoji-64", "nowhere.png", "--strength", "0.5", "--labels", "cta"], "cat-face"),
    (["edit", "digits", "nowhere.png", "--strength", "1", "--prompt", "a cat"], "takes --labels"),
    (["edit", "nowhere", "nowhere.png", "--strength", "0.5"], "nowhere"),
    (["edit", "digits", "nowhere.png", "--strength", "0.5"], "nowhere.png"),
    (["edit", "digits", "nowhere.png"], "nothing says what may change"),
    (["edit", "digits", "nowhere.png", "--box", "1,2"], "left,top,width,height"),
    (["edit", "digits", "nowhere.png", "--strength", "0.5", "--sampler", "eulr"], "euler"),
    (["push", "nowhere", "me/x"], "nowhere"),
    (["push", "digits", "digits"], "OWNER/NAME"),
    (["push", "digits", "me/x", "--evaluation", "nowhere.json"], "nowhere.json"),
    (["doctor", "--jsn"], "--json"),
    (["sample", "me/x@v2", "--seeds", "1,1"], "twice"),
    (["sample"], "MODEL is missing"),
    (["sample", "--like", "nowhere.png"], "nowhere.png"),
    (["studio", "nowhere"], "nowhere"),
    (["studio", "digits", "--port", "0"], "--port 0"),
    (["studio", "digits", "--host", "nowhere.invalid"], "--host nowhere.invalid"),
    (["info", "nowhere"], "nowhere"),
    (["demo", "--model", "emoji"], "emoji-64"),
    (["bench", "speeds", "digits"], "speed"),
    *((["bench", name, "nowhere"], "nowhere") for name in ("samplers", "speed", "grid")),
    (["bench", "samplers", "digits", "--samplers", "eulr"], "euler"),
    (["encode", "nowhere", "--autoencoder", "pixels", *OUT], "nowhere"),
    (["data", "nowhere"], "no folder nowhere"),
    (["data", "shards", "nowhere"], "nowhere"),
    (["data", "emoji", "--fnt", "x"], "--font"),
    (["ema", "nowhere", "--width", "0.1", *OUT], "nowhere"),
    (["convert", "nowhere.pt", *OUT], "nowhere.pt"),
    (["plot", "nowhere"], "nowhere"),
    (["resume", "nowhere"], "nowhere"),
    (["evaluate", "nowhere", "--reference", "emoji"], "nowhere"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--metrics", "fid"], "fd"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--out", "x.txt"], ".json"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--sampler", "eulr"], "euler"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--labels", "cta"], "cat-face"),
    (["evaluate", "digits", "--reference", "emoji", "--prompt", "a cat"], "takes --labels"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--count", "0"], "--count"),
    (["evaluate", "emoji-64", "--reference", "nowhere"], "--reference nowhere is not there"),
    (["evaluate", "emoji-64", "--reference", "hub:nowhere"], "--reference nowhere"),
    (["evaluate", "emoji-64", "--reference", "nowhere.tar"], "--reference nowhere.tar"),
    (["evaluate", "nowhere.npz", "--reference", "emoji"], "nowhere.npz is not there"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--features", "emoj"], "'emoji'"),
    (["evaluate", "emoji-64", "--reference", "emoji", "--train", "nowhere"], "nowhere is not"),
    (["evaluate", "difficulty", "emoji-64", "nowhere"], "nowhere"),
    (["evaluate", "difficulty", "nowhere", "."], "nowhere"),
    (["evaluate", "difficulty", "emoji-64", ".", "--timesteps", "lgt"], "ltg"),
]  # fmt: skip
"""Commands that cannot be done, and what their line of error names."""

SCRIPT = """
import contextlib, io, json, sys
from patch_forcing.cli.main import run
ends = []
for args in json.loads(sys.argv[1]):
    end = ""
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            run(args)
        except SystemExit:
            pass
        except ValueError as error:
            end = str(error)
    ends.append([end, page.getvalue()])
    assert "torch" not in sys.modules, args
print(json.dumps(ends))
"""


def ends(commands: list[list[str]], folder) -> list[list[str]]:
    """The error and the printed page of each command, all run in one process without torch."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(commands)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_large(option):
    script = (
        "import sys; from patch_forcing.cli.main import run; run([sys.argv[1]]); "
        "assert not {'torch', 'numpy', 'PIL', 'tyro'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", script, option]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "patch-forcing" in run.stdout


def test_every_page_of_help_is_printed_without_torch_and_names_no_none(tmp_path):
    pages = ends([[*command, "--help"] for command in HELP], tmp_path)
    for command, (error, page) in zip(HELP, pages, strict=True):
        assert not error, command
        assert "patch-forcing" in page, command
        assert "None" not in page, command
        assert page.startswith("usage:"), command
        assert "Such as: patch-forcing" in page or "[OPTIONS]\n" in page, command
        assert "(default:)" not in page.replace(" ", ""), command


def test_a_mistake_is_named_before_torch_is_loaded_and_writes_nothing(tmp_path):
    commands = [args for args, _ in MISTAKES]
    for (args, named), (error, page) in zip(MISTAKES, ends(commands, tmp_path), strict=True):
        assert named in error, (args, error)
        assert not page, args
        assert "\n" not in error, args
    assert not [*tmp_path.iterdir()]


def test_conditions_of_another_kind_are_named_before_torch_is_loaded(tmp_path):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(tmp_path / "texts")
    tiny_dit(num_classes=0).save(tmp_path / "nothing")
    edit = ["edit", "texts", "nowhere.png", "--strength", "1"]
    commands = (
        ["sample", "texts", "--labels", "cat"],
        [*edit, "--labels", "cat"],
        ["evaluate", "texts", "--reference", "emoji", "--labels", "cat"],
        ["sample", "nothing", "--prompt", "cat"],
    )
    takes = "--labels cat: texts takes --prompt: give those"
    neither = "--prompt: nothing knows neither classes nor texts: leave it out"
    errors = [error for error, _ in ends(commands, tmp_path)]
    assert errors == [takes, takes, takes, neither]


def test_the_options_of_a_training_that_one_needs_first_come_first(tmp_path):
    ((_, page),) = ends([["train", "folder", "--help"]], tmp_path)
    names = ["out", "init-from", "minutes", "device", "dry-run", "steps", "batch-size"]
    known = re.findall(r"^[│ ]*--([\w.-]+)", page, re.MULTILINE)
    places = [known.index(name) for name in [*names, "sample-every", "timesteps"]]
    assert places == sorted(places)
    assert "Such as: patch-forcing train folder --data.path" in page

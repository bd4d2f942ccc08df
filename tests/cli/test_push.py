"""`push` as a user types it, to a Hub on this machine; and uploads that fail."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from huggingface_hub import ModelCard

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.generation.find import find_bundled
from patch_forcing.io.run_layout import ema_folder, newest_sound
from tests.support.hub import TOKEN, Fault, Repository
from tests.support.tiny import SMALL_NETWORK

FILES = {"README.md", "config.json", "model.safetensors"}
SHORT = ["--batch-size", "8", "--steps", "2", "--sample-every", "0", "--snapshot-every", "0"]
PUSH = ["push", "digits", "me/digits", "--no-sheet"]


def card_of(hub, hub_id="me/digits"):
    return ModelCard(hub.repositories[hub_id].files["README.md"].decode())


def test_a_dry_run_says_what_would_go_and_can_keep_it(hub, here, capsys):
    run(["push", "digits", "me/digits", "--dry-run", "--out", "shared"])
    (here / "other").mkdir()
    assert (here / "shared").stat().st_mode == (here / "other").stat().st_mode
    printed = capsys.readouterr().out
    assert hub.asked == []
    assert printed.startswith("would be uploaded to me/digits, branch main:\n  README.md ")
    assert printed.endswith("nothing was sent; the folder is shared\n")
    assert {file.name for file in (here / "shared").iterdir()} == FILES | {"sheet.png"}
    assert pf.load("shared").hash == pf.load("digits").hash
    card = ModelCard.load(here / "shared" / "README.md")
    assert card.data.to_dict() == {
        "license": "apache-2.0",
        "library_name": "patch-forcing",
        "tags": ["patch-forcing", "flow-matching", "diffusion-transformer", "pixel-space",
                 "image-generation", "class-conditional", "arxiv:2604.19141"],
    }  # fmt: skip
    assert "![Samples of the model, seeds from 0](sheet.png)" in card.text


def test_what_is_pushed_is_what_others_load(hub, here, capsys):
    run(PUSH)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"{hub.url}/me/digits/commit/{hub.repositories['me/digits'].at('main')}"
    assert printed[-1] == "next: patch-forcing sample me/digits --count 8"
    files = hub.repositories["me/digits"].files
    assert set(files) == FILES | {".gitattributes"}
    bundled = find_bundled("digits")
    for name in ("config.json", "model.safetensors"):
        assert files[name] == (bundled / name).read_bytes()
    names: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", card_of(hub).text, re.DOTALL)[1], names)
    assert (here / "image.png").is_file()
    assert names["pipe"].name == "me/digits"


@pytest.fixture
def trained(here):
    run(["train", "digits", *SMALL_NETWORK, *SHORT, "--out", "run"])
    return here / "run"


def record(pipe, **changes):
    """A record as `evaluate` writes it, of made-up numbers."""
    row = {"name": "Fréchet distance, named FID with Inception", "value": 12.5, "low": 11.0}
    row |= {"high": 14.0, "error": 0.8, "n": 100, "n_reference": 50}
    return {
        "kind": "evaluation", "format_version": 1, "n": 100, "hardware": "a CPU",
        "subject": {"name": "run", "model_hash": pipe.hash},
        "sampling": {"sampler": "euler", "nfe": 8.0, "guidance": 1},
        "reference": {"name": "/home/someone/held-out", "hash": "ab"}, "date": "2026-11-30",
        "results": [{"features": "emoji a22ea8", "metrics": {
            "fd": row, "kid": {**row, "value": float("nan")}}}],
    } | changes  # fmt: skip


def test_a_run_goes_with_its_recipe_and_its_evaluations(hub, trained, here, capsys):
    pipe = pf.load("run")
    (here / "a.json").write_text(json.dumps(record(pipe)))
    capsys.readouterr()
    run(["push", "run", "me/scans", "--no-sheet", "--evaluation", "a.json", "--private"])
    printed = capsys.readouterr().out
    assert "the card states no licence of the weights; --license" in printed
    repository = hub.repositories["me/scans"]
    assert repository.private
    weights = ema_folder(newest_sound(trained)) / "model.safetensors"
    assert repository.files["model.safetensors"] == weights.read_bytes()
    card = card_of(hub, "me/scans")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("fd", 12.5)
    assert (result.dataset_name, result.metric_args["interval_95"]) == ("held-out", [11.0, 14.0])
    assert "100 samples by euler, 8 evaluations, against `held-out`." in card.text
    assert "| steps | 2 of 8 images |" in card.text
    assert "| recipe | `patch-forcing train digits` |" in card.text
    assert "| data | UCI's optical recognition of handwritten digits" in card.text
    assert "| weights | not stated by whoever shared it" in card.text
    assert str(here) not in card.content
    assert "someone" not in card.content


def test_a_card_that_somebody_changed_stays_unless_a_new_one_is_wanted(hub, capsys):
    run(PUSH)
    run([*PUSH, "--data", "scans of 43 people"])  # ours gives way to ours
    assert "scans of 43 people; their licence: CC BY 4.0" in card_of(hub).text
    repository = hub.repositories["me/digits"]
    repository.commit({"README.md": b"mine\n" + repository.files["README.md"]})
    capsys.readouterr()
    run(PUSH)
    assert "README.md there was changed by hand and stays" in capsys.readouterr().out
    assert repository.files["README.md"].startswith(b"mine\n")
    run([*PUSH, "--new-card"])
    assert repository.files["README.md"].startswith(b"---\n")


def test_a_branch_is_made_and_the_main_one_stays(hub, capsys):
    run(PUSH)
    before = hub.repositories["me/digits"].at("main")
    capsys.readouterr()
    run([*PUSH, "--revision", "v2", "--data", "others"])
    assert "next: patch-forcing sample me/digits@v2" in capsys.readouterr().out
    assert hub.repositories["me/digits"].at("main") == before
    assert pf.load("me/digits@v2").hash == pf.load("digits").hash


def test_an_upload_that_fails_changes_nothing_and_may_be_tried_again(hub, mistake):
    hub.faults.append(Fault("PUT", cut=1000))
    assert "me/digits is not uploaded: it cannot be reached (" in mistake(" ".join(PUSH))
    assert set(hub.repositories["me/digits"].files) == {".gitattributes"}
    hub.faults = [Fault("PUT", status=503, times=1), Fault("POST .*/commit/", status=500)]
    assert "it answers 500: try again later" in mistake(" ".join(PUSH))
    assert set(hub.repositories["me/digits"].files) == {".gitattributes"}
    hub.faults.clear()
    hub.asked.clear()
    run(PUSH)
    assert set(hub.repositories["me/digits"].files) == FILES | {".gitattributes"}
    assert not [line for line in hub.asked if line.startswith("PUT")]  # it is there already


WRONG = {
    "push digits": "OWNER/NAME",
    "push digits digits": "'digits' is no name of a repository: write OWNER/NAME",
    "push digits https://huggingface.co/me/digits": "is no name of a repository",
    "push nowhere me/x": "unknown model or folder 'nowhere'",
    "push empty me/x": "empty is empty",
    "push digits me/x --out empty": "--out empty exists: name another folder",
    "push digits me/x --evaluation none.json": "--evaluation none.json is not there",
    "push digits me/x --dry-run --evaluation no.json": "no.json is no record of patch-forcing",
    "push digits me/x --dry-run --evaluation a.json": "a.json is of another model (0123)",
    "push digits me/x --dry-run --evaluation b.json": "b.json is of images, not of a model",
    "push digits me/x --dry-run --autoencoder a/b": "the model names none: leave it out",
    "push digits me/x --dry-run --text-encoder a/b": "the model names none: leave it out",
    "push digits you/x": "you/x is not uploaded: this token may not do that (403)",
    "push digits me/bert": "me/bert holds something else (config.json)",
    "push digits me/shots": "me/shots holds something else (cat.png), no model of patch-forcing",
    "push digits me/open --private": "me/open is there and public: leave --private out",
    "push digits me/x --licence mit": "did you mean '--license'",
}


@pytest.mark.parametrize("line", WRONG)
def test_mistakes_write_nothing_here_or_there(hub, here, refused, line):
    (here / "empty").mkdir()
    (here / "no.json").write_text("{}")
    other = pf.load("digits")
    other.hash = "0123"
    (here / "a.json").write_text(json.dumps(record(other)))
    images = {"subject": {"name": "x"}, "sampling": None}
    (here / "b.json").write_text(json.dumps(record(other, **images)))
    for name, files in (
        ("bert", {"config.json": b"{}"}),
        ("shots", {"cat.png": b""}),
        ("open", {}),
    ):
        hub.repositories[f"me/{name}"] = Repository()
        hub.repositories[f"me/{name}"].commit(files)
    before = {name: one.branches.copy() for name, one in hub.repositories.items()}
    refused(line + " --no-sheet" * ("you/x" in line), WRONG[line])
    assert {name: one.branches for name, one in hub.repositories.items()} == before


def test_without_a_token_or_the_package_it_is_said(hub, refused, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    refused("push digits me/x", "me/x: this token may not do that (401)")
    monkeypatch.delenv("HF_TOKEN")
    refused("push digits me/x", "me/x: there is no token: log in (hf auth login, or HF_TOKEN)")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused("push digits me/x", "push needs huggingface_hub, whose cards it writes: pip install")
    assert hub.repositories == {}


@pytest.mark.slow  # processes of their own, as a user's
def test_a_process_that_dies_in_the_upload_is_followed_by_one_that_ends_it(hub, here):
    names = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(here / "home")}
    environment = os.environ | names | {"HF_HUB_DISABLE_XET": "1"}

    def start(line):
        command = [sys.executable, "-m", "patch_forcing", *line.split()]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    hub.faults.append(Fault("PUT", cut=1000))
    first = start("push digits me/digits --no-sheet")
    while not any(line.startswith("PUT") for line in hub.asked) and first.poll() is None:
        time.sleep(0.05)
    first.kill()
    first.communicate()
    assert set(hub.repositories["me/digits"].files) == {".gitattributes"}
    hub.faults.clear()
    second = start("push digits me/digits --no-sheet")
    assert (second.communicate()[1], second.returncode) == ("", 0)
    third = start("sample me/digits --count 2 --out out")
    assert (third.communicate()[1], third.returncode) == ("", 0)
    assert (here / "out" / "1.png").is_file()
    fourth = start("sample me/none")
    error = fourth.communicate()[1]
    assert (len(error.splitlines()), fourth.returncode) == (1, 2)

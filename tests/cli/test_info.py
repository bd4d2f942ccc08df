"""What `info` says of models and runs."""

import json
from shutil import rmtree

import pytest

from patch_forcing.cli.main import run
from patch_forcing.generation.find import find_bundled
from patch_forcing.models.folder import read_config
from patch_forcing.runs.describe import folder_size
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train


def message(capsys, *words):
    run(["info", *words])
    return capsys.readouterr().out


def facts(capsys, *words):
    return json.loads(message(capsys, *words, "--json"))


def test_a_bundled_model_with_its_classes_and_advice(capsys):
    known = facts(capsys, "emoji-64")
    assert known["images"] == "64×64 pixels, 3 channels"
    assert known["network"] == "10 blocks of width 320 and 5 heads, 19.0 million weights"
    assert (len(known["classes"]), known["classes"][12]) == (99, "cat-face")
    assert known["samples"] == (
        "by adams-bashforth, 24 steps, 37 evaluations an image, 13 of them for guidance"
    )
    assert known["recommends"] == "16 labels, guidance 3 at t 0.1 … 0.8"
    text = message(capsys, "emoji-64")
    assert "99 classes:\n    0 face-smiling  1 face-affection" in text
    assert "--labels face-smiling,face-affection --count 8" in text


def test_alone_it_lists_models_and_recipes(capsys):
    known = facts(capsys)
    assert known["models"]["emoji-64"] == "64×64 pixels, 99 classes"
    assert known["recipes"].keys() == RECIPES.keys()
    assert "  folder " in message(capsys)


def test_a_run_and_how_far_it_got(capsys, recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    known = facts(capsys, str(tmp_path / "run"))
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert known["recipe"] == "digits"
    assert known["steps"] == f"{recipe.steps} of {recipe.steps} saved"
    assert known["loss"].startswith(f"{row['total']:.4f} at step {row['step']}, ")
    assert known["disk"].startswith(f"{folder_size(tmp_path / 'run') / 1e6:,.1f} MB in ")
    assert known["classes"] == "0 to 9"


def test_a_run_without_a_checkpoint(capsys, recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    rmtree(tmp_path / "run" / "checkpoints")
    known = facts(capsys, str(tmp_path / "run"))
    assert known["steps"] == f"0 of {recipe.steps} saved"
    assert "classes" not in known


def test_the_bundled_model_recommends_what_its_recipe_does():
    bundled = read_config(find_bundled("emoji-64")).sampling_info.recommended
    assert bundled == RECIPES["emoji-64"].recipe.recommended


@pytest.mark.parametrize("half", ["", "{", '{"step": 2'])
def test_of_metrics_the_last_whole_line_counts(capsys, recipe, tmp_path, half):
    train("digits", recipe, tmp_path / "run", progress=False)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as stream:
        stream.write(half)
    assert f"at step {recipe.steps}," in facts(capsys, str(tmp_path / "run"))["loss"]


@pytest.mark.usefixtures("here")
def test_mistakes_are_one_line(mistake):
    assert "unknown model or folder 'emoji64'" in mistake("info emoji64")
    assert "did you mean 'emoji-64'?" in mistake("info emoji64")

"""`patch-forcing data` as a user types it, on a font of a few emoji."""

import json

import pytest

from patch_forcing.cli.main import run
from patch_forcing.data import atlas
from patch_forcing.data.atlas import load_atlas
from tests.support.emoji_font import font_and_list


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the font and the list, of a machine on which neither is installed."""
    font_and_list(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atlas, "_FONTS", ())
    monkeypatch.setattr(atlas, "_LISTS", ())
    return tmp_path


def test_emoji_are_built_counted_and_what_comes_next_is_said(here, capsys):
    run(["data", "emoji", "--font", "few.ttf", "--emoji-test", "emoji-test.txt"])
    assert capsys.readouterr().out.splitlines() == [
        "5 emoji in 2 groups and 3 subgroups: data/emoji/atlas.png",
        "2 of the list are not in the font and were left out",
        "next: patch-forcing train emoji-64 --data.path data/emoji",
    ]
    assert len(load_atlas(here / "data" / "emoji").emoji) == 5


def test_what_is_installed_needs_no_options_and_nothing_left_out_is_not_mentioned(
    here, capsys, monkeypatch
):
    list_file = here / "emoji-test.txt"
    rows = list_file.read_text(encoding="utf-8").splitlines()
    drawn = "\n".join(row for row in rows if "pirate" not in row and "big eyes" not in row)
    list_file.write_text(drawn, encoding="utf-8")
    monkeypatch.setattr(atlas, "_FONTS", (str(here / "few.ttf"),))
    monkeypatch.setattr(atlas, "_LISTS", (str(list_file),))
    run(["data", "emoji", "--out", "deep/here"])
    message = capsys.readouterr().out
    assert "5 emoji in 2 groups and 3 subgroups: deep/here/atlas.png" in message
    assert "left out" not in message
    manifest = json.loads((here / "deep" / "here" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["font"]["file"] == "few.ttf"
    assert manifest["left_out"] == []


def test_the_same_command_again_makes_the_atlas_again(here, capsys):
    command = ["data", "emoji", "--font", "few.ttf", "--emoji-test", "emoji-test.txt"]
    run(command)
    (here / "data" / "emoji" / "atlas.png").write_bytes(b"broken")
    run(command)
    first, second = capsys.readouterr().out.split("next: ")[:2]
    assert first in second
    assert len(load_atlas(here / "data" / "emoji").emoji) == 5


@pytest.mark.parametrize("args", [["data"], ["data", "-h"], ["data", "--help"]])
def test_the_command_lists_its_data_sets(capsys, args):
    run(args)
    message = capsys.readouterr().out
    assert "patch-forcing data NAME" in message
    assert "\nemoji " in message


def test_emoji_explains_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        run(["data", "emoji", "--help"])
    assert end.value.code == 0
    message = capsys.readouterr().out
    for option in ("--out", "--font", "--emoji-test", "data/emoji", "default"):
        assert option in message


GIVEN = "--font few.ttf --emoji-test emoji-test.txt"
WRONG = {
    "data emojy": "there is no folder emojy, and no data set of that name: did you mean 'emoji'?",
    "data digits-8": "no data set of that name: give a folder that is there, or emoji",
    "data --out here": "'--out' is no data set: write its name first, as in data emoji",
    "data emoji more": "'more' is one argument too many",
    "data emoji --fnt few.ttf": "unknown option '--fnt': did you mean '--font'",
    "data emoji --emoji_tset few.ttf": "did you mean '--emoji-test'",
    "data emoji --font": "missing value for argument '--font'",
    f"data emoji {GIVEN} --out few.ttf": "few.ttf is a file: name a folder",
    f"data emoji {GIVEN} --out few.ttf/emoji": "few.ttf is a file: name a folder",
    f"data emoji {GIVEN} --out mine": "mine holds other files: name an empty or a new folder",
    "data emoji --font nowhere.ttf --emoji-test emoji-test.txt": "nowhere.ttf is not there",
    "data emoji --font few.ttf --emoji-test nowhere.txt": "nowhere.txt is not there",
    "data emoji --font few.ttf --emoji-test few.ttf": "lists no fully-qualified emoji",
    "data emoji --font emoji-test.txt --emoji-test emoji-test.txt": "cannot be read as a font",
    "data emoji --font few.ttf": "no emoji-test.txt on this machine: Debian: apt install",
    "data emoji --emoji-test emoji-test.txt": "no colour emoji font on this machine: Debian: apt",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_ends_in_one_line_with_status_2_and_writes_nothing(here, refused, line):
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("mine")
    refused(line, WRONG[line])


def test_the_smoke_recipe_trains_on_the_atlas_resumes_and_samples_its_classes(here, capsys):
    run(["data", "emoji", "--font", "few.ttf", "--emoji-test", "emoji-test.txt"])
    train = ["train", "emoji-64-smoke", "--out", "run", "--device", "cpu"]
    run([*train, "--steps", "10"])
    run(train)
    assert "30 steps, resumed at 10" in capsys.readouterr().out
    losses = [
        json.loads(line)["velocity"]
        for line in (here / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert losses[-1] < 0.95 * losses[0]
    name = load_atlas(here / "data" / "emoji").subgroups[1]
    run(["sample", "run", "--labels", name, "--seeds", "0-1", "--nfe", "8", "--guidance", "2"])
    assert (here / "samples" / "1.png").is_file()


def test_training_without_the_atlas_says_how_to_make_it(here, mistake):
    message = mistake("train emoji-64-smoke")
    assert "data/emoji holds no emoji atlas: make it with" in message
    assert not (here / "runs").exists()

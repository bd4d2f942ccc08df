"""What cannot become an atlas, and what is none, is refused by name and left as it was."""

import json
from pathlib import Path

import pytest
from PIL import features

from patch_forcing.core.errors import UserError
from patch_forcing.data import atlas
from patch_forcing.data.atlas import build_atlas, load_atlas
from tests.support.emoji_font import LIST, contents, emoji_font, font_and_list

PACKAGES = {
    "font": ("fonts-noto-color-emoji", "google-noto-color-emoji-fonts", "font-noto-color-emoji"),
    "list": ("unicode-data", "unicode-emoji", "https://unicode.org/Public/emoji/"),
}


@pytest.mark.parametrize(
    "names",
    [["notes.txt"], ["manifest.json", "model.safetensors"], ["atlas.png", "hero.png"], ["sub/x"]],
)
def test_a_folder_with_other_files_is_refused_and_stays(files, tmp_path, names):
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="mine holds other files: name an empty or a new folder"):
        build_atlas(tmp_path / "mine", *files)
    assert contents(tmp_path) == before


def test_a_file_is_no_folder_for_an_atlas(files, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="mine"):
        build_atlas(tmp_path / "mine", *files)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("missing", PACKAGES)
def test_what_is_not_installed_is_named_with_its_packages(files, tmp_path, monkeypatch, missing):
    monkeypatch.setattr(atlas, {"font": "_FONTS", "list": "_LISTS"}[missing], ())
    given_files = {"font": (None, files[1]), "list": (files[0], None)}[missing]
    with pytest.raises(UserError, match=r"on this machine.*Debian: .*Fedora: .*macOS: ") as error:
        build_atlas(tmp_path / "emoji", *given_files)
    message = str(error.value)
    assert all(package in message for package in PACKAGES[missing])
    assert message.endswith({"font": "--font", "list": "--emoji-test"}[missing])
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "emoji").exists()


def test_the_first_installed_font_and_list_are_used(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    nowhere, text = str(tmp_path / "nowhere.ttf"), str(files[1])
    monkeypatch.setattr(atlas, "_FONTS", (nowhere, "~/files/few.ttf", text))
    monkeypatch.setattr(atlas, "_LISTS", (nowhere, text, nowhere))
    result, _ = build_atlas(tmp_path / "found")
    named, _ = build_atlas(tmp_path / "named", *files)
    assert result.emoji == named.emoji
    assert result.tiles.equal(named.tiles)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_named_file_that_is_not_there_is_refused_by_name(files, tmp_path, missing):
    named = list(files)
    named[missing] = tmp_path / "nowhere"
    with pytest.raises(UserError, match="nowhere is not there"):
        build_atlas(tmp_path / "emoji", *named)
    assert not (tmp_path / "emoji").exists()


def test_a_file_that_is_no_font_is_refused_by_name(files, tmp_path):
    with pytest.raises(UserError, match=r"emoji-test\.txt cannot be read as a font"):
        build_atlas(tmp_path / "emoji", files[1], files[1])
    assert not (tmp_path / "emoji").exists()


@pytest.mark.parametrize(
    "name",
    [
        "grinning face",
        "red heart",
    ],
)
def test_a_font_without_colour_is_refused(tmp_path, name):
    # no edge of the face lies between pixels, some of the heart's do
    font_and_list(tmp_path)
    one = tmp_path / "one.txt"
    one.write_text("\n".join(row for row in LIST.splitlines() if name in row), encoding="utf-8")
    font = emoji_font(tmp_path / "letters.ttf", colour=False)
    with pytest.raises(UserError, match=r"letters\.ttf draws none .* in colour"):
        build_atlas(tmp_path / "emoji", font, one)
    assert not (tmp_path / "emoji").exists()


def test_a_pillow_that_joins_no_sequences_is_refused(files, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(UserError, match="pip install --upgrade pillow"):
        build_atlas(tmp_path / "emoji", *files)
    assert not (tmp_path / "emoji").exists()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite(change):
    def on(file: Path) -> None:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        change(manifest)
        file.write_text(json.dumps(manifest), encoding="utf-8")

    return on


DAMAGE = {
    "a bit of the sheet": ("atlas.png", flip),
    "half the sheet": ("atlas.png", lambda file: file.write_bytes(file.read_bytes()[:500])),
    "half the manifest": ("manifest.json", lambda file: file.write_bytes(file.read_bytes()[:500])),
    "no text": ("manifest.json", lambda file: file.write_bytes(b"\xff\xfe\x9f")),
    "a list": ("manifest.json", lambda file: file.write_text("[1]")),
    "nothing": ("manifest.json", lambda file: file.write_text("null")),
    "another version": ("manifest.json", rewrite(lambda manifest: manifest.update(format=1))),
    "a row short": ("manifest.json", rewrite(lambda manifest: manifest["emoji"].pop(1))),
    "no identity": ("manifest.json", rewrite(lambda manifest: manifest.pop("identity"))),
    "no sheet named": ("manifest.json", rewrite(lambda manifest: manifest.pop("atlas"))),
    "an emoji short": ("manifest.json", rewrite(lambda manifest: manifest["emoji"][1].pop("name"))),
    "an emoji more": ("manifest.json", rewrite(lambda manifest: manifest["emoji"][1].update(a=1))),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_atlas_is_refused_with_the_command_that_makes_it_again(folder, damage):
    name, change = DAMAGE[damage]
    change(folder / name)
    with pytest.raises(UserError, match="damaged or of another version") as error:
        load_atlas(folder)
    assert str(error.value).startswith(str(folder))
    assert str(error.value).endswith(f"patch-forcing data emoji --out {folder}")


@pytest.mark.parametrize("name", ["atlas.png", "manifest.json"])
def test_a_folder_without_an_atlas_is_refused_with_the_command_that_makes_it(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match="holds no emoji atlas") as error:
        load_atlas(folder)
    assert str(error.value).startswith(str(folder))
    assert str(error.value).endswith(f"patch-forcing data emoji --out {folder}")


@pytest.mark.parametrize("damage", ["a bit of the sheet", "a list"])
def test_a_damaged_atlas_is_made_again(files, folder, built, damage):
    name, change = DAMAGE[damage]
    change(folder / name)
    build_atlas(folder, *files)
    assert load_atlas(folder).tiles.equal(load_atlas(built).tiles)

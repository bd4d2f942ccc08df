"""The atlas holds what the font can draw of the list, and a folder of it is whole or refused."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.data import atlas
from patch_forcing.data.atlas import Atlas, build_atlas, load_atlas, read_emoji_test
from tests.support.emoji_font import LIST, contents, tiny_atlas

NAMES = [
    "grinning face",
    "grinning face with big eyes",
    "heart on fire",
    "red heart",
    "pirate flag",
    "flag: Norway",
    "flag: Svalbard & Jan Mayen",
]
LEFT_OUT = ["grinning face with big eyes", "pirate flag"]
DRAWN = [name for name in NAMES if name not in LEFT_OUT]


# The list


def test_only_fully_qualified_emoji_without_skin_tone_are_listed(files):
    listed = read_emoji_test(files[1])
    assert [emoji.name for emoji in listed] == NAMES
    assert [emoji.group for emoji in listed] == 4 * ["Smileys & Emotion"] + 3 * ["Flags"]
    subgroups = 2 * ["face-smiling"] + 2 * ["heart"] + 3 * ["country-flag"]
    assert [emoji.subgroup for emoji in listed] == subgroups
    assert listed[2].text == "\u2764\ufe0f\u200d\U0001f525"


STATUS = st.sampled_from(["fully-qualified", "minimally-qualified", "unqualified", "component"])
POINTS = st.lists(st.sampled_from([0x23, 0x2764, 0xFE0F, 0x1F600, 0x1F3FA, 0x1F3FB, 0x1F3FF]))
WORD = st.text(st.sampled_from("aZé9:’&-"), min_size=1)
ROWS = st.tuples(st.integers(0, 2), POINTS.filter(len), STATUS, st.lists(WORD, min_size=1))


@given(st.lists(ROWS, min_size=1))
def test_any_list_reads_back(tmp_path_factory, rows):
    lines, expected = ["# emoji-test.txt", "# Version: 15.0"], []
    for number, (heading, points, status, words) in enumerate(rows):
        if heading == 2 or number == 0:
            lines.append(f"# group: G & {number}")
            group = number
        if heading or number == 0:
            lines += ["", f"# subgroup: sub-{number}"]
            subgroup = number
        text, name = "".join(map(chr, points)), " ".join(words)
        written = " ".join(f"{point:04X}" for point in points)
        lines.append(f"{written:<55}; {status:<20} # {text} E0.6 {name}")
        if status == "fully-qualified" and not {0x1F3FB, 0x1F3FF} & set(points):
            expected.append(atlas.Emoji(text, name, f"G & {group}", f"sub-{subgroup}"))
    file = tmp_path_factory.mktemp("list") / "emoji-test.txt"
    file.write_text("\n".join([*lines, "#EOF"]), encoding="utf-8")
    if expected:
        assert read_emoji_test(file) == expected
    else:
        with pytest.raises(UserError, match="lists no fully-qualified emoji"):
            read_emoji_test(file)


@pytest.mark.parametrize("content", [b"", b"# group: Flags\n", b"hello\n", b"\xff\xfe\x00\x9f"])
def test_what_is_no_list_is_refused_by_name(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"list\.txt lists no .*emoji-test\.txt"):
        read_emoji_test(tmp_path / "list.txt")


# Building and loading


def test_what_is_built_is_what_loads(files, tmp_path):
    made, left_out = build_atlas(tmp_path / "deep" / "emoji", *files)
    loaded = load_atlas(tmp_path / "deep" / "emoji")
    assert loaded.emoji == made.emoji
    assert loaded.tiles.equal(made.tiles)
    assert sorted(contents(tmp_path / "deep")) == ["emoji/atlas.png", "emoji/manifest.json"]
    listed = read_emoji_test(files[1])
    assert [emoji for emoji in listed if emoji not in left_out] == list(loaded.emoji)
    assert [emoji.name for emoji in left_out] == LEFT_OUT


def test_a_sheet_of_several_rows_holds_the_tiles_in_reading_order(files, tmp_path):
    many = tmp_path / "many.txt"
    many.write_text(20 * LIST, encoding="utf-8")
    made, left_out = build_atlas(tmp_path / "emoji", files[0], many)
    assert (len(made.emoji), len(left_out)) == (100, 40)
    assert load_atlas(tmp_path / "emoji").tiles.equal(made.tiles)
    with Image.open(tmp_path / "emoji" / "atlas.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (3 * 128, 44 * 128, 4)
    for number in range(3 * 44):
        y, x = 128 * (number // 44), 128 * (number % 44)
        cell = sheet[y : y + 128, x : x + 128]
        expected = made.tiles[number].numpy() if number < 100 else np.zeros_like(cell)
        assert np.array_equal(cell, expected)


def test_labels_count_the_subgroups_in_the_lists_order(built):
    loaded = load_atlas(built)
    assert [emoji.name for emoji in loaded.emoji] == DRAWN
    assert loaded.subgroups == ("face-smiling", "heart", "country-flag")
    assert loaded.labels.tolist() == [0, 1, 1, 2, 2]
    assert [loaded.subgroups[label] for label in loaded.labels] == [
        e.subgroup for e in loaded.emoji
    ]


def test_emoji_of_one_picture_share_a_drawing(built):
    assert load_atlas(built).drawings.tolist() == [0, 1, 2, 3, 3]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_drawings_are_numbered_as_they_first_appear(colours):
    drawings = tiny_atlas(*[(colour, 0, 0, 255) for colour in colours]).drawings
    first = list(dict.fromkeys(colours))
    assert drawings.tolist() == [first.index(colour) for colour in colours]


RED, YELLOW, NOTHING = (204, 0, 51, 255), (255, 204, 0, 255), (0, 0, 0, 0)
SPOTS = {  # the font's layers, at places from the lower left of the 1000 × 1000
    "grinning face": {(500, 500): YELLOW, (50, 50): YELLOW, (950, 950): YELLOW},
    "heart on fire": {(100, 300): RED, (500, 800): YELLOW, (100, 800): NOTHING},
    "red heart": {(500, 350): RED, (50, 350): NOTHING, (150, 850): NOTHING},
    "flag: Norway": {(100, 500): RED, (900, 950): RED, (400, 200): NOTHING},
}


@pytest.mark.parametrize("name", SPOTS)
def test_a_tile_shows_the_layers_of_its_glyph(built, name):
    tile = load_atlas(built).tiles[DRAWN.index(name)]
    for (x, y), colour in SPOTS[name].items():
        assert tuple(tile[127 - y * 128 // 1000, x * 128 // 1000].tolist()) == colour


def test_sizes_compare_between_tiles(built):
    tiles = load_atlas(built).tiles[..., 3].double() / 255
    face, _, heart, flag, _ = tiles.mean(dim=(1, 2)).tolist()
    assert face == pytest.approx(1, abs=0.01)
    assert heart == pytest.approx(0.8 * 0.7 + 0.5 * 0.2 * 0.3, rel=0.02)
    assert flag == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("paper", [0, 255])
def test_a_tile_on_paper_is_the_picture_on_that_paper(built, paper):
    # the heart's stalk is (0, 51, 153), half transparent
    tile = load_atlas(built).tiles[DRAWN.index("red heart")].double()
    share = tile[..., 3:] / 255
    shown = (share * tile[..., :3] + (1 - share) * paper)[127 - 109, 64]
    expected = [0.5 * colour + 0.5 * paper for colour in (0, 51, 153)]
    assert shown.tolist() == pytest.approx(expected, abs=1.5)


def test_the_edge_of_a_colour_is_that_colour(built):
    tile = load_atlas(built).tiles[DRAWN.index("flag: Norway")]
    edge = tile[:, 10][(tile[:, 10, 3] > 40) & (tile[:, 10, 3] < 215)]
    assert len(edge) == 1
    assert (edge[:, 0].double() - 204).abs().max() < 8


def test_the_manifest_records_what_it_was_made_from(files, tmp_path):
    folder = tmp_path / "emoji"
    build_atlas(folder, *files)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    made_of = {"font": files[0], "emoji_test": files[1], "atlas": folder / "atlas.png"}
    for part, file in made_of.items():
        assert manifest[part]["file"] == file.name
        assert manifest[part]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["left_out"] == LEFT_OUT
    assert [row["name"] for row in manifest["emoji"]] == DRAWN


def test_building_again_gives_the_same_files_and_replaces_the_old(files, tmp_path):
    build_atlas(tmp_path / "emoji", *files)
    first = contents(tmp_path / "emoji")
    flags = tmp_path / "flags.txt"
    flags.write_text(LIST[LIST.index("# group: Flags") :], encoding="utf-8")
    build_atlas(tmp_path / "emoji", files[0], flags)
    assert [emoji.name for emoji in load_atlas(tmp_path / "emoji").emoji] == DRAWN[3:]
    build_atlas(tmp_path / "emoji", *files)
    assert contents(tmp_path / "emoji") == first


def test_an_empty_folder_is_filled(files, tmp_path):
    (tmp_path / "emoji").mkdir()
    build_atlas(tmp_path / "emoji", *files)
    assert len(load_atlas(tmp_path / "emoji").emoji) == 5


DEBIAN = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/unicode/emoji/emoji-test.txt"),
)


@pytest.mark.slow
@pytest.mark.skipif(
    not all(file.is_file() for file in DEBIAN), reason="Debian's font and list are not installed"
)
def test_the_atlas_of_debians_font_is_whole(tmp_path):
    if "# Version: 15.0\n" not in DEBIAN[1].read_text(encoding="utf-8"):
        pytest.skip("the counts are those of Unicode 15.0")
    made, left_out = build_atlas(tmp_path / "emoji", *DEBIAN)
    assert left_out == []
    assert len(made.emoji) == len({emoji.text for emoji in made.emoji}) == 1870
    assert len({emoji.group for emoji in made.emoji}) == 9
    assert len(made.subgroups) == 99
    # one picture belongs to one class, so it can be told which a picture shows
    pairs = set(zip(made.drawings.tolist(), made.labels.tolist(), strict=True))
    assert len(pairs) == int(made.drawings.max()) + 1


def test_the_identity_is_of_emoji_and_pixels_however_stored(built):
    made = load_atlas(built)
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    assert made.identity == manifest["identity"]
    strided = Atlas(made.emoji, made.tiles.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3))
    assert strided.identity == made.identity
    pixel = made.tiles.clone()
    pixel[0, 0, 0, 0] ^= 1
    assert Atlas(made.emoji, pixel).identity != made.identity
    renamed = (dataclasses.replace(made.emoji[0], text="x"), *made.emoji[1:])
    assert Atlas(renamed, made.tiles).identity != made.identity

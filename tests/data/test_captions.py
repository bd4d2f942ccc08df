"""Several captions of an image: wherever they are written they are the same, drawn by weight."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.captions import (
    CaptionError,
    Several,
    drawn,
    joined,
    read_caption,
    restored,
    stored,
    texts_of,
    weighted,
)
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.shards import find_shards
from patch_forcing.data.sources import FolderSource, HubSource
from tests.support.image_files import encoded, noise, photos, shard

BOTH = Several(("a cat", "a red cat"), (3.0, 1.0))
ALIKE = Several(("an owl", "a bird"))
PAIRS = st.lists(st.tuples(st.text(min_size=1), st.integers(0, 9)), max_size=5)


@given(PAIRS.filter(lambda pairs: any(weight for _, weight in pairs)))
def test_each_text_is_shown_as_often_as_it_weighs(pairs):
    caption = joined(pairs)
    total = sum(weight for _, weight in pairs)
    shown = Counter(drawn(caption, (k + 0.5) / total) for k in range(total))
    wanted = Counter[str]()
    for text, weight in pairs:
        wanted[text] += weight
    alike = not isinstance(caption, str) and not caption.weights
    if alike or isinstance(caption, str):
        assert len({count for count in wanted.values() if count}) == 1
    assert shown == +wanted
    assert restored(json.loads(json.dumps(stored(caption)))) == caption
    assert joined(weighted(caption)) == caption


@pytest.mark.parametrize("share", [0.0, 1 - 2**-24, 1.0])
def test_a_share_at_the_ends_is_a_text(share):
    for caption in (BOTH, replace_weights(BOTH, (1e-30, 1e30)), ALIKE._replace(texts=("x",) * 7)):
        if share < 1 or caption.weights:
            assert drawn(caption, share) in caption.texts


def replace_weights(caption, weights):
    return caption._replace(weights=weights)


@pytest.mark.parametrize(
    ("value", "weights", "caption"),
    [
        ("a cat ", None, "a cat"),
        (["a cat"], None, "a cat"),
        (["a cat", "", None, "a cat"], None, "a cat"),
        (["an owl", " a bird\r\n"], None, ALIKE),
        (["an owl", "a bird"], [2, 2], ALIKE),
        (["a cat", "a red cat"], [3, 1], BOTH),
        (["a cat", "a red cat", "a dog"], [3, 1, 0], BOTH),
        ([["a cat", 3], ["a red cat", 1]], None, BOTH),
        ([{"text": "a cat", "weight": 3}, {"caption": "a red cat"}], None, BOTH),
        (["a cat", "a red cat", "a cat"], [1, 1, 2], BOTH),
    ],
)
def test_the_forms_of_several_captions(value, weights, caption):
    assert read_caption(value, weights) == caption


@pytest.mark.parametrize(
    ("value", "weights", "why"),
    [
        (None, None, "no caption"),
        ([], None, "no caption"),
        ([" ", None], None, "empty caption"),
        (7, None, "caption 7 is no text"),
        (["a", 7], None, "caption 7 is no text"),
        (["a", "\udfff"], None, "half a character"),
        (["a", "b"], [1], "2 captions with weights .1.: one for each"),
        (["a", "b"], 1, "2 captions with weights 1: one for each"),
        (["a", "b"], [1, -1], "weight -1 of a caption: 0 or more is one"),
        (["a", "b"], [1, float("inf")], "weight inf of a caption"),
        (["a", "b"], [1, "2"], 'weight "2" of a caption is no number'),
        (["a", "b"], [0, 0], "captions that all weigh 0"),
    ],
)
def test_what_is_no_caption_says_why(value, weights, why):
    with pytest.raises(CaptionError, match=why):
        read_caption(value, weights)


def described(root, name, text):
    photos(root, {"": 2})
    (root / name).write_bytes(text.encode())
    return find_images(root)


ROWS = [
    {"file_name": "000.png", "text": list(BOTH.texts), "weights": [3, 1]},
    {"file_name": "001.png", "text": list(ALIKE.texts)},
]
TABLES = {
    "metadata.jsonl": "\ufeff" + "\r\n".join(map(json.dumps, ROWS)) + "\r\n",
    "metadata.csv": "\ufefffile_name,caption,weight\r\n000.png,a cat,3\r\n001.png,an owl,\r\n"
    "000.png,a red cat,1\r\n001.png,a bird,\r\n",
    "captions.json": json.dumps({
        "000.png": [{"text": "a cat", "weight": 3}, "a red cat"],
        "001.png": ALIKE.texts,
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_give_an_image_several_captions(tmp_path, name):
    layout = described(tmp_path, name, TABLES[name])
    assert layout.captions == (BOTH, ALIKE)
    assert (layout.condition, layout.faults, layout.notes.unread) == ("caption", {}, "")


def test_rows_that_differ_otherwise_or_lack_a_caption_are_at_fault(tmp_path):
    text = (
        "file_name,label,text,weight\n000.png,1,a,x\n000.png,1,b,\n001.png,1,a,\n001.png,2,b,\n"
        "002.png,1,a,\n002.png,1,,\n003.png,1,a,\n"
    )
    photos(tmp_path, {"": 4})
    (tmp_path / "metadata.csv").write_text(text)
    layout = find_images(tmp_path, "caption")
    again = "more than one row of metadata.csv names it"
    assert layout.faults == {0: 'weight "x" of a caption is no number', 1: again, 2: again}
    assert layout.notes.unread == "fields weight of metadata.csv"


def test_files_beside_images_and_shards_give_them_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCH_FORCING_CACHE", str(tmp_path / "cache"))
    photos(tmp_path / "folder", {"": 2})
    members = []
    for number, row in enumerate(ROWS):
        text = json.dumps(row).encode("utf-8-sig")
        (tmp_path / "folder" / f"00{number}.json").write_bytes(text)
        members += [(f"00{number}.png", encoded(noise())), (f"00{number}.json", text)]
    shard(tmp_path / "tars" / "x.tar", members)
    first = find_shards(str(tmp_path / "tars"))
    remembered = find_shards(str(tmp_path / "tars"))
    for layout in (find_images(tmp_path / "folder"), first, remembered):
        assert layout.captions == (BOTH, ALIKE)
    assert remembered.identity == first.identity


def test_columns_of_lists_give_them_too(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    rows = {
        "image": [Image.fromarray(noise(seed=n)) for n in range(2)],
        "captions": [row["text"] for row in ROWS],
        "weights": [[3.0, 1.0], None],
    }
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    data = HubSource(path=str(tmp_path / "saved")).open()
    assert data.layout.captions == (BOTH, ALIKE)
    assert data.layout.notes.unread == ""
    assert list(data.all_captions()) == [*BOTH.texts, *ALIKE.texts]


def test_each_epoch_draws_one_by_weight_whatever_the_ranks(tmp_path):
    described(tmp_path, "metadata.jsonl", TABLES["metadata.jsonl"])
    source = FolderSource(str(tmp_path), flip=False)
    data, again = source.open(), source.open()
    shown = Counter[str]()
    for step in range(200):
        spec = BatchSpec(step, 4, 1)
        captions = data.batch(spec).captions
        shown.update(captions)
        ids, epochs = spec.sample_ids(2), spec.epochs(2)
        shares = CountedGenerator(1, ids, epochs).fork("caption").uniform().tolist()
        both = [data.layout.captions[number] for number in ids]
        assert captions == tuple(map(drawn, both, shares))
        if step % 50 == 7:
            parts = [again.batch(replace(spec, places=range(k, k + 2))).captions for k in (0, 2)]
            assert parts[0] + parts[1] == captions
    assert 265 < shown["a cat"] < 335  # 300 ± 4 · 8.7
    assert 160 < shown["an owl"] < 240
    assert shown.total() == 800
    assert shown["a cat"] + shown["a red cat"] == 400


def test_images_held_out_are_looked_at_with_the_same_caption_each_time(tmp_path):
    photos(tmp_path, {"": 12})
    rows = [{"file_name": f"{n:03d}.png", "text": [*"abc"]} for n in range(12)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = FolderSource(str(tmp_path), held_out=0.5)
    held, seen = source.open().examples(9)
    assert source.open().examples(9)[0].batch.captions == held.batch.captions
    assert len({*held.batch.captions, *seen.batch.captions}) > 1
    assert all(texts_of(c) == (c,) for c in held.batch.captions)


def test_a_quarter_is_a_quarter():
    shares = [k / 1000 for k in range(1000)]
    count = sum(drawn(BOTH, share) == "a red cat" for share in shares)
    assert Fraction(count, 1000) == Fraction(1, 4)

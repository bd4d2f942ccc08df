"""Captions survive into latent shards, and come back for the same images."""

import json
from collections import Counter
from dataclasses import replace

import pytest

import patch_forcing as pf
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.captions import Several, texts_of
from patch_forcing.data.latent_shards import CAPTIONS, open_shard, read_index, write_shard
from patch_forcing.data.source import Captioned
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.io.atomic import MANIFEST, write_manifest
from patch_forcing.io.ledger import shard_path
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from tests.support.autoencoders import small_kl
from tests.support.image_files import photos

OPTIONS = EncodeOptions(size=16, batch_size=3, shard_size=5)


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    return load_autoencoder(small_kl(tmp_path_factory.mktemp("kl")))


def encode(images, autoencoder, out):
    source = FolderSource(str(images)).open()
    return Encoding(source, autoencoder, out, OPTIONS).run(progress=False)


def captioned(folder, captions):
    photos(folder, {"": len(captions)})
    for file, caption in zip(sorted(folder.glob("*.png")), captions, strict=True):
        if caption is not None:
            file.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder


TEXTS = [
    "a cat",
    "zwei\nZeilen",
    "é “quoted” \u2028 end",
    '["no", "JSON"]',
    "猫",
    "x" * 999,
    None,
]


def test_captions_come_back_for_the_same_images(kl, tmp_path):
    source = captioned(tmp_path / "images", TEXTS)
    done = encode(source, kl, tmp_path / "out")
    assert done == (2, 2, 0, 6, 1, True)
    layout = FolderSource(str(source)).open().layout
    for shard in range(2):
        arrays = open_shard(shard_path(tmp_path / "out", shard))
        expected = [layout.captions[number] for number in arrays.numbers]
        assert list(arrays.captions) == expected
        assert arrays.labels is None
    data = LatentsSource(str(tmp_path / "out"), sample_posterior=False).open()
    plain = LatentsSource(str(tmp_path / "out"), sample_posterior=False, condition="none").open()
    assert isinstance(data, Captioned)
    assert (data.captioned, plain.captioned) == (True, False)
    assert (data.facts["captions"], "captions" in plain.facts) == (True, False)
    assert ("with captions" in data.summary, "no classes" in plain.summary) == (True, True)
    for step in range(4):
        spec = BatchSpec(step, 4, 0)
        batch, without = data.batch(spec), plain.batch(spec)
        images = [data.image_numbers[n] for n in (data.picture_numbers(spec) % 6).tolist()]
        assert batch.captions == tuple(layout.captions[number] for number in images)
        assert batch.condition is None
        assert without[1:] == (None, None, None)
        assert without.x_1.equal(batch.x_1)
    with pytest.raises(pf.UserError, match=r"out comes with captions: add --network"):
        RECIPES["digits"].recipe.network.config(data)
    assert RECIPES["digits"].recipe.network.config(plain).num_classes == 0
    with pytest.raises(pf.UserError, match=r"condition=class: no image of .* has a label"):
        LatentsSource(str(tmp_path / "out"), condition="class").open()


def test_captions_beside_classes_are_kept_and_either_can_be_chosen(kl, tmp_path):
    photos(tmp_path / "images", {"": 6})
    rows = [
        {"file_name": f"00{n}.png", "label": "ab"[n % 2]} | ({"text": f"text {n}"} if n else {})
        for n in range(6)
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "images" / "metadata.jsonl").write_text(lines)
    encode(tmp_path / "images", kl, tmp_path / "out")
    spec = BatchSpec(0, 12, 0)
    classes = LatentsSource(str(tmp_path / "out")).open()
    assert (classes.num_classes, classes.captioned, classes.info.class_names) == (
        2,
        False,
        ("a", "b"),
    )
    numbers = classes.picture_numbers(spec) % 6
    assert classes.batch(spec).condition.equal(numbers % 2)
    texts = LatentsSource(str(tmp_path / "out"), condition="caption").open()
    assert (texts.captioned, texts.info.class_names, texts.num_classes) == (True, (), 0)
    captions = texts.batch(spec).captions
    numbers = (texts.picture_numbers(spec) % 6).tolist()
    assert captions == tuple(f"text {number}" for number in numbers)
    (bad,) = texts.bad_samples()
    assert bad.reason == "no caption"
    assert 0 not in numbers
    with pytest.raises(pf.UserError, match="format_version=2, now it is 1"):
        source = FolderSource(str(tmp_path / "images"), condition="class").open()
        Encoding(source, kl, tmp_path / "out", OPTIONS)


def test_one_of_several_captions_is_drawn_anew_each_epoch(kl, tmp_path):
    out = tmp_path / "out"
    encode(captioned(tmp_path / "images", ["one"] * 4), kl, out)
    arrays = open_shard(shard_path(out, 0))
    several = [Several(("a", "b", "c", "d"))] * 3 + ["e"]
    write_shard(shard_path(out, 0), arrays._replace(captions=several), {})
    data = LatentsSource(str(out), verify=True).open()
    drawn = [data.batch(BatchSpec(step, 4, 0)).captions for step in range(40)]
    counts = Counter(caption for batch in drawn for caption in batch)
    assert counts.pop("e") == 40
    assert counts.keys() == {*"abcd"}
    assert all(15 < count < 45 for count in counts.values())  # 30 ± 3 · 4.7
    again = LatentsSource(str(out)).open()
    assert again.batch(BatchSpec(7, 4, 0)).captions == drawn[7]
    shares = [again.batch(BatchSpec(7, 4, 0).share(rank, 2)).captions for rank in range(2)]
    assert sum(shares, ()) == drawn[7]
    for seed in (1, 2):  # a draw of its own for each sample and pass
        spec = BatchSpec(1, 6, seed)
        draws = CountedGenerator(seed, spec.sample_ids(4), spec.epochs(4)).fork("caption").uniform()
        rows = [texts_of(several[number]) for number in spec.sample_ids(4)]
        expected = [row[int(u * len(row))] for row, u in zip(rows, draws, strict=True)]
        assert again.batch(spec).captions == tuple(expected)


def test_captions_and_their_weights_come_back(kl, tmp_path):
    photos(tmp_path / "images", {"": 3})
    rows = [
        {"file_name": "000.png", "text": ["a", "b"], "weights": [3, 1]},
        {"file_name": "001.png", "text": ["c", "d"]},
        {"file_name": "002.png", "text": "e"},
    ]
    file = tmp_path / "images" / "metadata.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    encode(tmp_path / "images", kl, tmp_path / "out")
    layout = FolderSource(str(tmp_path / "images")).open().layout
    assert layout.captions == (Several(("a", "b"), (3.0, 1.0)), Several(("c", "d")), "e")
    arrays = open_shard(shard_path(tmp_path / "out", 0))
    assert tuple(arrays.captions) == layout.captions
    assert read_index(tmp_path / "out").captions
    data = LatentsSource(str(tmp_path / "out")).open()
    assert list(data.all_captions()) == [*"abcde"]
    shown = Counter(c for step in range(100) for c in data.batch(BatchSpec(step, 3, 0)).captions)
    assert shown["a"] + shown["b"] == shown["c"] + shown["d"] == shown["e"] == 100
    assert 60 < shown["a"] < 90  # 75 ± 3.5 · 4.3
    assert 32 < shown["c"] < 68  # 50 ± 3.5 · 5


def test_templates_make_captions_of_the_classes_of_latents(kl, tmp_path):
    photos(tmp_path / "images", {"ink/ape": 2, "oil/dog": 2})
    data = FolderSource(str(tmp_path / "images"), depth=2).open()
    Encoding(data, kl, tmp_path / "out", OPTIONS).run(progress=False)
    how = {"path": str(tmp_path / "out"), "levels": "style,thing"}
    templates = ("a {style} of a {thing}", "a {thing}")
    data = LatentsSource(**how, template=templates, template_weights=(1, 0)).open()
    assert (data.captioned, data.num_classes, data.info.class_names) == (True, 0, ())
    spec = BatchSpec(0, 8, 0)
    numbers = (data.picture_numbers(spec) % 4).tolist()
    texts = ["an ink of an ape"] * 2 + ["an oil of a dog"] * 2
    assert data.batch(spec).captions == tuple(texts[number] for number in numbers)
    assert set(data.all_captions()) == set(texts)
    encode(captioned(tmp_path / "more", ["one"]), kl, tmp_path / "texts")
    with pytest.raises(pf.UserError, match=r"data.template: latents of .*texts have no classes"):
        LatentsSource(str(tmp_path / "texts"), template=("a {class}",)).open()


def test_latents_with_captions_train_a_network_of_texts_that_is_sampled(kl, tmp_path, recipe):
    encode(captioned(tmp_path / "images", ["a cat", "an owl", "two dogs"]), kl, tmp_path / "out")
    network = replace(recipe.network, patch_size=1, condition="text", position="rope")
    recipe = replace(recipe, data=LatentsSource(str(tmp_path / "out")), network=network)
    recipe = replace(recipe, steps=2, batch_size=4, checkpoint_every=2, sample_every=0)
    train("latents", recipe, tmp_path / "run", progress=False)
    pipe = pf.load(tmp_path / "run")
    assert set(pipe.model.sampling_info.recommended.conditions.split("\n")) == {
        "a cat", "an owl", "two dogs",
    }  # fmt: skip
    assert pipe(prompt="a cat", seeds=[0], num_steps=1).images[0].size == (16, 16)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'[["a"]]', r"jsonl:2 is damaged"),
        (b'[["a", -1]]', r"jsonl:2 is damaged"),
        (b'["a", "b"', r"jsonl:2 is damaged: start the same"),
        (b'{"a": "b"}', r"jsonl:2 is damaged"),
        (b"[1]", r"jsonl:2 is damaged"),
        (b"\xff", r"jsonl:2 is damaged"),
        (b'["a"]\n["b"]', "has no captions for each sample: bring shards"),
        (None, "is not as long as it was written"),
    ],
)
def test_damaged_captions_are_one_line(kl, tmp_path, line, message):
    out = tmp_path / "out"
    encode(captioned(tmp_path / "images", ["one"] * 3), kl, out)
    file = shard_path(out, 0) / CAPTIONS
    if line is None:
        file.write_bytes(b"")
    else:
        file.write_bytes(b'["one"]\n' + line + b'\n["one"]\n')
        (file.parent / MANIFEST).unlink()
        write_manifest(file.parent)
    with pytest.raises(pf.UserError, match=message):
        LatentsSource(str(out)).open().batch(BatchSpec(0, 3, 0))


def test_a_run_begun_before_the_condition_could_be_chosen_goes_on(kl, tmp_path, recipe):
    photos(tmp_path / "images", {"cat": 4, "owl": 4})
    encode(tmp_path / "images", kl, tmp_path / "out")
    source = LatentsSource(str(tmp_path / "out"))
    network = replace(recipe.network, patch_size=1)
    recipe = replace(recipe, data=source, network=network, sample_every=0)
    recipe = replace(recipe, steps=2, batch_size=4, checkpoint_every=2)
    train("latents", recipe, tmp_path / "run", progress=False)
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    assert record["recipe"]["data"].pop("condition") is None
    file.write_text(json.dumps(record))
    done = train("latents", replace(recipe, steps=3), tmp_path / "run", progress=False)
    assert (done.steps_before, done.steps) == (2, 3)
    other = replace(recipe, data=replace(source, condition="none"))
    with pytest.raises(pf.UserError, match=r"data\.condition=None, now it is 'none'"):
        train("latents", other, tmp_path / "run", progress=False)

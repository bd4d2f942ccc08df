"""Bad samples: named once, replaced, counted; a run with them resumes bitwise, or stops."""

import dataclasses
import json
import re

import pytest

import patch_forcing as pf
from patch_forcing.data.sources import FolderSource, ShardsSource
from patch_forcing.runs.trainer import train
from tests.support.image_files import photos, samples, shard
from tests.support.same_runs import assert_same, losses


def lines(run, name="bad-samples.jsonl"):
    file = run / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def spoil(root, names):
    for name in names:
        (root / name).write_bytes(b"text")
    return root


@pytest.fixture
def spoilt(recipe, tmp_path):
    """A recipe of 6 steps of 8 on 30 images, 9 of them bad."""
    root = photos(tmp_path / "mine", {"cat": 20, "owl": 10})
    spoil(root, [f"cat/{i:03d}.png" for i in range(9)])
    return dataclasses.replace(recipe, data=FolderSource(str(root)))


def test_each_is_named_once_with_its_reason_and_counted(spoilt, tmp_path):
    outcome = train("folder", spoilt, tmp_path / "run", progress=False)
    rows = lines(tmp_path / "run")
    assert sorted(row["path"] for row in rows) == [
        str(tmp_path / "mine" / "cat" / f"{i:03d}.png") for i in range(9)
    ]
    assert {row["reason"] for row in rows} == {"no image of a known kind, or its header is damaged"}
    counts = [row["bad_samples"] for row in lines(tmp_path / "run", "metrics.jsonl")]
    assert counts == [sum(row["step"] <= step for row in rows) for step in range(1, 7)]
    assert counts[0] < counts[-1] == 9 == outcome.bad_samples


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_with_them_resumes_bitwise_and_repeats_no_line(spoilt, tmp_path, stop):
    whole = train("folder", spoilt, tmp_path / "whole", progress=False)
    train("folder", dataclasses.replace(spoilt, steps=stop), tmp_path / "parts", progress=False)
    with (tmp_path / "parts" / "bad-samples.jsonl").open("a") as stream:  # lost with a power cut
        stream.write(json.dumps({"step": stop + 1, "path": "/lost.png", "reason": "lost"}) + "\n{")
    parts = train("folder", spoilt, tmp_path / "parts", progress=False)
    assert parts.steps_before == stop
    assert_same(whole.checkpoint, parts.checkpoint)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    one, other = (
        [row["bad_samples"] for row in lines(tmp_path / run, "metrics.jsonl")]
        for run in ("whole", "parts")
    )
    assert one == other


def test_sound_data_leave_no_file_and_count_none(recipe, tmp_path):
    data = FolderSource(str(photos(tmp_path / "mine", {"": 12})))
    outcome = train("folder", dataclasses.replace(recipe, data=data), tmp_path / "run")
    assert outcome.bad_samples == 0
    assert not (tmp_path / "run" / "bad-samples.jsonl").exists()
    assert {row["bad_samples"] for row in lines(tmp_path / "run", "metrics.jsonl")} == {0}


def test_too_many_stop_the_run_which_goes_on_if_allowed_to(spoilt, tmp_path):
    spoil(tmp_path / "mine", [f"owl/{i:03d}.png" for i in range(3)])  # 12 of 30
    run = tmp_path / "run"
    with pytest.raises(pf.UserError) as stop:
        train("folder", spoilt, run, progress=False)
    message = re.fullmatch(
        r"(1[12]) of (\d+) samples are bad, more than data\.max_bad_share=0\.01, such as "
        r"(\S+\.png): no image [^;]+; (\S+) names all: raise --data\.max-bad-share, .*",
        str(stop.value),
    )
    assert int(message[2]) in (16, 24, 30)  # samples whose turn had come
    assert message[3] == lines(run)[-1]["path"]
    assert message[4] == str(run / "bad-samples.jsonl")
    assert len(lines(run)) == int(message[1])
    with pytest.raises(pf.UserError) as again:  # it does not get further by being started again
        train("folder", spoilt, run, progress=False)
    assert str(again.value) == str(stop.value)
    patient = dataclasses.replace(spoilt.data, max_bad_share=0.5)
    allowed = dataclasses.replace(spoilt, data=patient)
    resumed = train("folder", allowed, run, progress=False)
    assert (resumed.steps, resumed.bad_samples) == (6, 12)
    assert_same(
        train("folder", allowed, tmp_path / "whole", progress=False).checkpoint, resumed.checkpoint
    )


def test_a_few_never_stop_a_run_whatever_their_share(spoilt, tmp_path):
    spoil(tmp_path / "mine", ["owl/000.png"])  # the tenth
    strict = dataclasses.replace(spoilt, data=dataclasses.replace(spoilt.data, max_bad_share=0.0))
    assert train("folder", strict, tmp_path / "run", progress=False).bad_samples == 10


def test_a_folder_that_changed_does_not_resume_and_the_run_is_left_alone(spoilt, tmp_path):
    run = tmp_path / "run"
    train("folder", dataclasses.replace(spoilt, steps=2), run, progress=False)
    result = json.loads((run / "run.json").read_text())["found"]
    assert result["classes"] == {"cat": 20, "owl": 10}
    assert (result["images"], result["size"], result["channels"]) == (30, 20, 3)
    file = tmp_path / "mine" / "owl" / "009.png"
    file.rename(file.with_name("010.png"))
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(pf.UserError, match=r"the data changed since .*: found\.names was '"):
        train("folder", spoilt, run, progress=False)
    photos(tmp_path / "mine", {"yak": 1})
    with pytest.raises(pf.UserError, match=r"found\.images was 30, now it is 31: put back"):
        train("folder", spoilt, run, progress=False)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_without_classes_no_label_is_dropped_and_the_null_row_is_trained(recipe, tmp_path):
    data = FolderSource(str(photos(tmp_path / "mine", {"": 12})))
    plain = dataclasses.replace(recipe, data=data)
    one = train("folder", plain, tmp_path / "one", progress=False)
    dropping = dataclasses.replace(plain, label_dropout=0.9)
    assert_same(one.checkpoint, train("folder", dropping, tmp_path / "two").checkpoint)
    model = pf.load_model(one.checkpoint / "model")
    assert model.config.num_classes == 0
    assert one.num_classes == 0
    assert model.y_embedder.embedding_table.weight.shape == (1, 16)


def test_a_run_on_shards_with_bad_samples_resumes_bitwise_too(recipe, tmp_path):
    rows = samples(30, classes=2)
    for number in (3, 11, 12):
        rows[f"{number:04d}.png"] = rows[f"{number:04d}.png"][:90]
    rows["0020.cls"] = b"owl"
    file = shard(tmp_path / "x.tar", rows)
    recipe = dataclasses.replace(recipe, data=ShardsSource(str(tmp_path / "x.tar")))
    whole = train("shards", recipe, tmp_path / "whole", progress=False)
    train("shards", dataclasses.replace(recipe, steps=3), tmp_path / "parts", progress=False)
    parts = train("shards", recipe, tmp_path / "parts", progress=False)
    assert (parts.steps_before, parts.bad_samples) == (3, 4)
    assert_same(whole.checkpoint, parts.checkpoint)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert {row["path"]: row["reason"] for row in lines(tmp_path / "parts")}[
        f"{file}/0020.png"
    ] == "its .cls is no whole number (for a name: .label)"
    config = json.loads((whole.checkpoint / "model" / "config.json").read_text())
    assert '"class_names": ["0", "1"]' in json.dumps(config)


def test_captions_that_the_network_does_not_take_stop_a_run_before_it_begins(recipe, tmp_path):
    root = photos(tmp_path / "mine", {"": 4})
    for file in list(root.iterdir()):
        file.with_suffix(".txt").write_text("noise")
    captioned = dataclasses.replace(recipe, data=FolderSource(str(root)))
    with pytest.raises(pf.UserError, match=r"mine comes with captions: .* --data\.condition none"):
        train("folder", captioned, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    without = dataclasses.replace(recipe, data=FolderSource(str(root), condition="none"))
    assert train("folder", without, tmp_path / "run", progress=False).steps == 6


def test_other_labels_are_other_data(recipe, tmp_path):
    root = photos(tmp_path / "mine", {"": 4})
    rows = [{"file_name": f"{i:03d}.png", "label": i % 2} for i in range(4)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = dataclasses.replace(recipe, data=FolderSource(str(root)))
    train("folder", dataclasses.replace(recipe, steps=2), tmp_path / "run", progress=False)
    for row in rows:
        row["label"] = 1 - row["label"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(pf.UserError, match=r"the data changed since .*: found\.names was '"):
        train("folder", recipe, tmp_path / "run", progress=False)

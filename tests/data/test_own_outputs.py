"""Our own outputs, and what systems put there, are no part of the data in whose folder they lie."""

import json

import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.data.folder_layout import find_images
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.io.image_file import save_image
from patch_forcing.io.sample_layout import holds_own_samples
from patch_forcing.models.config import DataInfo
from patch_forcing.models.folder import ModelDescription, save_folder
from tests.support.image_files import photos

SHEET = Image.new("RGB", (20, 20))


def run(place):
    """A run that got to a checkpoint and a sheet."""
    (place / "checkpoints" / "step-00000004" / "ema").mkdir(parents=True)
    (place / "run.json").write_text("damaged")
    draw(place / "samples" / "step-00000004.png")


def begun_run(place):
    place.mkdir(parents=True)
    (place / "run.json").write_text('{"name": "folder", "recipe": {}}')
    draw(place / "samples" / "step-00000004.png")


def draw(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    save_image(SHEET, file)


def sampled(place):
    """What `sample` writes."""
    folder = SampleFolder(place)
    with folder.claimed([0, 1]):
        for seed in range(2):
            save_image(SHEET, folder.image(seed))
        save_image(SHEET, folder.sheet)
        folder.write_rows({"seed": s, "sampler": "euler", "model_hash": "0"} for s in range(2))
        folder.finish()


def sampling(place):
    """The same, while it is made."""
    with SampleFolder(place).claimed([0, 1]):
        save_image(SHEET, SampleFolder(place).image(0))


def model(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    save_folder(place, ModelDescription("PatchDiT", {}, DataInfo(), {}))


def latents(place):
    (place / "shards" / "shard-00000").mkdir(parents=True)
    (place / "encode.json").write_text("{}")


OUTPUTS = {
    "runs/folder": (run, "a run"), "mine": (begun_run, "a run"), "a/b/c": (run, "a run"),
    "samples": (sampled, "samples"), "x": (sampling, "samples"), "owl/s": (sampled, "samples"),
    "m": (model, "a model"), "latents": (latents, "latents"),
}  # fmt: skip


@pytest.mark.parametrize("classes", [{"cat": 2, "owl": 1}, {"": 3}])
@pytest.mark.parametrize("place", OUTPUTS)
def test_an_output_among_the_images_changes_nothing(tmp_path, classes, place):
    write, what = OUTPUTS[place]
    before = find_images(photos(tmp_path, classes))
    write(tmp_path / place)
    after = find_images(tmp_path)
    assert after.names == before.names
    assert after.class_names == before.class_names
    assert after.identity == before.identity
    assert after.notes.aside == f"outputs of patch-forcing: {place} ({what})"


@pytest.mark.parametrize("place", ["runs/folder", "samples", "x"])
def test_nor_where_a_table_names_the_images(tmp_path, place):
    photos(tmp_path, {"": 2})
    rows = [{"file_name": f"00{i}.png", "label": i} for i in range(2)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    before = find_images(tmp_path)
    OUTPUTS[place][0](tmp_path / place)
    assert find_images(tmp_path).identity == before.identity
    assert find_images(tmp_path).faults == {}


def test_classes_may_be_called_as_outputs_are(tmp_path):
    names = ("samples", "runs", "sheets", "demo", "checkpoints", "latents")
    photos(tmp_path, dict.fromkeys(names, 1))
    for name, text in {"run.json": "{}", "samples.json": '[{"a": 1}]', "config.json": "{}"}.items():
        (tmp_path / "runs" / name).write_text(text)
    assert find_images(tmp_path).class_names == tuple(sorted(names))


def test_sheets_and_charts_are_told_by_their_mark(tmp_path):
    photos(tmp_path, {"": 2})
    for name in ("sheet.png", "maps.png", "film.gif", "samplers.png", "bench.png"):
        draw(tmp_path / name)
    draw(tmp_path / "mine.png")  # drawn by us, but nothing says that it is no sample to train on
    (tmp_path / "bench.json").write_text("{}")
    layout = find_images(tmp_path)
    assert layout.names == ("000.png", "001.png", "mine.png")
    assert "outputs of patch-forcing: 5 images drawn by it" in layout.notes.aside
    SHEET.save(tmp_path / "sheet.png")
    assert "sheet.png" in find_images(tmp_path).names


def test_samples_may_be_trained_on_if_they_are_given(tmp_path):
    sampled(tmp_path / "samples")
    layout = find_images(tmp_path / "samples")
    assert layout.names == ("0.png", "1.png")
    assert layout.notes.aside == (
        "left aside: 1 .json; outputs of patch-forcing: sheets/sheet.png (drawn by it)"
    )
    with pytest.raises(
        pf.UserError, match=r"holds no images: .*; outputs of .*: samples \(samples"
    ):
        find_images(tmp_path)


@pytest.mark.parametrize("place", ["runs/folder", "mine", "m", "latents"])
def test_another_output_is_no_folder_of_images(tmp_path, place):
    write, what = OUTPUTS[place]
    write(tmp_path / place)
    with pytest.raises(pf.UserError, match=f"holds {what} of patch-forcing: give a folder of im"):
        find_images(tmp_path / place)


def test_a_long_list_of_samples_is_told_by_its_first_row(tmp_path):
    rows = [{"seed": i, "sampler": "euler", "model_hash": "0"} for i in range(5000)]
    SampleFolder(tmp_path).write_rows(rows)
    assert holds_own_samples(tmp_path)
    for text in ("", "[]", "{}", "[{}]", '[{"seed": 1', "\xff"):
        (tmp_path / "samples.json").write_text(text, encoding="latin-1")
        assert not holds_own_samples(tmp_path)


def test_what_systems_put_there_is_no_data(tmp_path):
    photos(tmp_path, {"cat": 2, "owl": 1})
    before = find_images(tmp_path).identity
    for name in ("@eaDir/x.png", "__MACOSX", "lost+found", "$RECYCLE.BIN", ".thumbnails",
                 "cat/@eaDir/000.png", "cat/.ipynb_checkpoints", "#recycle"):  # fmt: skip
        photos(tmp_path, {name: 1})
    for name in ("Thumbs.db", ".DS_Store", "cat/desktop.ini", "cat/._000.png", "ehthumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    layout = find_images(tmp_path)
    assert layout.identity == before
    assert layout.notes.aside == "hidden or of the system: 13"
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/000.png,1\ncat/001.png,1\n")
    assert find_images(tmp_path).faults == {2: "no row of metadata.csv names it"}

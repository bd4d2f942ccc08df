"""What a form says is what a command line and Python say."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run
from patch_forcing.models.config import DataInfo, Recommended, SamplingInfo
from patch_forcing.studio.draw import final_frame, run_html, seen_frame
from patch_forcing.studio.form import NO_CLASS, Form
from patch_forcing.studio.jobs import (
    class_choices,
    defaults,
    edit_job,
    fitted,
    hardest,
    read_mask,
    sample_job,
)
from patch_forcing.studio.run import Run
from tests.support.autoencoders import averaging_pipe
from tests.support.exact import tiny_dit

GUIDED = {"guidance": 2.0, "low": 0.1, "high": 0.8, "nfe": 6.0}


def look(*_: object) -> None:
    """At nothing."""


def by_command(command: str, folder) -> list:
    """The images that a command line makes."""
    name, *args = shlex.split(command)
    assert name == "patch-forcing"
    run([*args, "--device", "cpu", "--out", str(folder)])
    files = sorted(folder.glob("*.png"), key=lambda file: int(file.stem))
    return [np.array(Image.open(file)).tolist() for file in files]


def by_python(text: str) -> list:
    """The images that a program makes."""
    names: dict = {}
    exec(text, names)
    return [np.array(image).tolist() for image in names["result"].images]


def by_job(job) -> list:
    return [np.array(image).tolist() for image in job.run(look).images]


@pytest.mark.parametrize(
    "change",
    [
        {},
        GUIDED,
        GUIDED | {"labels": ()},
        GUIDED | {"kind": "noisier:ratio=0.5"},
        GUIDED | {"labels": (NO_CLASS,)},
        {"labels": (7,), "sampler": "dual-loop:inner_steps=2", "seeds": "4,9", "low": 0.5},
    ],
)
def test_the_copied_command_and_python_make_the_same_images(digits, form, here, change):
    job = sample_job(digits, replace(form, **change))
    images = by_job(job)
    assert len(images) == 2
    assert by_command(job.command, here / "out") == images
    assert by_python(job.python) == images


@pytest.mark.parametrize("change", [{}, {"labels": ()}, GUIDED])
def test_so_do_those_of_an_edit_with_the_files_that_the_page_gives(digits, form, here, change):
    three = digits([3], [0], sampler="euler", num_steps=2).images[0]
    mask = Image.fromarray(np.repeat(np.uint8([[0, 0, 0, 0, 90, 90, 255, 255]]), 8, axis=0))
    job = edit_job(digits, replace(form, **change), three, mask)
    for name, picture in job.before:
        picture.save(here / name)
    images = by_job(job)
    assert by_command(job.command, here / "out") == images
    assert by_python(job.python) == images
    assert "8 of 16 patches may change" in job.notes


def test_prompts_are_lines_and_none_is_no_condition(here, form):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(here / "text model")
    pipe = pf.load("text model")
    two = replace(form, model="text model", labels=(), prompts=" a 'cat'\n\ntwo $owls ", **GUIDED)
    job = sample_job(pipe, two)
    assert job.captions == ["a 'cat'", "two $owls"]
    assert by_command(job.command, here / "out") == by_job(job) == by_python(job.python)
    long = sample_job(pipe, replace(two, prompts="an owl and two cats"))
    assert long.notes[0] == "'an owl and two cats': longer than 12 bytes; not read: 'wo cats'"
    nothing = sample_job(pipe, replace(two, prompts=" \n"))
    assert nothing.notes == ("made under no condition, so without guidance",)
    assert by_command(nothing.command, here / "out") == by_job(nothing)
    assert class_choices(pipe) == []


def test_names_that_are_read_otherwise_are_written_as_numbers(here, form):
    names = ("crane", "crane", "cat", "owl", "cat,owl", "all")
    model = tiny_dit(num_classes=len(names))
    model.data_info = DataInfo(class_names=names)
    model.save(here / "m")
    pipe = pf.load("m")
    for labels, text in {(2, 3): "2,3", (3, 2): "owl,cat", (0, 1): "0,1", (5,): "5"}.items():
        job = sample_job(pipe, replace(form, model="m", labels=labels))
        assert f"--labels {text} " in job.command
        assert job.run(look).labels == [labels[seed % len(labels)] for seed in (0, 1)]
    assert class_choices(pipe)[:3] == [("(no class)", NO_CLASS), ("crane (0)", 0), ("crane (1)", 1)]


def test_fields_begin_as_the_model_recommends(here):
    model = tiny_dit(num_classes=3)
    advice = Recommended(None, "heun", 20, 3.0, (0.1, 0.8), "noisier")
    model.sampling_info = SamplingInfo(recommended=advice)
    model.save(here / "m")
    pipe = pf.load("m")
    form = Form("m", **defaults(pipe), seeds="0")
    assert (form.sampler, form.nfe, form.guidance, form.low, form.high) == ("heun", 20, 3, 0.1, 0.8)
    assert form.kind == "noisier"
    assert [name for name, _ in class_choices(pipe)] == ["(no class)", "0", "1", "2"]
    plain = tiny_dit(num_classes=0)
    plain.sampling_info = model.sampling_info
    plain.save(here / "plain")
    assert defaults(pf.load("plain"))["guidance"] == 1


def test_a_model_that_predicts_no_difficulty_has_maps_of_time_and_says_what_it_cannot(here):
    tiny_dit(predict_difficulty=False).save(here / "m")
    pipe, form = pf.load("m"), Form("m", sampler="euler", nfe=6, seeds="0")
    run = Run(sample_job(pipe, form)).start()
    run.join()
    for html in (run_html(run), run_html(run, 2)):
        assert "pf-time" in html
        assert "pf-difficulty" not in html
    with pytest.raises(pf.UserError, match="dual-loop orders patches by"):
        sample_job(pipe, replace(form, sampler="dual-loop"))
    with pytest.raises(pf.UserError, match="predicts no difficulty: give a mask"):
        hardest(pipe, Image.new("RGB", (8, 8)), 0.3)


def test_latents_are_decoded_while_they_form_and_edits_of_them_keep_what_is_black(form):
    pipe, one = averaging_pipe(), replace(form, labels=(1,), seeds="0")
    run = Run(sample_job(pipe, one)).start()
    run.join()
    assert seen_frame(run, 1).images[0].size == final_frame(run).images[0].size == (32, 32)
    image, _ = fitted(pipe, Image.new("RGB", (99, 70)))
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    edited = np.array(edit_job(pipe, one, image, Image.fromarray(mask)).run(look).images[0])
    assert not edited[:, :16].any()
    assert edited[:, 24:].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": "x"}, "seeds 'x': 'x' is no number"),
        ({"seeds": ""}, "is no number"),
        ({"seeds": "1,1"}, "one is there twice"),
        ({"seeds": "0-16"}, "17 images, and the page shows 16"),
        ({"labels": (NO_CLASS, 3)}, "exclude each other"),
        ({"labels": (10,)}, "label 10 is out of range"),
        ({"sampler": "eulr"}, "did you mean 'euler'"),
        ({"sampler": ""}, "unknown sampler ''"),
        ({"sampler": "dual-loop", "nfe": 1}, "1 evaluations are too few"),
        ({"guidance": 2.0, "low": 0.9, "high": 0.1}, "0 <= low < high <= 1"),
    ],
)
def test_a_mistake_is_found_before_any_work(digits, form, change, message):
    with pytest.raises(pf.UserError, match=message):
        sample_job(digits, replace(form, **change))


def test_images_and_maps_of_any_kind_are_fitted_and_it_is_said(digits, here):
    Image.new("CMYK", (30, 20), (0, 200, 0, 0)).save(here / "cmyk.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(here / "clear.png")
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(here / "film.gif", save_all=True, append_images=frames[1:])
    image, notes = fitted(digits, here / "cmyk.jpg")
    assert (image.size, image.mode) == ((8, 8), "L")
    assert notes == [
        "the image of 30x20 pixels is cropped to its middle and scaled to the model's 8x8 pixels"
    ]
    assert np.array(fitted(digits, here / "clear.png")[0]).min() == 255
    mask, notes = read_mask(image, here / "cmyk.jpg")
    assert mask.size == (8, 8)
    assert notes == ["the mask is resized from 30x20 to 8x8"]
    assert "2 frames" in fitted(digits, here / "film.gif")[1][0]
    (here / "text.png").write_text("no image")
    for call in (lambda: fitted(digits, here / "text.png"), lambda: read_mask(image, "gone.png")):
        with pytest.raises(pf.UserError, match=r"text\.png|gone\.png"):
            call()
    with pytest.raises(pf.UserError, match="black everywhere"):
        read_mask(image, Image.new("L", (8, 8)))


def test_the_hardest_patches_are_whole_and_as_many_as_their_share(digits):
    three = digits([3], [0], sampler="euler", num_steps=2).images[0]
    mask = np.array(hardest(digits, three, 0.25))
    patches = mask.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(16, 4)
    assert sorted(map(tuple, patches.tolist())) == [(0,) * 4] * 12 + [(255,) * 4] * 4
    with pytest.raises(pf.UserError, match="hardest=0"):
        hardest(digits, three, 0)
    with pytest.raises(pf.UserError, match="nothing to change: paint"):
        edit_job(digits, Form("digits"), three, Image.new("L", (8, 8)))

"""Runs are watched, stopped and shown; mistakes are one visible line."""

import base64
import io
import json
import re
from contextlib import closing
from dataclasses import fields, replace
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

import patch_forcing as pf
from patch_forcing.cli.main import run as cli
from patch_forcing.studio.calls import Calls, read_form, read_url
from patch_forcing.studio.desk import MAX_DESKS, Studio
from patch_forcing.studio.draw import picture_url, run_html, settings_link
from patch_forcing.studio.form import Form
from patch_forcing.studio.jobs import sample_job
from patch_forcing.studio.run import Run
from patch_forcing.views.scales import TIME


@pytest.fixture
def calls(studio):
    return Calls(studio)


@pytest.fixture
def sampled(digits, form):
    """A finished run."""
    run = Run(sample_job(digits, form)).start()
    run.join()
    return run


def pictures(html: str, alt: str) -> list[np.ndarray]:
    """The pictures of that kind on a page."""
    urls = re.findall(rf'alt="{alt}[^"]*" src="data:image/png;base64,([^"]+)"', html)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(url)))) for url in urls]


def last(views):
    *_, view = views
    return view


def test_a_run_shows_each_evaluation_and_ends_with_the_images_of_the_pipeline(digits, form, desk):
    views = list(desk.watch("sample", lambda: [sample_job(digits, form)]))
    assert [view.busy for view in views] == [True] * (len(views) - 1) + [False]
    result = digits([3, 5], [0, 1], sampler="euler", nfe=4, guidance_scale=1)
    shown = pictures(views[-1].html, "image")
    assert [image.tolist() for image in shown] == [np.array(i).tolist() for i in result.images]
    assert views[-1].frames == 5  # four evaluations and the end
    assert "by euler, 4 evaluations an image" in views[-1].html
    assert "4 evaluations are few" in views[-1].status


def test_the_slider_goes_through_times_and_predictions(digits, form, desk):
    last(desk.watch("sample", lambda: [sample_job(digits, form)]))
    trace = [one.evaluation for one in desk.runs["sample"][0].seen]
    for number in range(1, 5):
        html = desk.view("sample", number=number).html
        assert f"call {number}, {number} of 4 evaluations spent" in html
        times = pictures(html, "time")
        colour = TIME[round(255 * (number - 1) / 4)].round().astype(np.uint8)
        assert all((time == colour).all() for time in times)
        predicted = digits.decode(trace[number - 1].prediction)
        assert (pictures(html, "image")[1] == predicted[1, 0].numpy()).all()
    assert desk.view("sample", number=5) == desk.view("sample")
    assert desk.view("nowhere").html == ""


def test_maps_show_which_patch_is_ahead_and_which_is_hard(digits, form):
    run = Run(sample_job(digits, replace(form, sampler="dual-loop", nfe=10, seeds="0"))).start()
    run.join()
    html = run_html(run, 2)
    (hard,), (time,) = pictures(html, "difficulty"), pictures(html, "time")
    seen = run.seen[1].evaluation
    order = hard.reshape(16, 3).astype(int).sum(axis=1)  # brighter is harder
    values = seen.difficulty[0]
    assert order[values.argmax()] > order[values.argmin()]
    assert hard.shape == (4, 4, 3)
    ahead = time.reshape(16, 3).astype(int).sum(axis=1)
    assert ((ahead == ahead.max()) == (seen.t[0] == seen.t[0].max()).numpy()).all()
    assert "lead over the image" in run_html(run)


def test_downloads_hold_their_settings_and_are_made_again_from_them(sampled, digits, here):
    html = run_html(sampled)
    url = re.search(r'download="1.png" href="data:image/png;base64,([^"]+)"', html)[1]
    row = json.loads(Image.open(io.BytesIO(base64.b64decode(url))).info["patch-forcing"])
    assert (row["seed"], row["label"], row["model_hash"]) == (1, 5, digits.hash)
    (here / "mine.png").write_bytes(base64.b64decode(url))
    cli(["sample", "--like", "mine.png", "--device", "cpu"])
    again, mine = (np.array(Image.open(here / name)) for name in ("samples/1.png", "mine.png"))
    assert (again == mine).all()
    rows = re.search(r'download="samples.json" href="data:application/json;base64,([^"]+)"',
                     settings_link([sampled]))[1]  # fmt: skip
    assert [row["seed"] for row in json.loads(base64.b64decode(rows))] == [0, 1]


def test_a_film_is_drawn_of_what_is_finished(desk, digits, form):
    assert "nothing is finished" in desk.extras("sample")
    last(desk.watch("sample", lambda: [sample_job(digits, form)]))
    url = re.search(r'alt="film" src="data:image/gif;base64,([^"]+)"', desk.extras("sample"))[1]
    assert Image.open(io.BytesIO(base64.b64decode(url))).n_frames == 5


def test_stop_ends_a_run_and_what_was_seen_stays(digits, form, desk):
    many = replace(form, nfe=100)
    seen = 0
    for view in desk.watch("sample", lambda: [sample_job(digits, many)]):
        seen += view.busy and "call" in view.html
        if seen == 1:
            desk.stop()
    run = desk.runs["sample"][0]
    assert run.stopped
    assert not view.busy
    assert "stopped" in view.status
    assert 0 < len(run.seen) < 100
    assert view.frames == len(run.seen) + 1
    assert len(pictures(view.html, "image")) == 2
    assert "download" not in view.html


def test_whoever_leaves_stops_the_run(digits, form, desk):
    with closing(desk.watch("sample", lambda: [sample_job(digits, replace(form, nfe=100))])) as all:
        next(view for view in all if "call" in view.html)
    run = desk.runs["sample"][0]
    run.join()
    assert run.stopped


def test_a_new_run_of_a_tab_stops_the_one_before(digits, form, desk):
    first = desk.watch("sample", lambda: [sample_job(digits, replace(form, nfe=100))])
    next(view for view in first if "call" in view.html)
    before = desk.runs["sample"][0]
    assert "4 evaluations an image" in last(
        desk.watch("sample", lambda: [sample_job(digits, form)])
    ).html  # fmt: skip
    before.join()
    assert before.stopped


def test_two_tabs_at_once_get_their_own_images(studio, form):
    together = Barrier(2)
    desks = {tab: studio.desk(tab) for tab in ("a", "b")}
    runs = []
    for tab, desk in desks.items():
        job = sample_job(studio.pipe("digits"), replace(form, seeds="3" if tab == "a" else "8"))
        inner = job.run

        def run(callback, inner=inner):
            together.wait()  # both are at it
            return inner(callback)

        desk.runs["sample"] = [Run(replace(job, run=run)).start()]
        runs += desk.runs["sample"]
    for run in runs:
        run.join()
    for tab, seed, label in (("a", 3, 5), ("b", 8, 3)):
        result = desks[tab].runs["sample"][0].result
        assert result.seeds == [seed]
        assert result.labels == [label]
    assert studio.desk("a") is desks["a"]


def test_samplers_are_compared_side_by_side(calls, desk, values):
    view = last(desk.watch("compare", lambda: calls.compare(desk, "heun", *values)))
    assert "by euler, 4 evaluations" in view.html
    assert "by heun, 3 evaluations" in view.html
    assert len(pictures(view.html, "image")) == 4
    euler, heun = view.command.splitlines()
    assert "--sampler euler" in euler
    assert "--sampler heun" in heun
    names: dict = {}
    exec(view.python.replace(".save(", ".copy() or ("), names)
    assert names["result"].sampler == "heun"
    assert "sheet-2.png" in view.python


def test_an_edit_keeps_what_is_black_and_shows_what_was_there(calls, desk, values, digits):
    three = digits([3], [0], sampler="euler", num_steps=2).images[0]
    painting = calls.load_image(desk, "digits", three)
    assert painting.patch == 2
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    url = picture_url(Image.fromarray(mask))
    view = last(desk.watch("edit", lambda: calls.edit(desk, url, *values)))
    for image in pictures(view.html, "image of"):
        assert (image[:, :4] == np.array(three)[:, :4]).all()
    (before,), (shown,) = pictures(view.html, "image.png"), pictures(view.html, "mask.png")
    assert (before == np.array(three)).all()
    assert (shown == mask).all()
    first = desk.view("edit", number=1).html
    bright = TIME[255].round().astype(np.uint8)
    assert all((time[:, :2] == bright).all() for time in pictures(first, "time"))
    hardest = calls.start_from_hardest(desk, "digits", 50)
    assert (np.array(hardest.mask) == 255).mean() == 0.5


def test_a_picture_of_a_run_can_be_edited(calls, desk, values):
    last(desk.watch("sample", lambda: calls.sample(desk, *values)))
    image = desk.picture("sample", 1)
    assert image is desk.runs["sample"][0].result.images[1]
    with pytest.raises(pf.UserError, match="seed 7 is not on this page any more"):
        desk.picture("sample", 7)


def wrong(values, **changes):
    names = [field.name for field in fields(Form)]
    return [changes.get(name, value) for name, value in zip(names, values, strict=True)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "<b>"}, "&lt;b&gt;"),
        ({"model": "elsewhere"}, "model &#x27;elsewhere&#x27; is not on this page"),
        ({"nfe": None}, "budget is empty"),
        ({"sampler": None}, "unknown sampler"),
    ],
)
def test_a_mistake_is_one_line_and_what_was_shown_stays(calls, desk, values, changes, message):
    last(desk.watch("sample", lambda: calls.sample(desk, *values)))
    view = last(desk.watch("sample", lambda: calls.sample(desk, *wrong(values, **changes))))
    assert message in view.status
    assert 'role="alert"' in view.status
    assert "\n" not in view.status
    assert (view.html, view.busy) == ("", False)
    assert desk.view("sample").html


def test_there_is_an_image_to_edit_or_a_line_says_how(calls, desk, values):
    view = last(desk.watch("edit", lambda: calls.edit(desk, "", *values)))
    assert "no image to edit: load one" in view.status
    calls.load_image(desk, "digits", Image.new("L", (8, 8)))
    view = last(desk.watch("edit", lambda: calls.edit(desk, "", *values)))
    assert "nothing to change: paint" in view.status
    with pytest.raises(pf.UserError, match="load the page again"):
        read_url("data:image/png;base64,AAAA")


def test_faults_while_sampling_become_a_line(digits, form, desk, caplog):
    def broken(error):
        def run(_):
            raise error

        return lambda: [replace(sample_job(digits, form), run=run)]

    for error, message in {
        pf.UserError("samples hold NaN"): "samples hold NaN",
        RuntimeError("CUDA out of memory"): "take fewer seeds",
        KeyError("x"): "KeyError",
    }.items():
        view = last(desk.watch("sample", broken(error)))
        assert message in view.status
        assert not view.busy
    assert "a run of the studio failed" in caplog.text


def test_prompts_and_names_cannot_write_into_the_page(digits, form):
    job = replace(sample_job(digits, form), captions=["<script>", "a & b"])
    run = Run(job).start()
    run.join()
    html = run_html(run)
    assert "&lt;script&gt;" in html
    assert "<script" not in html


def test_old_tabs_give_way_and_are_stopped():
    studio = Studio(["digits"])
    first = studio.desk("0")
    for tab in range(1, MAX_DESKS + 1):
        studio.desk(str(tab))
    assert studio.desk("0") is not first
    assert studio.desk(str(MAX_DESKS)) is studio.desk(str(MAX_DESKS))


def test_another_model_fills_the_form_once():
    calls = Calls(Studio(["digits", "emoji-64"]))
    desk = calls.studio.desk("tab")
    assert not calls.choose_model(desk, "digits", "7")
    assert calls.choose_model(desk, "emoji-64", "7")
    shown = desk.form.guidance, desk.form.low, desk.form.high, desk.form.seeds
    assert shown == (3, 0.1, 0.8, "7")
    assert not calls.choose_model(desk, "emoji-64", "8")
    with pytest.raises(pf.UserError, match="not on this page"):
        calls.choose_model(desk, "elsewhere", "7")
    assert desk.form.model == "emoji-64"


def test_the_form_is_read_from_the_fields(values, form):
    assert read_form(values) == form

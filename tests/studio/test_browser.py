"""The page in a real browser: Debian's chromium, without a screen.

Set PATCH_FORCING_SCREENSHOTS to a folder to look at what it showed.
"""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import DONE, choose, fill, finished, pixels, shot
from tests.support.exact import tiny_dit

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

from patch_forcing.studio.page import TOGETHER  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a studio that a user started."""
    folder = tmp_path_factory.mktemp("models")
    tiny_dit(condition="bytes:length=24,refiner=1", num_classes=0).save(folder / "texts")
    command = [sys.executable, "-m", "patch_forcing", "studio"]
    command += ["emoji-64", "digits", "texts", "emoji-text"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield re.search(r"http://\S+", server.stdout.readline())[0]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Opens the page as a user of their own; at the end, nothing went wrong in any of them."""
    contexts, wrong, elsewhere = [], [], []

    def open_page(size=LAPTOP):
        context = chromium.new_context(viewport=size)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(address)
        page.locator("#sample-go").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []


def test_choose_sample_watch_the_maps_change_and_slide_back(visit):
    page = visit()
    choose(page, "labels", "cat-face")
    choose(page, "labels", "drink")
    choose(page, "sampler", "dual-loop")
    page.evaluate(
        """() => {
          window.heads = [];
          window.times = new Set();
          const pictures = document.querySelector("#sample-pictures");
          new MutationObserver(() => {
            const head = pictures.querySelector(".pf-head")?.textContent;
            if (head && head !== window.heads.at(-1)) window.heads.push(head);
            window.times.add(pictures.querySelector(".pf-time")?.src);
          }).observe(pictures, {
            subtree: true, childList: true, attributes: true, characterData: true,
          });
        }"""
    )
    page.locator("#sample-go").click()
    finished(page)
    heads, times = page.evaluate("[window.heads, window.times.size]")
    spent = [float(actual[1]) for head in heads if (actual := re.search(r"([\d.]+) of 16", head))]
    assert spent == sorted(spent)
    assert len(spent) > 2
    assert times > 2
    assert heads[-1].startswith("by dual-loop")
    assert len(pixels(page, "sample", "image")) == 4
    assert page.locator("#sample-pictures figcaption").first.inner_text().startswith("cat-face")
    shot(page, "studio")
    slider = page.locator("#sample-slider input[type=range]")
    slider.focus()
    slider.press("Home")
    page.get_by_text(re.compile("call 1, .* of 16 evaluations spent")).wait_for()
    shot(page, "slider")


def test_paint_and_repaint_keeps_what_is_black(visit):
    page = visit()
    fill(page, "seeds", "0-1")
    choose(page, "labels", "cat-face")
    page.locator("#sample-go").click()
    finished(page)
    original = pixels(page, "sample", "image")[1]
    page.locator("#sample-pictures [data-edit]").nth(1).click()
    canvas = page.locator("#painter canvas")
    page.locator("#painter canvas[data-size='64x64']").wait_for()
    page.locator("#painter [data-act]").first.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, top, width, height = (box[key] for key in ("x", "y", "width", "height"))

    def drag(*places):
        (x, y), *rest = places
        page.mouse.move(left + x * width, top + y * height)
        page.mouse.down()
        for x, y in rest:
            page.mouse.move(left + x * width, top + y * height, steps=5)
        page.mouse.up()

    drag((0.7, 0.2), (0.8, 0.5), (0.7, 0.8))
    drag((0.2, 0.2), (0.3, 0.2))
    page.get_by_role("button", name="Undo").click()
    page.locator("#painter [data-name=strength]").fill("40")
    drag((0.8, 0.1), (0.9, 0.1))
    page.get_by_role("button", name="Eraser").click()
    drag((0.7, 0.5), (0.75, 0.5))
    page.locator("#edit-go").click()
    finished(page, "edit")
    (mask,) = pixels(page, "edit", "mask.png")
    assert mask.shape == (64, 64)
    assert set(np.unique(mask)) == {0, 102, 255}
    assert not mask[:, :32].any()  # the second stroke was undone
    assert mask[32, 45] == 0  # erased
    for result in pixels(page, "edit", "image of"):
        assert (result[mask == 0] == original[mask == 0]).all()
        assert (result[mask == 255] != original[mask == 255]).mean() > 0.5
    shot(page, "studio-edit")
    page.locator("#hardest").click()
    page.get_by_text("19 of 64 patches may change; each has its own clock").wait_for()
    page.locator("#edit-go").click()
    page.wait_for_function(
        "document.querySelector('#edit-status').textContent.includes('19 of 64 patches may')",
        timeout=DONE,
    )


def test_images_and_maps_are_loaded_and_what_was_done_is_said(visit, tmp_path):
    page = visit()
    page.get_by_role("tab", name="Edit").click()
    page.locator("#edit-go").click()
    page.get_by_text("no image to edit").wait_for()
    shot(page, "no-image")
    Image.new("CMYK", (90, 60), (0, 200, 0, 0)).save(tmp_path / "cmyk.jpg")
    Image.new("L", (10, 10), 255).save(tmp_path / "map.png")
    (tmp_path / "text.png").write_text("no image")
    page.locator("input[type=file]").nth(0).set_input_files(tmp_path / "text.png")
    page.locator("#edit-status [role=alert]", has_text="give an image file").wait_for()
    page.locator("input[type=file]").nth(0).set_input_files(tmp_path / "cmyk.jpg")
    page.get_by_text("is cropped to its middle and scaled to the model's 64x64").wait_for()
    page.locator("input[type=file]").nth(1).set_input_files(tmp_path / "map.png")
    page.get_by_text("the mask is resized from 10x10 to 64x64").wait_for()


def test_stop_reload_and_what_was_made_is_still_there(visit):
    page = visit()
    fill(page, "seeds", "0-1")
    page.locator("#sample-go").click()
    finished(page)
    before = pixels(page, "sample", "image")
    fill(page, "seeds", "5-8")
    fill(page, "nfe", 100)
    page.locator("#sample-go").click()
    page.get_by_text(re.compile("of 100 evaluations spent")).wait_for()
    page.locator("#sample-stop").click()
    page.get_by_text("stopped; what was seen of it is below").wait_for()
    playwright.expect(page.locator("#sample-go")).to_be_enabled()  # it follows the line
    shot(page, "stopped")
    page.reload()
    page.get_by_text("stopped; what was seen of it is below").wait_for()
    assert page.locator("#seeds").locator("input, textarea").input_value() == "5-8"
    assert len(pixels(page, "sample", "image")) == 4
    fill(page, "seeds", "0-1")
    fill(page, "nfe", 16)
    page.locator("#sample-go").click()
    finished(page)
    again = pixels(page, "sample", "image")
    assert all((one == other).all() for one, other in zip(before, again, strict=True))


def test_two_users_at_once_get_their_own_and_one_who_leaves_disturbs_nobody(visit):
    first, second, leaving = visit(), visit(), visit()
    for page, seeds in ((first, "0"), (second, "1"), (leaving, "0-15")):
        fill(page, "seeds", seeds)
    fill(leaving, "nfe", 100)
    leaving.locator("#sample-go").click()
    leaving.get_by_text(re.compile("of 100 evaluations spent")).wait_for(timeout=DONE)
    first.locator("#sample-go").click()
    second.locator("#sample-go").click()
    leaving.close()
    finished(first)
    finished(second)
    assert first.locator("#sample-pictures figcaption").inner_text().count("seed 0") == 1
    assert second.locator("#sample-pictures figcaption").inner_text().count("seed 1") == 1
    assert not (pixels(first, "sample", "image")[0] == pixels(second, "sample", "image")[0]).all()


def test_who_waits_is_told_so_and_comes_on_when_others_leave(visit):
    busy = [visit() for _ in range(TOGETHER)]
    for page in busy:
        fill(page, "seeds", "0-15")
        fill(page, "nfe", 100)
        page.locator("#sample-go").click()
        page.get_by_text(re.compile("of 100 evaluations spent")).wait_for(timeout=DONE)
    waiting = visit()
    waiting.locator("#sample-go").click()
    waiting.get_by_text("waits for its turn").wait_for()
    for page in busy:
        page.close()
    finished(waiting)
    assert waiting.get_by_text("waits for its turn").count() == 0


def test_samplers_side_by_side_and_text_to_copy(visit):
    page = visit()
    fill(page, "seeds", "0-1")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-go").click()
    page.wait_for_function(
        "document.querySelectorAll('#compare-pictures .pf-done').length === 2",
        timeout=DONE,
    )
    shot(page, "compare")
    page.get_by_text("The same images as a command line").locator("visible=true").click()
    lines = page.locator("#compare-command textarea").input_value().splitlines()
    assert [re.search(r"--sampler (\S+)", line)[1] for line in lines] == [
        "adams-bashforth",
        "dual-loop",
    ]


def test_the_film_is_drawn_and_mistakes_are_one_line(visit):
    page = visit()
    fill(page, "seeds", "0-99")
    page.locator("#sample-go").click()
    page.locator("#sample-status [role=alert]", has_text="the page shows 16").wait_for()
    fill(page, "seeds", "0")
    page.locator("#sample-go").click()
    finished(page)
    assert page.locator("#sample-status [role=alert]").count() == 0
    page.get_by_text("Film and settings").locator("visible=true").click()
    page.locator("#sample-film").click()
    page.locator("#sample-extras img").wait_for(timeout=DONE)
    with page.expect_download() as download:
        page.locator("#sample-pictures a", has_text="PNG").click()
    assert download.value.suggested_filename == "0.png"
    shot(page, "film")


def test_fields_follow_the_model(visit):
    page = visit()
    choose(page, "model", "texts")
    page.locator("#prompts").wait_for()
    assert page.locator("#labels").count() == 0
    fill(page, "prompts", "two owls\na <b>cat</b>")
    page.locator("#sample-go").click()
    finished(page)
    captions = page.locator("#sample-pictures figcaption").all_inner_texts()
    assert captions[0].startswith("two owls · seed 0")
    assert captions[1].startswith("a <b>cat</b> · seed 1")
    shot(page, "texts")


def test_the_bundled_model_draws_a_prompt_and_shows_what_was_hard(visit):
    page = visit()
    choose(page, "model", "emoji-text")
    page.locator("#prompts").wait_for()
    fill(
        page,
        "prompts",
        "three guitars on a yellow background\na dog left of a pizza on a red background",
    )
    fill(page, "nfe", 12)
    page.locator("#sample-go").click()
    finished(page)
    shot(page, "prompts")
    edges = [np.median(image[:2].reshape(-1, 3), 0) for image in pixels(page, "sample", "image")]
    yellow, red = edges[:2]
    assert yellow[0] > 180
    assert yellow[1] > 160
    assert yellow[2] < 110
    assert red[0] > 160
    assert max(red[1:]) < 90


def test_on_a_phone_nothing_is_cut_off(visit):
    page = visit(PHONE)
    page.locator("#sample-go").click()
    finished(page)
    for tab in ("Sample", "Edit", "Compare"):
        page.get_by_role("tab", name=tab).click()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], tab
        shot(page, f"phone-{tab.lower()}")

"""The page as Gradio has it, without a browser; skipped where Gradio is not installed."""

import pytest

pytest.importorskip("gradio")

from patch_forcing.studio.desk import View
from patch_forcing.studio.page import build, view_updates


def test_it_has_the_fields_of_a_form_and_sends_no_statistics(studio):
    page = build(studio)
    assert page.analytics_enabled is False
    names = {block.elem_id for block in page.blocks.values()}
    fields = {"model", "labels", "prompts", "sampler", "nfe", "guidance", "seeds"}
    assert fields | {"painter", "sample-go", "edit-go", "compare-go"} <= names


def test_a_view_fills_what_it_holds_and_leaves_the_rest():
    busy = view_updates(View(status="begins …", busy=True))
    assert [update.get("interactive") for update in busy[-2:]] == [False, True]
    assert busy[0] == busy[3]  # skipped
    done = view_updates(View("<p>", "", 5, False, "a", "b"))
    assert done[2]["maximum"] == done[2]["value"] == 5
    assert done[2]["visible"]
    assert (done[0], done[3], done[4]) == ("<p>", "a", "b")

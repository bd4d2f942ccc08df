"""The page: which button calls what. It needs Gradio."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from patch_forcing.studio.calls import Calls, Painting
from patch_forcing.studio.desk import Desk, Studio, View, fault_line
from patch_forcing.studio.draw import picture_url
from patch_forcing.studio.jobs import Job
from patch_forcing.studio.layout import INTRO, Fields, Painter, Pictures, asset, html, sampler_field

TOGETHER = 3
"""Users whose images are made at the same time; others wait in turn."""

HINTS = {
    "sample": "Images will be here while they form, beside the time and the difficulty of their "
    "patches.",
    "edit": "Results will be here, beside what there was before.",
    "compare": "The same seeds by two samplers will be here, side by side.",
}


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio. Raises UserError if its first model cannot be loaded."""
    first = studio.pipe(studio.models[0])
    with gr.Blocks(title="patch-forcing studio", analytics_enabled=False) as page:
        html(INTRO)
        tab = gr.Textbox(visible="hidden", elem_id="tab")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=280):
                fields = Fields(studio.models, first)
            with gr.Column(scale=3, min_width=320), gr.Tabs() as tabs:
                with gr.Tab("Sample", id="sample"):
                    sample = Pictures("sample", "Sample", _hint("sample"))
                with gr.Tab("Edit", id="edit"), gr.Row(equal_height=False):
                    with gr.Column(min_width=300):
                        painter = Painter()
                    with gr.Column(min_width=300):
                        edit = Pictures("edit", "Repaint", _hint("edit"))
                with gr.Tab("Compare", id="compare"):
                    second = sampler_field(
                        "Second sampler, at the same budget", "dual-loop", "second"
                    )
                    compare = Pictures("compare", "Compare", _hint("compare"))
        places = {"sample": sample, "edit": edit, "compare": compare}
        calls = Calls(studio)
        _connect_page(page, calls, tab, fields, places, painter)
        makers = {
            "sample": (calls.sample, []),
            "edit": (calls.edit, [painter.canvas]),
            "compare": (calls.compare, [second]),
        }
        for name, place in places.items():
            make, besides = makers[name]
            _connect_place(calls, name, place, make, [tab, *besides, *fields.all])
        _connect_painter(calls, tab, fields, sample, edit, painter, tabs)
    return page


def _hint(place: str) -> str:
    return f'<p class="pf-hint">{HINTS[place]}</p>'


def view_updates(view: View) -> list[Any]:
    """A view as updates of `Pictures.shown`. What it leaves empty stays as it is."""
    slider = gr.skip()
    if view.frames or view.busy:
        frames = max(2, view.frames)
        slider = gr.update(maximum=frames, value=frames, visible=view.frames > 2)
    return [
        view.html or gr.skip(),
        view.status,
        slider,
        view.command or gr.skip(),
        view.python or gr.skip(),
        gr.update(interactive=not view.busy),
        gr.update(interactive=view.busy),
    ]


def _connect_place(
    calls: Calls,
    name: str,
    place: Pictures,
    make: Callable[..., list[Job]],
    inputs: list[gr.components.Component],
) -> None:
    """The buttons and the slider of a place."""
    tab = inputs[0]

    def begin(tab: str, *values: Any) -> Iterator[list[Any]]:
        desk = calls.studio.desk(tab)
        for view in desk.watch(name, lambda: make(desk, *values)):
            yield view_updates(view)

    def slide(tab: str, number: float) -> str:
        return calls.studio.desk(tab).view(name, number=int(number)).html

    def film(tab: str) -> str:
        try:
            return calls.studio.desk(tab).extras(name)
        except Exception as error:
            return fault_line(error)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # first, and in the browser: with many users it may take a while until it begins
    place.go.click(None, None, place.status, js="() => 'waits for its turn …'", **quiet)
    place.go.click(
        begin, inputs, place.shown, concurrency_id="runs", concurrency_limit=TOGETHER, **quiet
    )
    place.stop.click(lambda tab: calls.studio.desk(tab).stop(), tab, None, queue=False, **quiet)
    place.slider.input(slide, [tab, place.slider], place.html, trigger_mode="always_last", **quiet)
    place.film.click(film, tab, place.extras, api_visibility="private")


def _connect_page(
    page: gr.Blocks,
    calls: Calls,
    tab: gr.Textbox,
    fields: Fields,
    places: dict[str, Pictures],
    painter: Painter,
) -> None:
    """What happens when the page is loaded, also again, and when another model is chosen."""
    studio = calls.studio

    def canvas(desk: Desk, model: str) -> Any:
        return gr.skip() if desk.image is None else _painted(calls.refit(desk, model))

    def restore(tab: str) -> list[Any]:
        desk = studio.desk(tab)
        desk.stop()  # nobody watches it any more
        form, model = desk.form, studio.models[0] if desk.form is None else desk.form.model
        filled = [gr.skip()] * len(fields.all)
        if form is not None:
            filled = fields.filled(studio.pipe(model), form)
        filled[0] = gr.update(value=model, interactive=True)
        views = [update for name in places for update in view_updates(desk.view(name))]
        return [tab, *filled, *views, canvas(desk, model)]

    def choose(tab: str, model: str, *values: Any) -> list[Any]:
        desk, nothing = studio.desk(tab), [gr.skip()] * len(fields.all)
        try:
            if not calls.choose_model(desk, model, seeds=values[-1]):
                return [*nothing, gr.skip(), gr.skip()]
            assert desk.form is not None
            return [*fields.filled(studio.pipe(model), desk.form), canvas(desk, model), ""]
        except Exception as error:
            return [*nothing, gr.skip(), fault_line(error)]

    shown = [component for place in places.values() for component in place.shown]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    outputs = [tab, *fields.all, *shown, painter.canvas]
    page.load(restore, tab, outputs, js=asset("tab.js"), **quiet)
    fields.model.input(
        choose,
        [tab, *fields.all],
        [*fields.all, painter.canvas, places["sample"].status],
        api_visibility="private",
    )


def _connect_painter(
    calls: Calls,
    tab: gr.Textbox,
    fields: Fields,
    sample: Pictures,
    edit: Pictures,
    painter: Painter,
    tabs: gr.Tabs,
) -> None:
    """What brings images and change maps to the painter."""

    def with_notes(call: Callable[..., Painting]) -> Callable[..., tuple[Any, str]]:
        def attempt(tab: str, model: str, value: Any) -> tuple[Any, str]:
            try:
                painting = call(calls.studio.desk(tab), model, value)
            except Exception as error:
                return gr.skip(), fault_line(error)
            return _painted(painting), "<br>".join(map(escape, painting.notes))

        return attempt

    def take(place: str) -> Callable[..., tuple[Any, str, Any]]:
        def attempt(tab: str, model: str, event: gr.EventData) -> tuple[Any, str, Any]:
            load = with_notes(lambda desk, model, seed: calls.load_image(
                desk, model, desk.picture(place, seed)
            ))  # fmt: skip
            return *load(tab, model, event.seed), gr.update(selected="edit")

        return attempt

    to = [painter.canvas, edit.status]
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    painter.load.upload(
        with_notes(calls.load_image), [tab, fields.model, painter.load], to, **private
    )
    painter.mask.upload(
        with_notes(calls.load_map), [tab, fields.model, painter.mask], to, **private
    )
    source = [tab, fields.model, painter.share]
    painter.hardest.click(with_notes(calls.start_from_hardest), source, to, **private)
    for name, place in (("sample", sample), ("edit", edit)):
        place.html.select(take(name), [tab, fields.model], [*to, tabs], **private)


def _painted(painting: Painting) -> Any:
    """The update of a painter."""
    image, mask = picture_url(painting.image), picture_url(painting.mask)
    return gr.update(image=image, patch=painting.patch, value=mask)

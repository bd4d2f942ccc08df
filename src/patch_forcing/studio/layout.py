"""The parts of the page, as Gradio's components: fields, pictures and the painter."""

from pathlib import Path
from typing import Any

import gradio as gr

from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.sampling.guidance_kinds import KINDS
from patch_forcing.sampling.names import SAMPLER_NAMES
from patch_forcing.studio.form import Form
from patch_forcing.studio.jobs import class_choices, defaults

ASSETS = Path(__file__).parent / "assets"
INTRO = """<div class="pf-intro"><h1>patch-forcing studio</h1><p>Every patch of an image has its own
clock here. The time map shows how far each patch is on its way from noise (dark) to image (bright).
The difficulty map shows where the model expects to err: bright is hard.</p></div>"""
MAX_BUDGET = 100


def asset(name: str) -> str:
    """The text of a file beside the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def sampler_field(label: str, value: str, name: str) -> gr.Dropdown:
    """A sampler by name, with options if they are typed."""
    return gr.Dropdown(
        list(SAMPLER_NAMES),
        value=value,
        allow_custom_value=True,
        label=label,
        elem_id=name,
        info="dual-loop and look-ahead let easy patches go ahead; options may follow, such as "
        "dual-loop:easy_fraction=0.5",
    )


def html(value: str, script: str | None = None, **options: Any) -> gr.HTML:
    """A part of the page that is written here, in its own style. script: run once it is there."""
    return gr.HTML(value, js_on_load=script, apply_default_css=False, **options)


class Fields:
    """What is sampled and how, in the order of a `Form`."""

    def __init__(self, models: list[str], first: Pipeline):
        form = Form(first.name, **defaults(first))
        self.model = gr.Dropdown(
            models,
            value=first.name,
            label="Model",
            interactive=False,  # until the page knows which tab it is
            elem_id="model",
        )
        self.labels = gr.Dropdown(multiselect=True, elem_id="labels", **self._labels(first, form))
        self.prompts = gr.Textbox(lines=2, elem_id="prompts", **self._prompts(first, form))
        self.sampler = sampler_field("Sampler", form.sampler, "sampler")
        self.nfe = gr.Slider(
            4, MAX_BUDGET, form.nfe, step=1, label="Budget in evaluations", elem_id="nfe"
        )
        self.seeds = gr.Textbox(
            form.seeds, label="Seeds", info="one image each, such as 0-3,7", elem_id="seeds"
        )
        self.guidance = gr.Slider(1, 8, step=0.1, elem_id="guidance", **self._guidance(first, form))
        with gr.Accordion("When guidance acts, and what it leads away from", open=False):
            self.low = gr.Slider(0, 1, form.low, step=0.05, label="from t")
            self.high = gr.Slider(0, 1, form.high, step=0.05, label="to t")
            self.kind = gr.Dropdown(
                list(KINDS),
                value=form.kind,
                allow_custom_value=True,
                label="Away from",
                elem_id="kind",
                info="the missing condition, or a prediction with half of the patches noisier; "
                "options may follow, such as noisier:ratio=0.5",
            )

    @property
    def all(self) -> list[gr.components.Component]:
        """In the order of a `Form`."""
        return [
            self.model,
            self.labels,
            self.prompts,
            self.sampler,
            self.nfe,
            self.guidance,
            self.low,
            self.high,
            self.kind,
            self.seeds,
        ]

    def filled(self, pipe: Pipeline, form: Form) -> list[Any]:
        """Updates of all fields to a form of a model."""
        return [
            form.model,
            gr.update(**self._labels(pipe, form)),
            gr.update(**self._prompts(pipe, form)),
            form.sampler,
            form.nfe,
            gr.update(**self._guidance(pipe, form)),
            form.low,
            form.high,
            form.kind,
            form.seeds,
        ]

    def _labels(self, pipe: Pipeline, form: Form) -> dict[str, Any]:
        choices = class_choices(pipe)
        return {
            "choices": choices,
            "value": list(form.labels),
            "label": "Classes",
            "info": "several go round over the seeds; none: the model's choice",
            "visible": bool(choices),
        }

    def _prompts(self, pipe: Pipeline, form: Form) -> dict[str, Any]:
        return {
            "value": form.prompts,
            "label": "Prompts, one a line",
            "info": "several go round over the seeds; none: under no condition",
            "visible": pipe.condition_kind.keyword == "prompt",
        }

    def _guidance(self, pipe: Pipeline, form: Form) -> dict[str, Any]:
        conditional = bool(class_choices(pipe)) or pipe.condition_kind.keyword == "prompt"
        return {
            "value": form.guidance,
            "label": "Guidance",
            "info": "1 is none; it costs a second evaluation where it acts",
            "visible": conditional,
        }


class Pictures:
    """Buttons that begin and stop, and what they make."""

    def __init__(self, place: str, begin: str, hint: str):
        with gr.Row():
            self.go = gr.Button(
                begin,
                variant="primary",
                size="md",
                scale=3,
                min_width=120,
                interactive=False,  # until the page knows which tab it is
                elem_id=f"{place}-go",
            )
            self.stop = gr.Button(
                "Stop", size="md", min_width=80, interactive=False, elem_id=f"{place}-stop"
            )
        self.status = html("", elem_id=f"{place}-status")
        self.html = html(hint, asset("cards.js"), elem_id=f"{place}-pictures")
        self.slider = gr.Slider(
            1,
            2,
            2,
            step=1,
            label="Go back to an evaluation; the last position is the end",
            visible=False,
            elem_id=f"{place}-slider",
        )
        with gr.Accordion("The same images as a command line and from Python", open=False):
            self.command = gr.Textbox(
                label="Command line", lines=2, buttons=["copy"], elem_id=f"{place}-command"
            )
            self.python = gr.Textbox(
                label="Python", lines=5, buttons=["copy"], elem_id=f"{place}-python"
            )
        with gr.Accordion("Film and settings", open=False) as self.more:
            self.film = gr.Button("Draw the film", size="md", elem_id=f"{place}-film")
            self.extras = html("", elem_id=f"{place}-extras")

    @property
    def shown(self) -> list[gr.components.Component]:
        """What a view fills, in the order of `view_updates`."""
        return [
            self.html,
            self.status,
            self.slider,
            self.command,
            self.python,
            self.go,
            self.stop,
        ]


class Painter:
    """The image that is edited, and the change map over it, as a grey PNG in its value."""

    def __init__(self) -> None:
        with gr.Row():
            self.load = gr.UploadButton("Load an image …", size="sm", elem_id="load-image")
            self.mask = gr.UploadButton("Load a map …", size="sm", elem_id="load-map")
        with gr.Row():
            self.share = gr.Slider(5, 100, 30, step=5, scale=2, label="Share of hard patches, in %")
            self.hardest = gr.Button(
                "Paint the hardest", size="sm", min_width=120, elem_id="hardest"
            )
        self.canvas = html(
            "",
            asset("painter.js"),
            html_template=asset("painter.html"),
            image="",
            patch=8,
            elem_id="painter",
        )

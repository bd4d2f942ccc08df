"""The card of a shared model: what it is, how it is used, trained, measured and licensed."""

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patch_forcing.generation.describe import model_facts, sampled_by, takes_texts
from patch_forcing.generation.recommended import choose
from patch_forcing.models.dit import PatchDiT
from patch_forcing.scoring.evaluation import Evaluation
from patch_forcing.sharing.scores import results, table
from patch_forcing.sharing.training import OWN, Training

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

LIBRARY = "patch-forcing"
SHEET = "sheet.png"
_MARK = re.compile(r"\n<!-- patch-forcing wrote this card: (\w+) -->\s*$")
_METHOD = """The method is Patch Forcing. The model was made by an independent implementation, which its authors do not endorse.

```bibtex
@inproceedings{schusterbauer2026patchforcing,
  title     = {Denoising, Fast and Slow: Difficulty-Aware Adaptive Sampling for Image Generation},
  author    = {Schusterbauer and Gui and Li and Ma and Krause and Ommer},
  booktitle = {CVPR},
  year      = {2026},
  eprint    = {2604.19141},
  archivePrefix = {arXiv}
}
```"""  # noqa: E501
_GENERATION = "image-generation"
"""What a model of classes does: a tag, and the task of its evaluations."""
_UNKNOWN = "not stated by whoever shared it"


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    hub_id: OWNER/NAME. licence: of the weights, as the Hub writes it; None: nobody states one.
    has_sheet: whether a sheet of samples lies beside the card.
    """

    hub_id: str
    model: PatchDiT
    model_hash: str
    training: Training
    licence: str | None = None
    evaluations: Sequence[Evaluation] = ()
    has_sheet: bool = True

    @property
    def by_class(self) -> bool:
        """Whether classes are its condition."""
        return not takes_texts(self.model) and self.model.config.num_classes > 0

    @property
    def task(self) -> str | None:
        """The Hub's name of what it does; None: it has no name for images of classes."""
        if self.by_class:
            return None
        return "text-to-image" if takes_texts(self.model) else "unconditional-image-generation"


def card_text(subject: Subject) -> str:
    """The whole card, and a mark by which `is_untouched` knows it again."""
    text = str(_card(subject)).rstrip("\n")
    return f"{text}\n\n<!-- patch-forcing wrote this card: {_digest(text)} -->\n"


def is_untouched(card: str) -> bool:
    """Whether a card is as `card_text` made it: a newer one may take its place."""
    card = card.replace("\r\n", "\n")  # as an editor may store it
    mark = _MARK.search(card)
    return mark is not None and mark[1] == _digest(card[: mark.start()].rstrip("\n"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _card(subject: Subject) -> "ModelCard":
    from huggingface_hub import ModelCard, ModelCardData

    space = subject.model.data_info.autoencoder
    scores = results(subject.evaluations, subject.task or _GENERATION)
    data = ModelCardData(
        license=subject.licence,
        library_name=LIBRARY,
        pipeline_tag=subject.task,
        datasets=list(subject.training.datasets) or None,
        tags=[
            LIBRARY,
            "flow-matching",
            "diffusion-transformer",
            "pixel-space" if space is None else "latent-space",
            *([_GENERATION, "class-conditional"] if subject.by_class else []),
            "arxiv:2604.19141",
        ],
        model_name=subject.hub_id.partition("/")[2] if scores else None,
        eval_results=scores or None,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(subject)}\n")


def _body(subject: Subject) -> str:
    parts = [
        f"# {subject.hub_id.partition('/')[2]}",
        _what(subject.model),
        f"![Samples of the model, seeds from 0]({SHEET})" if subject.has_sheet else "",
        "## Use",
        _use(subject),
        "## Model",
        _rows(_model_rows(subject)),
        _classes(subject.model),
        "## Training",
        _training(subject.training),
        "## Evaluation" if subject.evaluations else "",
        table(subject.evaluations),
        "## Licences",
        _rows(_licences(subject)),
        "## Method",
        _METHOD,
    ]
    return "\n\n".join(part for part in parts if part)


def _what(model: PatchDiT) -> str:
    config, space = model.config, model.data_info.autoencoder
    height, width = (side * (1 if space is None else space.factor) for side in config.image_size)
    shown = "of any text" if takes_texts(model) else f"of {config.num_classes} classes"
    if not takes_texts(model) and config.num_classes == 0:
        shown = "without a condition"
    hard = " The model predicts how hard each patch is." if config.predict_difficulty else ""
    return (
        f"Images of {height}×{width} pixels, {shown}, by a diffusion transformer in which every "
        f"patch of the image has its own time.{hard}"
    )


def _use(subject: Subject) -> str:
    first = choose(subject.model, subject.hub_id, {}, {}).conditions.record(0)
    label = first.get("class", first.get("label"))
    if takes_texts(subject.model):
        call = json.dumps(first.get("prompt", "a red cat"), ensure_ascii=False)
    else:
        call = "seeds=[0]" if label is None else f"labels=[{json.dumps(label, ensure_ascii=False)}]"
    return (
        "```python\n"
        "import patch_forcing as pf\n\n"
        f'pipe = pf.load("{subject.hub_id}")\n'
        f'pipe({call}).images[0].save("image.png")\n'
        "```\n\n"
        f"or `patch-forcing sample {subject.hub_id} --count 8`. Both need the package "
        "`patch-forcing`. Nothing of this repository is run: the weights are safetensors, and the "
        "config is JSON."
    )


def _model_rows(subject: Subject) -> dict[str, str]:
    model, facts = subject.model, model_facts(subject.model)
    facts["sampled"] = sampled_by(model, subject.hub_id)
    if advice := choose(model, subject.hub_id, {}, {}).from_model:
        facts["recommended"] = advice
    space, text = model.data_info.autoencoder, model.data_info.text
    if space is not None:
        facts["autoencoder"] = f"`{space.name}` ({space.kind}), downloaded apart, as its licence"
    if text is not None:
        facts["text encoder"] = f"`{text.encoder}`"
    return facts | {"hash": f"`{subject.model_hash}`"}


def _classes(model: PatchDiT) -> str:
    names = model.data_info.class_names
    if not names:
        return ""
    listed = ", ".join(html.escape(name) for name in names)
    return f"<details><summary>{len(names)} classes</summary>\n\n{listed}\n\n</details>"


def _training(training: Training) -> str:
    if not training.rows:
        return "How it was trained is not recorded."
    return _rows(training.rows)


def _licences(subject: Subject) -> dict[str, str]:
    training = subject.training
    data = training.data or "the training images"
    return {
        "code": f"the package `patch-forcing`: {OWN}",
        "weights": subject.licence or f"{_UNKNOWN}: ask before you use them",
        "data": f"{data}; their licence: {training.data_licence or _UNKNOWN}",
    }


def _rows(rows: Mapping[str, str]) -> str:
    """A table of two columns."""
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])

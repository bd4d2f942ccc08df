"""Captions of classes: sentences in which names of folders stand, such as "a {style} of a {thing}".

Nothing here needs torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import Formatter
from typing import TYPE_CHECKING

from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.data.captions import Caption, CaptionError, joined, texts_of

if TYPE_CHECKING:
    from patch_forcing.data.layout import Layout

CLASS = "class"
"""The field of a class's name; of classes such as a/b it is b."""
_ARTICLE = re.compile(r"(?:^|(?<=\W))([Aa])n? $")
_VOWEL = re.compile(r"(?!uni|use|eu|one\b)[aeiou]")
"""How a word begins that takes "an"."""


@dataclass(frozen=True, kw_only=True)
class TemplateOptions:
    """How captions are made of classes."""

    template: tuple[str, ...] = ()
    """Captions made of classes, such as 'a photo of a {class}'; of a/b, {1} is a, {2} and {class}
    are b. Underscores are spaces, and a becomes an before a vowel. Several: each epoch draws one.
    Takes --network.condition text."""
    template_weights: tuple[float, ...] = ()
    """How often each template is drawn. Default: all as often."""

    def check_templates(self, condition: str | None, levels: str | None = None) -> None:
        """Raises UserError for what cannot be a template, or is told without one."""
        for name, value in (("template_weights", self.template_weights), ("levels", levels)):
            if value and not self.template:
                raise UserError(f"data.{name}={value} without a template: add --data.template")
        if not self.template:
            return
        if condition in ("caption", "none"):
            raise UserError(
                f"data.template with data.condition={condition}: a template makes captions of "
                "classes: leave one of the two out"
            )
        for template in self.template:
            _fields(template)
        weights = self.template_weights
        for weight in weights:
            check_range("data.template_weights", weight, 0)
        if weights and (len(weights) != len(self.template) or not any(weights)):
            raise UserError(
                f"data.template_weights={weights} for {len(self.template)} templates: give one "
                "for each, not all 0"
            )

    def captions(self, class_names: Sequence[str], levels: Sequence[str] = ()) -> list[Caption]:
        """Of each class. levels: what the parts of names such as a/b are called in templates.

        Raises UserError for a field that is none, or a class without so many levels.
        """
        counts = {name.count("/") for name in class_names}
        deep = len(counts) == 1
        captions: list[Caption] = []
        for name in class_names:
            parts = name.split("/") if deep else [name]
            if levels and len(levels) != len(parts):
                raise UserError(
                    f"data.levels={','.join(levels)}, but the class {name!r} is of "
                    f"{len(parts)}: name as many"
                )
            numbered = {str(number): part for number, part in enumerate(parts, 1)}
            values = dict(zip(levels, parts, strict=True)) if levels else numbered
            values.setdefault(CLASS, parts[-1])
            texts = [_filled(template, values) for template in self.template]
            weights = self.template_weights or (1.0,) * len(texts)
            try:
                captions.append(joined(zip(texts, weights, strict=True)))
            except CaptionError as error:
                raise UserError(f"data.template: {error}: choose other weights") from None
        return captions

    def of_layout(self, layout: "Layout", levels: Sequence[str] = ()) -> "Layout":
        """The same images with captions in place of classes. Raises UserError if they have none."""
        if layout.condition != "class":
            what = "captions" if layout.captions else "no classes"
            mend = (
                "leave it out, or add --data.condition class"
                if layout.captions
                else "put them into folders of classes"
            )
            raise UserError(f"data.template: images of {layout.root} have {what}: {mend}")
        of_class = self.captions(layout.class_names, levels)
        captions = tuple(of_class[label] for label in layout.labels)
        first = texts_of(of_class[0])[0]
        many = len({text for caption in of_class for text in texts_of(caption)})
        source = f"{layout.notes.source}; {many} captions by template, such as {first!r}"
        return replace(
            layout,
            class_names=(),
            labels=(),
            captions=captions,
            condition="caption",
            notes=layout.notes._replace(source=source),
        )


def read_levels(levels: str | None) -> tuple[str, ...]:
    """Names with commas between. Raises UserError for what is no name, or is there twice."""
    if levels is None:
        return ()
    names = tuple(name.strip() for name in levels.split(","))
    if not all(re.fullmatch(r"[^\W\d][\w-]*", name) for name in names):
        raise UserError(f"data.levels={levels}: give names with commas between, as style,thing")
    if len(set(names)) < len(names):
        raise UserError(f"data.levels={levels}: a name is there twice")
    return names


def _fields(template: str) -> list[tuple[str, str | None]]:
    """Texts, each with the field behind it, if there is one. Raises UserError."""
    place = f"data.template={template!r}"
    if not template.strip():
        raise UserError(f"{place} is empty: write a sentence, or leave it out")
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"{place}: {error}: write {{{{ for a brace that is text") from None
    for _, field, form, conversion in parts:
        if field == "" or form or conversion:
            raise UserError(f"{place}: a field is a name in braces, as {{{CLASS}}}")
    return [(text, field) for text, field, _, _ in parts]


def _filled(template: str, values: dict[str, str]) -> str:
    filled = ""
    for text, field in _fields(template):
        filled += text
        if field is None:
            continue
        if field not in values:
            raise unknown_name("field of data.template", field, values)
        word = " ".join(values[field].replace("_", " ").split())
        if article := _ARTICLE.search(filled):
            n = "n" if _VOWEL.match(word.lower()) else ""
            filled = f"{filled[: article.start()]}{article[1]}{n} "
        filled += word
    return filled.strip()

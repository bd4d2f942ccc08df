"""The judge of captioned scenes: what follows from marks, by scenes whose marks are known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.pages import text as pages
from benchmarks.text.judge import (
    NOTHING,
    QUESTIONS,
    SIZE,
    Found,
    background,
    marks,
    things_in,
    verdicts,
)
from benchmarks.text.run import prompts_of
from patch_forcing.data.emoji_text import CaptionedScenes, Scenes, caption
from tests.support.things import grey_things


@dataclass
class Marked:
    """A judge that knows what it is shown."""

    cells: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        return F.one_hot(self.cells, NOTHING + 1).movedim(-1, 1).float()


@pytest.fixture(scope="module")
def scenes():
    return CaptionedScenes(grey_things(), SIZE).draw(5, torch.arange(150))


def test_real_scenes_are_right_in_all_questions(scenes):
    what, images, drawings = scenes
    things = things_in(Marked(marks(what, drawings)), images)
    answers = verdicts(things, background(images), what)
    assert {name: float(right.mean()) for name, right in answers.items()} == dict.fromkeys(
        QUESTIONS, 1.0
    )
    assert len(answers["count"]) == int((what.number > 1).sum()) > 0
    assert len(answers["relation"]) == int((what.other >= 0).sum()) > 0


def test_places_are_those_of_the_drawings(scenes):
    what, images, drawings = scenes
    alone = (what.number == 1) & (what.other < 0)
    things = things_in(Marked(marks(what, drawings)), images)
    middle = drawings[0].corner + drawings[0].side[:, None] / 2
    for index in alone.nonzero().flatten().tolist():
        (one,) = things[index]
        place = torch.tensor([one.across, one.down])
        assert (place - middle[index]).abs().max() < 0.05


def asked(**changes: int) -> Scenes:
    """One scene: thing 3 on colour 2, and what else is said."""
    values = {"thing": 3, "other": -1, "relation": -1, "number": 1, "colour": 2, **changes}
    return Scenes(**{name: torch.tensor([value]) for name, value in values.items()})


def answers(here: list[Found], scene: Scenes, colour: int = 2) -> dict[str, float]:
    right = verdicts([here], torch.tensor([colour]), scene)
    return {name: float(values) for name, values in right.items() if len(values)}


def test_wrong_answers_are_wrong():
    one = Found(3, 0.5, 0.5)
    assert answers([one], asked()) == {"object": 1, "colour": 1, "all": 1}
    assert answers([one], asked(), colour=1) == {"object": 1, "colour": 0, "all": 0}
    assert answers([], asked()) == {"object": 0, "colour": 1, "all": 0}
    assert answers([one, Found(4, 0.1, 0.1)], asked()) == {"object": 1, "colour": 1, "all": 0}
    three = asked(number=3)
    for number, right in ((2, 0), (3, 1), (4, 0)):
        assert answers([one] * number, three)["count"] == right


@pytest.mark.parametrize(
    ("relation", "place"), [(0, (0.2, 0.5)), (1, (0.8, 0.5)), (2, (0.5, 0.2)), (3, (0.5, 0.8))]
)
def test_things_lie_as_the_relation_says(relation, place):
    pair = asked(other=7, relation=relation)
    second = Found(7, 0.5, 0.5)
    assert caption(3, 7, relation, 1, 2).split(" on ")[0].count(" ") > 1
    for tried in ((0.2, 0.5), (0.8, 0.5), (0.5, 0.2), (0.5, 0.8), (0.45, 0.5)):
        lies = answers([Found(3, *tried), second], pair)["relation"]
        assert lies == (tried == place)
    assert answers([Found(3, *place)], pair)["relation"] == 0
    assert answers([Found(3, *place), second, second], pair)["relation"] == 0


def test_prompts_are_the_captions_of_their_scenes():
    data = CaptionedScenes(grey_things(), 16)
    what, prompts = prompts_of(data, 5)
    rows = torch.stack(what, dim=1).tolist()
    assert prompts == [caption(*row) for row in rows]


def test_the_page_has_a_line_for_each_way_of_sampling():
    shares = dict.fromkeys(QUESTIONS, 0.75)
    made = {"command": "c", "commit": "abc", "date": "2026-11-30", "hardware": "a GPU"}
    made |= {"versions": {"torch": "2.11.0"}}
    row = {"model": "emoji-text", "sampler": "adams-bashforth 48", "guidance": 3.0, "nfe": 47.0}
    row |= {"grid": "shifted:shift=3", "interval": [0.0, 0.8], "kind": "unseen", "prompts": 500}
    row |= {"shares": shares, "asked": dict.fromkeys(QUESTIONS, 500), **made}
    one = {**row, "sampler": "euler 48", "shares": dict.fromkeys(QUESTIONS, 1.0)}
    rows = [row, one, {**row, "guidance": None, "grid": None, "kind": "seen"}]
    text = pages.samplers(rows)
    # Wilson's intervals, by hand: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)
    assert "| Adams–Bashforth | 47 | 75.0 [71.0, 78.6] |" in text
    assert "| Euler | 47 | 100.0 [99.2, 100.0] |" in text
    assert "Combinations trained on" not in text
    text = pages.settings(rows)
    assert "| 3 at t 0 … 0.8 | shifted:shift=3 | 47 | 75.0" in text
    assert "| as recommended | the model's | 47 | 75.0" in text
    assert text.index("Combinations trained on") < text.index("Combinations never trained on")
    real = {"real": {"seen": shares}, "counted": 5000, **made}
    assert "| trained on | 75.00 % |" in pages.judge(real)

"""`plot` as a user types it."""

import json

import pytest
from PIL import Image

from patch_forcing.cli.main import run
from patch_forcing.core.errors import UserError


@pytest.fixture
def runs(here):
    """Two folders with curves, and one without."""
    for name in ("a/cats", "b/cats", "dogs"):
        (here / name).mkdir(parents=True)
        rows = [{"step": step, "velocity": 1 / step} for step in range(1, 9)]
        text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9, "vel'
        (here / name / "metrics.jsonl").write_text(text)
    (here / "empty").mkdir()
    return here


def test_one_run_has_its_picture_beside_it(runs, capsys):
    run(["plot", "dogs"])
    assert capsys.readouterr().out == "dogs: dogs/plot.png\n"
    with Image.open(runs / "dogs" / "plot.png") as picture:
        assert picture.info["Software"] == "patch-forcing"
    run(["plot", "dogs"])  # again, over its own


def test_several_runs_share_one(runs, capsys):
    run(["plot", "a/cats", "dogs", "b/cats", "dogs", "--out", "new/curves.png"])
    assert capsys.readouterr().out == "a/cats, dogs, b/cats: new/curves.png\n"
    assert (runs / "new" / "curves.png").is_file()
    run(["plot", "a/cats", "dogs"])
    assert (runs / "plot.png").is_file()


def test_mistakes_are_one_line(runs, monkeypatch):
    with pytest.raises(UserError, match=r"empty has no line of metrics.jsonl yet: name the folder"):
        run(["plot", "dogs", "empty"])
    with pytest.raises(UserError, match="nowhere has no line"):
        run(["plot", "nowhere"])
    with pytest.raises(UserError, match="name a file that ends in"):
        run(["plot", "dogs", "--out", "x.jpg"])
    (runs / "mine.png").write_text("a photo")
    with pytest.raises(UserError, match="is there and not of this command"):
        run(["plot", "dogs", "--out", "mine.png"])
    monkeypatch.setattr("patch_forcing.views.charts.can_draw", lambda: False)
    with pytest.raises(UserError, match=r"plot needs matplotlib: pip install .*\[bench\]"):
        run(["plot", "dogs"])

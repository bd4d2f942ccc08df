"""The table, the JSON and the chart say what the points say."""

import json

import pytest
from PIL import Image

from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.pipeline import load
from patch_forcing.generation.request import SampleRequest
from patch_forcing.scoring.front import Point, Question
from patch_forcing.scoring.front_report import draw_report, table_head, table_row, write_report

DUAL_LOOP = "dual-loop:easy_fraction=0.5,inner_steps=2"
POINTS = [
    Point("euler", 8, 8, 1.5, 12.345, "euler"),
    Point("euler", 16, 16, 3.0, 6.25, "euler"),
    Point(DUAL_LOOP, 8, 7.5, 1.4, 3.5, DUAL_LOOP),
]
REQUEST = SampleRequest(
    time_grid="shifted:shift=2", guidance_scale=1.5, guidance_interval=(0.2, 0.8)
)
QUESTION = Question((8, 16), 10, REQUEST)


def test_a_row_stands_below_its_head():
    assert table_head(QUESTION).split() == ["NFE", "ms/image", "error"]
    rows = [table_row(point, QUESTION) for point in POINTS[:2]]
    assert rows[0].split() == ["euler", "8", "150.00", "12.35"]
    assert {len(row) for row in rows} == {len(table_head(QUESTION))}


def test_a_row_of_an_emoji_model_has_its_distance_and_accuracy():
    question = Question((8,), 10, features=load_emoji_features())
    row = table_row(Point("euler", 8, 8, 1.5, 12.345, "euler", fd=70.126, accuracy=0.783), question)
    assert table_head(question).split()[-2:] == ["FD", "read"]
    assert row.split()[-2:] == ["70.13", "78.3%"]
    assert len(row) == len(table_head(question))


def test_the_report_holds_all_points_and_what_was_asked(tmp_path):
    pipe = load("digits")
    write_report(POINTS, QUESTION, pipe, "cpu", tmp_path / "front.json")
    report = json.loads((tmp_path / "front.json").read_text(encoding="utf-8"))
    assert [Point(**point) for point in report["points"]] == POINTS
    assert (report["model"], report["model_hash"]) == ("digits", pipe.hash)
    assert (report["images"], report["grid"]) == (10, "shifted:shift=2")
    assert (report["guidance"], report["guidance_interval"]) == (1.5, [0.2, 0.8])
    assert {"hardware", "versions", "commit"} <= report.keys()


def test_the_chart_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw_report(POINTS, QUESTION, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as chart:
        assert chart.width > 800

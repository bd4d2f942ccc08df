"""The house: no arrow of the picture of the floors goes up, and no variable has a vague name."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
VAGUE = {"told", "said", "found", "some", "each"}
"""They name no thing: a variable is a noun of the field."""


def test_no_arrow_goes_up_and_the_picture_in_the_documents_shows_the_floors_of_today(tmp_path):
    picture = tmp_path / "floors.png"
    command = [sys.executable, ROOT / "docs/draw_floors.py", "--out", picture]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    with Image.open(picture) as drawn, Image.open(ROOT / "docs/images/floors.png") as published:
        assert min(drawn.size) > 500
        floors = json.loads(drawn.text["floors"])
        assert json.loads(published.text["floors"]) == floors
    assert floors[-1] == ["core"]
    folders = {file.parent.name for file in (ROOT / "src/patch_forcing").glob("*/__init__.py")}
    assert folders <= {room for rooms in floors for room in rooms}


def test_no_variable_has_a_vague_name():
    places = []
    for folder in ("src", "benchmarks", "docs", "examples", "tests"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                name = node.id if stored else getattr(node, "arg", getattr(node, "name", None))
                if name in VAGUE and isinstance(node, ast.Name | ast.arg | ast.FunctionDef):
                    places.append(f"{file.relative_to(ROOT)}:{node.lineno}: {name}")
    assert places == []

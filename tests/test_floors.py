"""The picture of the floors is drawn from the source, and no arrow in it goes up."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent


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

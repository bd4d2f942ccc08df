"""Every command and example of docs/sharing.md works, on a Hub of this machine."""

import re
import shlex
from pathlib import Path

from patch_forcing.cli.main import run
from tests.support.hub import OWNER
from tests.support.tiny import SMALL_NETWORK

PAGE = Path(__file__).parent.parent / "docs" / "sharing.md"


def test_the_page_runs_from_top_to_bottom(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(
        [
            "train",
            "digits",
            *SMALL_NETWORK,
            "--batch-size",
            "8",
            "--steps",
            "1",
            "--sample-every",
            "0",
        ]
    )
    text = PAGE.read_text(encoding="utf-8").replace("OWNER/", f"{OWNER}/")
    names: dict[str, object] = {}
    blocks = re.findall(r"```(python)?\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 6
    for kind, block in blocks:
        if kind:
            exec(compile(block, PAGE.name, "exec"), names)
            continue
        for line in block.splitlines():
            command = shlex.split(line)
            assert command[0] == "patch-forcing"
            run(command[1:])
    repository = hub.repositories["me/digits"]
    assert repository.private
    assert set(repository.branches) == {"main", "v2"}
    printed = capsys.readouterr().out
    assert "\nme/digits@v2\n" in printed
    assert (tmp_path / "image.png").is_file()
    assert len([*(tmp_path / "more").glob("?.png")]) == 4
    assert {file.name for file in (tmp_path / "shared").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "sheet.png",
    }  # fmt: skip

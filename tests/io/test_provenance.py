"""Where a result comes from."""

import subprocess

from patch_forcing.io.provenance import commit, hardware, versions


def test_the_commit_is_this_tree_s_or_nothing(monkeypatch):
    monkeypatch.delenv("PATCH_FORCING_COMMIT", raising=False)
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    name = commit()
    assert name is None or git.stdout.startswith(name.removesuffix("-dirty"))


def test_a_tree_without_its_history_can_be_told_its_commit(monkeypatch):
    monkeypatch.setenv("PATCH_FORCING_COMMIT", "0123456789ab")
    assert commit() == "0123456789ab"


def test_what_can_change_a_number_is_named():
    assert versions()["torch"].startswith("2.")
    assert hardware("cpu").endswith("threads")

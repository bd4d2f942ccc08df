"""Captions of images go with their latents."""

import shlex

import pytest

import patch_forcing as pf
from patch_forcing.cli.main import run
from tests.support.image_files import photos

ENCODE = ["--size", "32", "--batch-size", "4", "--shard-size", "8", "--device", "cpu"]


@pytest.mark.slow
def test_captions_are_encoded_and_what_they_are_good_for_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "images", {"": 2})
    for file in (tmp_path / "images").glob("*.png"):
        file.with_suffix(".txt").write_text("a caption")
    run(["encode", "images", "--autoencoder", "pixels", "--out", "x", *ENCODE])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("captions train a network of texts")
    assert lines[-1].endswith("--data.path x --network.condition text")
    with pytest.raises(pf.UserError, match="x comes with captions: add --network"):
        run(["train", "imagenet256-sit-b", "--data.path", "x", "--dry-run", "--device", "cpu"])
    smaller = ["--network.hidden-size", "64", "--network.depth", "2", "--network.num-heads", "2"]
    for end in ([], ["--network.condition", "class", "--data.condition", "none"]):
        train = ["train", *shlex.split(lines[-1])[3:], *end, *smaller]
        run([*train, "--dry-run", "--device", "cpu"])
    without = ["encode", "images", "--autoencoder", "pixels", "--condition", "none", *ENCODE]
    with pytest.raises(pf.UserError, match="another --out"):
        run([*without, "--out", "x"])
    run([*without, "--out", "y"])
    assert "takes captions" not in capsys.readouterr().out

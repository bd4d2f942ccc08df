"""Models from the Hub: the client's own requests to a Hub on this machine, and all that fails."""

import json
import pickle
from contextlib import suppress

import pytest

import patch_forcing as pf
from patch_forcing.generation.find import find_bundled
from tests.support.hub import Fault, Repository, set_offline

DIGITS = {file.name: file.read_bytes() for file in find_bundled("digits").iterdir()}
WEIGHTS = "model.safetensors"


@pytest.fixture
def shared(hub):
    """The digits at me/digits."""
    hub.repositories["me/digits"] = Repository()
    hub.repositories["me/digits"].commit(DIGITS)
    return hub.repositories["me/digits"]


def renamed(class_name):
    """The same model, whose first class has this name."""
    config = json.loads(DIGITS["config.json"])
    config["data"]["class_names"][0] = class_name
    return {"config.json": json.dumps(config).encode()}


def refusal(name="me/digits", **options):
    with pytest.raises(pf.UserError) as error:
        pf.load(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_two_files_are_downloaded_once_and_nothing_else(hub, shared):
    shared.commit({"train.py": b"raise", "old.pt": pickle.dumps(1), "optimizer.bin": b"x" * 10})
    pipe = pf.load("me/digits")
    assert (pipe.name, pipe.hash) == ("me/digits", pf.load("digits").hash)
    given = [line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line]
    assert set(given) == {"config.json", WEIGHTS}
    hub.asked.clear()
    pf.load("me/digits")
    assert not [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]


def test_a_branch_or_a_commit_may_be_named_and_so_may_the_cache(shared, tmp_path):
    first = shared.branches["main"]
    shared.commit(renamed("nought"), "v2")
    cache = tmp_path / "mine"
    pipe = pf.load("me/digits", revision="v2", cache_dir=cache)
    assert (pipe.name, pipe.class_names[0]) == ("me/digits@v2", "nought")
    assert cache in pipe.folder.parents
    assert pf.load("me/digits@v2").class_names[0] == "nought"
    shared.commit(renamed("zero"))
    assert pf.load("me/digits").class_names[0] == "zero"
    assert pf.load(f"me/digits@{first}").class_names[0] == "0"
    assert "give one of them" in refusal("me/digits@v2", revision="v1")
    assert "lies here, not on the Hub" in refusal("digits", revision="v2")


@pytest.mark.usefixtures("shared")
def test_what_was_downloaded_is_there_without_a_network(hub, monkeypatch):
    pf.load("me/digits")
    set_offline(True, monkeypatch)
    hub.asked.clear()
    pf.load("me/digits")
    assert hub.asked == []


@pytest.mark.usefixtures("shared")
def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub):
    hub.faults.append(Fault(f"GET .*{WEIGHTS}", cut=1000, times=1))
    with suppress(pf.UserError):  # releases of the client before 1.0 do not go on by themselves
        pf.load("me/digits")
    assert pf.load("me/digits").hash == pf.load("digits").hash
    assert hub.parts == ["bytes=1000-"]


@pytest.mark.usefixtures("shared")
def test_one_that_never_ends_is_named_and_the_next_attempt_goes_on(hub):
    hub.faults.append(Fault(f"GET .*{WEIGHTS}", cut=0))
    assert "it cannot be reached (" in refusal()
    hub.faults.clear()
    assert pf.load("me/digits").hash == pf.load("digits").hash


FAILS = {
    "unknown": ("me/none", {}, "there is no such repository, or this token may not see it"),
    "revision": ("me/digits", {"revision": "v9"}, "it has no revision 'v9': name a branch, a tag"),
    "commit": ("me/digits@" + 40 * "0", {}, f"it has no revision '{40 * '0'}'"),
    "private": ("you/secret", {}, "or it is private: check the name, or log in (hf auth login"),
    "down": ("me/down", {}, "it answers 503: try again later"),
    "gated": ("me/gated", {}, "its owner grants access one by one: ask for it on its page, then"),
    "no name": ("me/a--b", {}, "that is no name of a repository: write OWNER/NAME"),
}


@pytest.mark.parametrize("case", FAILS)
@pytest.mark.usefixtures("shared")
def test_what_the_hub_refuses_is_said_in_one_line(hub, monkeypatch, case):
    name, options, message = FAILS[case]
    if case == "private":
        hub.repositories["you/secret"] = Repository(private=True)
        monkeypatch.delenv("HF_TOKEN")
    hub.faults += [Fault("me/down", status=503), Fault("me/gated", status=403, code="GatedRepo")]
    assert message in refusal(name, **options)


def test_without_a_network_it_is_said(hub, monkeypatch):
    set_offline(True, monkeypatch)
    assert "HF_HUB_OFFLINE is set, and it is not in the cache" in refusal()
    set_offline(False, monkeypatch)
    hub.close()
    assert "it cannot be reached (Conn" in refusal()


OTHERS = {
    "pickle": ({"config.json": b"{}", "pytorch_model.bin": pickle.dumps(print)},
               r"weights are a pickle (pytorch_model.bin), which is never loaded: bring the file"),
    "checkpoint": ({"pft-xl.ckpt": b"x"}, "a pickle (pft-xl.ckpt), which is never loaded"),
    "pipeline": ({"model_index.json": b'{"_class_name": "FluxPipeline"}', "vae.bin": b"x"},
                 "it is a pipeline of diffusers (FluxPipeline): load it with diffusers"),
    "images": ({"cat.png": b"x"}, "no model of patch-forcing: give one that patch-forcing push"),
    "code": ({"config.json": b'{"auto_map": {"AutoModel": "evil.Model"}}', WEIGHTS: b"",
              "evil.py": b"raise SystemExit('run')"},
             "asks to run code that lies beside it (auto_map), which is never done"),
    "renamed": ({**DIGITS, WEIGHTS: pickle.dumps(print)}, "model.safetensors is truncated or dam"),
    "other": ({"config.json": b'{"model_type": "bert"}', WEIGHTS: b""}, "is not a model's config"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_model_of_ours_is_named_and_never_run(hub, tmp_path, case):
    files, message = OTHERS[case]
    hub.repositories["you/other"] = Repository()
    hub.repositories["you/other"].commit(files)
    assert message in refusal("you/other")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    if case not in ("images", "pickle"):
        assert message in refusal(str(tmp_path))

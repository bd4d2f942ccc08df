"""Hostile and damaged checkpoint files: nothing runs, nothing is written, one line says why."""

import builtins
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.cli.main import main
from patch_forcing.io.safe_pickle import read_pickle
from patch_forcing.io.torch_file import _call, read_torch_file
from tests.support import published


class Calls:
    """Unpickled, it calls the function."""

    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def archive(program: bytes, *entries: tuple[str, bytes], **how) -> bytes:
    """A torch file whose pickle is given byte by byte."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as made:
        for name, data in (("x/data.pkl", program), *entries):
            made.writestr(name, data)
    return stream.getvalue()


def text(word: str) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


def small(number: int) -> bytes:
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)  # LONG1


def tensor(
    count: int = 4, offset: int = 0, size: tuple = (4,), stride: tuple = (1,), key: str = "0"
) -> bytes:
    """The pickle of a dict with one tensor, whatever it claims."""
    numbers = [b"(" + b"".join(map(small, row)) + b"t" for row in (size, stride)]
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    storage += small(count) + b"tQ"
    arguments = b"(" + storage + small(offset) + b"".join(numbers) + b"\x89}t"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"
    return b"\x80\x02}" + text("w") + rebuilt + b"s."


FOUR = ("x/data/0", bytes(16))


def saved(what) -> bytes:
    stream = io.BytesIO()
    torch.save(what, stream)
    return stream.getvalue()


def hostile(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Files, and what is said of each."""
    touch = f"touch {canary}"
    write = f"open({str(canary)!r}, 'w')"
    laugh = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([k + 1]) + b"(" + b"h" + bytes([k]) + b"h" + bytes([k]) + b"e"
        for k in range(60)
    )
    good = saved(published.random_state())
    gadget = b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR."
    files = {
        "os.system": (saved({"w": Calls(os.system, touch)}), "posix.system"),
        "eval": (saved({"w": Calls(eval, write)}), "builtin"),
        "exec": (saved({"w": Calls(exec, write)}), "builtin"),
        "import": (saved({"w": Calls(builtins.__import__, "os")}), "__import__"),
        "popen": (saved({"w": Calls(subprocess.Popen, ["touch", str(canary)])}), "Popen"),
        "open": (saved({"w": Calls(io.open, str(canary), "w")}), "open"),
        "getattr": (archive(gadget), "builtins.getattr"),
        "dotted name": (
            archive(b"\x80\x04" + text("os") + text("path.os.system") + b"\x93."), "os.path.os",
        ),
        "torch.load within": (saved({"w": Calls(torch.load, str(canary))}), "load"),
        "torch.hub": (archive(b"\x80\x02ctorch.hub\nload\n(tR."), "torch.hub.load"),
        "a type called": (archive(b"\x80\x02cbuiltins\ndict\n)R."), "builtins.dict"),
        "a module as state": (saved({"state_dict": torch.nn.Linear(1, 1)}), "Linear"),
        "a nested pickle": (
            saved({"w": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch)))}), "_codecs.en",
        ),
        "an extension code": (archive(b"\x80\x02\x82\x01."), "instruction EXT1"),
        "old instances": (archive(b"(" + text(touch) + b"ios\nsystem\n."), "instruction INST"),
        "a dotted storage": (
            archive(tensor().replace(b"FloatStorage", b"load"), FOUR), "torch.load",
        ),
        "state set on a name": (
            archive(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + b"b."), "a state of what",
        ),
        "state set on a tensor": (archive(tensor()[:-2] + b"}bs.", FOUR), "a state of what"),
        "items added to a text": (archive(b"\x80\x02" + text("a") + b"K\x01a."), "no list"),
        "8 EiB of bytes": (archive(b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f."), "damaged"),
        "a text of 4 GiB": (archive(b"\x80\x02X\xff\xff\xff\xffabc."), "damaged"),
        "a memo at 4 billion": (archive(b"\x80\x02]r\xff\xff\xff\xff."), "lacks|no dict"),
        "a frame of 2^62": (archive(b"\x80\x04\x95" + b"\xff" * 7 + b"\x3f]."), "damaged|no dict"),
        "lists in lists, 2^60": (archive(laugh + b"."), "more containers"),
        "lists 10,000 deep": (
            archive(b"\x80\x02" + b"]" * 10**4 + b"a" * 9999 + b"."), "more containers",
        ),
        "tuples 100,000 deep as a key": (
            archive(b"\x80\x02})" + b"\x85" * 10**5 + b"K\x01s."), "no texts or numbers",
        ),
        "a list that holds itself": (archive(b"\x80\x02]q\x00h\x00a."), "more containers"),
        "no end": (archive(b"\x80\x02]"), "damaged"),
        "an empty stack": (archive(b"\x80\x02a."), "damaged"),
        "an empty pickle": (archive(b""), "damaged"),
        "numbers beyond the file": (archive(tensor(1 << 40), FOUR), "1099511627776 numbers in 16"),
        "a shape beyond its numbers": (archive(tensor(size=(1 << 40,)), FOUR), "a tensor of shape"),
        "an offset beyond": (archive(tensor(offset=1), FOUR), "beyond its numbers"),
        "a stride beyond": (archive(tensor(size=(4,), stride=(2,)), FOUR), "beyond its numbers"),
        "an offset below": (archive(tensor(offset=-1), FOUR), "impossible shape"),
        "a stride below": (archive(tensor(stride=(-1,)), FOUR), "impossible shape"),
        "a thousand axes": (
            archive(tensor(size=(1,) * 999, stride=(1,) * 999), FOUR), "impossible",
        ),
        "one number seen 2^40 times": (
            archive(tensor(size=(1 << 20, 1 << 20), stride=(0, 0)), FOUR), "a tensor of shape",
        ),
        "numbers that are missing": (archive(tensor(key="7"), FOUR), "without its numbers"),
        "numbers outside the archive": (archive(tensor(key="../../../etc/passwd")), "without its"),
        "entries outside the archive": (
            archive(b"\x80\x02}.", ("../../canary", b"x"), ("/tmp/canary", b"x")), "lacks the",
        ),
        "a bomb": (
            archive(b"\x80\x02}.", ("x/data/0", bytes(10**7)), compression=zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        "a byte order": (archive(b"\x80\x02}.", ("x/byteorder", b"big")), "highest byte"),
        "two pickles": (archive(b"\x80\x02}.", ("y/data.pkl", b"\x80\x02}.")), "several data.pkl"),
        "a zip of another kind": (
            archive(b"").replace(b"data.pkl", b"data.npy"), "evil.pt is no file of torch.save",
        ),
        "half a file": (good[: len(good) // 2], "truncated or damaged"),
        "a byte turned": (good.replace(b"FloatStorage", b"FloatStorbge"), "damaged|FloatStorbge"),
        "a bare pickle": (pickle.dumps(Calls(os.system, touch)), "bare pickle"),
        "an image": (b"\x89PNG\r\n", "no file of torch.save"),
        "nothing": (b"", "no file of torch.save"),
        "a target to import": (
            saved({"config": {"target": "os.system", "params": {"command": touch}},
                   "state_dict": {}}), "lacks the tensor",
        ),
    }  # fmt: skip
    return files


NAMES = sorted(hostile(Path("canary")))


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_ends_in_one_line_and_nothing_else(tmp_path, monkeypatch, capsys, name):
    canary = tmp_path / "canary"
    data, reasons = hostile(canary)[name]
    (tmp_path / "evil.pt").write_bytes(data)
    ran: list[str] = []
    watched = {"os.system", "subprocess.Popen", "exec", "compile", "pickle.find_class", "os.exec"}
    watching = [True]

    def note(event, arguments):
        if watching and (event in watched or (event == "open" and str(canary) in str(arguments))):
            ran.append(event)

    monkeypatch.setattr(
        sys, "argv", ["patch-forcing", "convert", str(tmp_path / "evil.pt"), "--out"]
    )
    sys.argv.append(str(tmp_path / "out"))
    import patch_forcing.cli.convert
    import patch_forcing.runs.convert  # noqa: F401

    sys.addaudithook(note)
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        watching.clear()
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert len(error.splitlines()) == 1
    assert any(part in error for part in reasons.split("|")), error
    assert "evil.pt" in error
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]
    assert "pickle.find_class" not in ran
    assert not {"os.system", "subprocess.Popen", "os.exec", "open"} & set(ran)


@given(data=st.binary(max_size=60))
def test_any_bytes_as_a_pickle_give_plain_data_or_an_error(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("x") / "x.pt"
    file.write_bytes(archive(b"\x80\x02" + data + b"."))
    try:
        read_torch_file(file)
    except pf.UserError as error:
        assert len(str(error).splitlines()) == 1


@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_one_altered_byte_never_gives_other_numbers(tmp_path_factory, place, byte):
    """The archive's checksums see it, or it was of no consequence."""
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.int64)}
    data = bytearray(saved(weights))
    data[int(place * len(data))] = byte
    file = tmp_path_factory.mktemp("x") / "x.pt"
    file.write_bytes(data)
    try:
        read = read_torch_file(file)
    except pf.UserError:
        return
    assert all(read[name].equal(weights[name]) for name in weights if name in read)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64])
def test_tensors_of_any_layout_come_out_as_they_were(tmp_path, dtype):
    base = torch.arange(24).view(2, 3, 4).to(dtype)
    made = {
        "whole": base,
        "turned": base.mT,
        "part": base[1, :, 1:3],
        "one": base[1, 2, 3],
        "none": base[:0],
        "parameter": torch.nn.Parameter(base.double()),
        "tied": base[0],
    }
    torch.save({"deep": [made, "text", 1.5, None, True, (1, 2)]}, tmp_path / "x.pt")
    read = read_torch_file(tmp_path / "x.pt")
    assert read["deep"][1:] == ["text", 1.5, None, True, [1, 2]]
    for name, value in made.items():
        assert read["deep"][0][name].equal(value)
        assert read["deep"][0][name].dtype == value.dtype


def test_omegaconf_containers_become_plain():
    stored = Path(__file__).with_name("omegaconf.pkl").read_bytes()
    assert read_pickle(stored, call=_call, persistent=lambda _: None) == {
        "target": "some.module.Network",
        "params": {"num_heads": 8, "sizes": [2, {"x": None}], "name": "${target}"},
    }

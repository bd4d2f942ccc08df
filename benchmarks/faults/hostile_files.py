"""Files made to do harm, given to whatever this library loads; for benchmarks/faults/rows.py."""

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from patch_forcing.cli.main import run as command
from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import write_manifest
from patch_forcing.models.config import DataInfo, PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from tests.support.image_files import encoded, jpeg_of_size, noise, png

DEEP = "[" * 100_000
TRAIN = ["--network.patch-size", "4", "--network.hidden-size", "16", "--network.depth", "1"]
TRAIN += ["--network.num-heads", "2", "--batch-size", "8", "--device", "cpu"]


class Evil:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def cases(here: Path, canary: Path) -> dict[str, Callable[[], bool]]:
    """Each makes its files below `here` and loads them: True if refused in one line, else False.

    Raises AssertionError if that is not what should have happened.
    """
    base = here / "base"
    evil = pickle.dumps({"state_dict": Evil(canary)})
    target = {"target": "os.system", "params": {"command": f"touch {canary}"}}

    def model(name: str, **config: object) -> Path:
        folder = here / name
        sizes = PatchDiTConfig(4, in_channels=1, hidden_size=8, depth=1, num_heads=1, num_classes=2)
        PatchDiT(sizes, DataInfo(class_names=("../../../canary", str(canary)))).save(folder)
        record = json.loads((folder / "config.json").read_text())
        record["model"] |= config.pop("model", {})
        (folder / "config.json").write_text(json.dumps(record | config))
        return folder

    def sample(folder: Path, refused: str | None) -> bool:
        line = ["sample", str(folder), "--labels", "0", "--steps", "1", "--out", f"{folder}-out"]
        return _expect(line, refused)

    def weights(name: str, data: bytes, refused: str = "truncated or damaged") -> bool:
        folder = model(name)
        (folder / "model.safetensors").write_bytes(data)
        return sample(folder, refused)

    def header(text: str, length: int | None = None) -> bytes:
        data = text.encode()
        return (len(data) if length is None else length).to_bytes(8, "little") + data

    def torch_zip() -> bool:
        torch.save({"w": Evil(canary)}, here / "evil.pt")
        return weights("torch-zip", (here / "evil.pt").read_bytes())

    def config_text(text: str) -> bool:
        folder = model(f"text-{len(text)}")
        (folder / "config.json").write_text(text)
        return sample(folder, "not a model's config")

    def odd_tensor() -> bool:
        folder = model("odd-tensor")
        save_file({"../../../canary": torch.ones(1)}, folder / "model.safetensors")
        return sample(folder, "lacks the tensor")

    def code_beside() -> bool:
        folder = model("code-beside")
        for name in ("pytorch_model.bin", "optimizer.pt", "config.pkl"):
            (folder / name).write_bytes(evil)
        for name in ("__init__.py", "modeling.py", "config.py"):
            (folder / name).write_text(f"import os; os.system('touch {canary}')")
        return sample(folder, None)

    def train(name: str, damage: Callable[[Path], None], refused: str | None) -> bool:
        folder = here / name
        line = ["train", "digits", *TRAIN, "--log-every", "1", "--out", str(folder)]
        if not base.exists():
            for steps in ("1", "2"):
                command([*line[:-1], str(base), "--steps", steps])
        shutil.copytree(base, folder)
        damage(folder)
        return _expect([*line, "--steps", "3"], refused)

    def record(**more: object) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            found = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(
                json.dumps({**found, "recipe": found["recipe"] | more})
            )

        return change

    def newest(folder: Path) -> Path:
        return folder / "checkpoints/step-00000002"

    def traversal(folder: Path) -> None:
        entry = {"bytes": 1, "sha256": "0"}
        rows = {"../../../../../../etc/passwd": entry, "/etc/passwd": entry, str(canary): entry}
        (newest(folder) / "manifest.json").write_text(json.dumps(rows))

    def evil_optimizer(folder: Path) -> None:
        (newest(folder) / "optimizer.safetensors").write_bytes(evil)
        write_manifest(newest(folder))

    def link(folder: Path) -> None:
        shutil.copytree(newest(folder), here.parent / "outside/linked")
        shutil.rmtree(newest(folder))
        newest(folder).symlink_to(here.parent / "outside/linked")
        for step in range(3):  # so many that the link is removed by the rotation
            shutil.copytree(newest(folder), folder / f"checkpoints/step-0000001{step}")

    def lines(folder: Path) -> None:
        for name in ("metrics.jsonl", "bad-samples.jsonl"):
            rows = [DEEP, '{"step": 1}', '{"step": NaN}', '{"step": 1e999}', "[1]"]
            (folder / name).write_bytes("\n".join(rows).encode() + b"\n" + evil + b"\n")

    def atlas(name: str, sheet: bytes, text: str | None = None) -> bool:
        folder = here / name
        folder.mkdir()
        (folder / "atlas.png").write_bytes(sheet)
        about = {"file": "../../../canary", "sha256": hashlib.sha256(sheet).hexdigest()}
        rows = [{"text": "x", "name": "../../canary", "group": "/", "subgroup": ".."}]
        whole = {"format": 2, "identity": "0", "atlas": about, "emoji": rows, **target}
        (folder / "manifest.json").write_text(text or json.dumps(whole))
        line = ["train", "emoji-64-smoke", "--data.path", str(folder), "--out", f"{folder}-out"]
        return _expect(line, "is damaged or of another version")

    def images() -> bool:
        folder = here / "images"
        folder.mkdir()
        for number in range(12):
            (folder / f"{number}.png").write_bytes(encoded(noise(seed=number)))
        (folder / "bomb.png").write_bytes(png(60_000, 60_000, bytes(1000)))
        (folder / "bomb.jpg").write_bytes(jpeg_of_size(65_000, 65_000))
        (folder / "pickle.png").write_bytes(evil)
        np.savez(here / "array.npz", Evil(canary), allow_pickle=True)
        (here / "array.npz").rename(folder / "array.png")
        line = ["train", "folder", "--data.path", str(folder), *TRAIN, "--data.size", "16"]
        return _expect([*line, "--steps", "5", "--out", f"{folder}-out"], None)

    overlap = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    bomb = png(20_000, 20_000, bytes(1000))  # says that it has 400 megapixels
    return {
        "weights that are a pickle": lambda: weights("pickle", evil),
        "weights that are torch's zip of a pickle": torch_zip,
        "a header of 2^63 bytes": lambda: weights("long", header("{}", (1 << 63) - 1)),
        "a header nested 100,000 deep": lambda: weights("nested", header(DEEP)),
        "a tensor of 4 TiB in 100 bytes": lambda: weights("t", header(json.dumps({"w": overlap}))),
        "a tensor named ../../../canary": odd_tensor,
        "class names that are paths": lambda: sample(model("names"), None),
        "pickles and code beside a model": code_beside,
        "class: os.system": lambda: sample(
            model("class", **{"class": "os.system"}), "unknown class"
        ),
        "target: in the sizes": lambda: sample(model("sizes", model=target), "unknown size"),
        "target: beside the class": lambda: sample(model("beside", **target), None),
        "a config that is a pickle": lambda: config_text(evil.decode("latin-1")),
        "a config nested 100,000 deep": lambda: config_text(DEEP),
        "a network of 10^12 blocks": lambda: sample(
            model("deep", model={"depth": 10**12}), "depth="
        ),
        "a network 4·10^15 wide": lambda: sample(
            model("wide", model={"hidden_size": 4 * 10**15}), "config.json"
        ),
        "run.json that is a pickle": lambda: train(
            "run-pickle", lambda run: _write(run / "run.json", evil), "run.json is damaged"
        ),
        "run.json nested 100,000 deep": lambda: train(
            "run-deep", lambda run: _write(run / "run.json", DEEP.encode()), "run.json is damaged"
        ),
        "target: in run.json": lambda: train("run-target", record(**target), "unknown field"),
        "data of kind os.system in run.json": lambda: train(
            "run-kind", record(data={"kind": "os.system"}), "data.kind='os.system'"
        ),
        "a checkpoint that lists /etc/passwd": lambda: train("traversal", traversal, None),
        "a manifest nested 100,000 deep": lambda: train(
            "manifest", lambda run: _write(newest(run) / "manifest.json", DEEP.encode()), None
        ),
        "an optimizer that is a pickle, checksum right": lambda: train(
            "optimizer", evil_optimizer, "does not fit this run"
        ),
        "a checkpoint that is a link out of the run": lambda: train("link", link, None),
        "metrics and bad samples of garbage": lambda: train("lines", lines, None),
        "an atlas of 400 megapixels": lambda: atlas("bomb", bomb),
        "an atlas whose list is nested 100,000 deep": lambda: atlas("list", bomb, DEEP),
        "images that are bombs, pickles and arrays": images,
    }  # fmt: skip


def _write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def _expect(line: list[str], refused: str | None) -> bool:
    try:
        command(line)
    except UserError as error:
        assert refused is not None, f"refused: {error}"
        assert refused in str(error), f"{refused!r} is not in {error}"
        assert len(str(error).splitlines()) == 1, f"{error} is not one line"
        return True
    assert refused is None, "not refused"
    return False


def watch(canary: Path, out: list[str]) -> None:
    """From now on, note in `out` what would execute something."""
    forbidden = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}
    forbidden |= {"os.fork", "os.forkpty", "ctypes.dlopen", "code.__new__"}

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event in forbidden or (event in ("open", "import") and str(canary) in repr(arguments)):
            out.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(note)

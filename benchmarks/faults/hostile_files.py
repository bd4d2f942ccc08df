"""Files made to do harm, given to whatever this library loads; for benchmarks/faults/files.py."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.faults.harm import Cases, Evil, Harm, expect
from patch_forcing.cli.main import run as command
from patch_forcing.io.atomic import write_manifest
from patch_forcing.models.config import DataInfo, PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from tests.support.image_files import encoded, jpeg_of_size, noise, png

DEEP = "[" * 100_000
TRAIN = ["--network.patch-size", "4", "--network.hidden-size", "16", "--network.depth", "1"]
TRAIN += ["--network.num-heads", "2", "--batch-size", "8", "--device", "cpu"]


def cases(here: Path, canary: Path) -> Cases:
    """Each makes its files below `here` and loads them: True if refused in one line, else False.

    Raises AssertionError if that is not what should have happened.
    """
    harm = here, canary
    return HarmfulModels(*harm).cases() | HarmfulRuns(*harm).cases() | HarmfulData(*harm).cases()


class HarmfulModels(Harm):
    """Model folders, sampled from."""

    def cases(self) -> Cases:
        """By name."""
        overlap = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
        return {
            "weights that are a pickle": lambda: self.weights("pickle", self.evil),
            "weights that are torch's zip of a pickle": self.torch_zip,
            "a header of 2^63 bytes": lambda: self.weights("long", header("{}", (1 << 63) - 1)),
            "a header nested 100,000 deep": lambda: self.weights("nested", header(DEEP)),
            "a tensor of 4 TiB in 100 bytes": lambda: self.weights(
                "t", header(json.dumps({"w": overlap}))
            ),
            "a tensor named ../../../canary": self.odd_tensor,
            "class names that are paths": lambda: self.sample(self.model("names"), None),
            "pickles and code beside a model": self.code_beside,
            "class: os.system": lambda: self.sample(
                self.model("class", **{"class": "os.system"}), "unknown class"
            ),
            "target: in the sizes": lambda: self.sample(
                self.model("sizes", model=self.target), "unknown size"
            ),
            "target: beside the class": lambda: self.sample(
                self.model("beside", **self.target), None
            ),
            "a config that is a pickle": lambda: self.config_text(self.evil.decode("latin-1")),
            "a config nested 100,000 deep": lambda: self.config_text(DEEP),
            "a network of 10^12 blocks": lambda: self.sample(
                self.model("deep", model={"depth": 10**12}), "depth="
            ),
            "a network 4·10^15 wide": lambda: self.sample(
                self.model("wide", model={"hidden_size": 4 * 10**15}), "config.json"
            ),
        }

    def model(self, name: str, **config: object) -> Path:
        """A whole model folder, its config changed."""
        folder = self.here / name
        sizes = PatchDiTConfig(4, in_channels=1, hidden_size=8, depth=1, num_heads=1, num_classes=2)
        PatchDiT(sizes, DataInfo(class_names=("../../../canary", str(self.canary)))).save(folder)
        record = json.loads((folder / "config.json").read_text())
        record["model"] |= config.pop("model", {})
        (folder / "config.json").write_text(json.dumps(record | config))
        return folder

    def sample(self, folder: Path, refused: str | None) -> bool:
        """Samples from it by the command."""
        line = ["sample", str(folder), "--labels", "0", "--steps", "1", "--out", f"{folder}-out"]
        return expect(line, refused)

    def weights(self, name: str, data: bytes, refused: str = "truncated or damaged") -> bool:
        """A model whose weights are these bytes."""
        folder = self.model(name)
        (folder / "model.safetensors").write_bytes(data)
        return self.sample(folder, refused)

    def torch_zip(self) -> bool:
        """Weights as torch's own zip of a pickle."""
        torch.save({"w": Evil(self.canary)}, self.here / "evil.pt")
        return self.weights("torch-zip", (self.here / "evil.pt").read_bytes())

    def config_text(self, text: str) -> bool:
        """A model whose config is this text."""
        folder = self.model(f"text-{len(text)}")
        (folder / "config.json").write_text(text)
        return self.sample(folder, "not a model's config")

    def odd_tensor(self) -> bool:
        """Weights named as a path."""
        folder = self.model("odd-tensor")
        save_file({"../../../canary": torch.ones(1)}, folder / "model.safetensors")
        return self.sample(folder, "lacks the tensor")

    def code_beside(self) -> bool:
        """Pickles and code beside the weights."""
        folder = self.model("code-beside")
        for name in ("pytorch_model.bin", "optimizer.pt", "config.pkl"):
            (folder / name).write_bytes(self.evil)
        for name in ("__init__.py", "modeling.py", "config.py"):
            (folder / name).write_text(f"import os; os.system('touch {self.canary}')")
        return self.sample(folder, None)


class HarmfulRuns(Harm):
    """Run folders, gone on with."""

    def cases(self) -> Cases:
        """By name."""
        return {
            "run.json that is a pickle": lambda: self.train(
                "run-pickle", lambda run: _write(run / "run.json", self.evil), "run.json is damaged"
            ),
            "run.json nested 100,000 deep": lambda: self.train(
                "run-deep",
                lambda run: _write(run / "run.json", DEEP.encode()),
                "run.json is damaged",
            ),
            "target: in run.json": lambda: self.train(
                "run-target", changed_recipe(**self.target), "unknown field"
            ),
            "data of kind os.system in run.json": lambda: self.train(
                "run-kind", changed_recipe(data={"kind": "os.system"}), "data.kind='os.system'"
            ),
            "a checkpoint that lists /etc/passwd": lambda: self.train(
                "traversal", self.traversal, None
            ),
            "a manifest nested 100,000 deep": lambda: self.train(
                "manifest", lambda run: _write(newest(run) / "manifest.json", DEEP.encode()), None
            ),
            "an optimizer that is a pickle, checksum right": lambda: self.train(
                "optimizer", self.evil_optimizer, "does not fit this run"
            ),
            "a checkpoint that is a link out of the run": lambda: self.train(
                "link", self.link, None
            ),
            "metrics and bad samples of garbage": lambda: self.train("lines", self.lines, None),
        }

    def train(self, name: str, damage: Callable[[Path], None], refused: str | None) -> bool:
        """A run of two steps, damaged, and gone on with by the command."""
        base, folder = self.here / "base", self.here / name
        line = ["train", "digits", *TRAIN, "--log-every", "1", "--out", str(folder)]
        if not base.exists():
            for steps in ("1", "2"):
                command([*line[:-1], str(base), "--steps", steps])
        shutil.copytree(base, folder)
        damage(folder)
        return expect([*line, "--steps", "3"], refused)

    def traversal(self, folder: Path) -> None:
        """A manifest that lists files elsewhere."""
        entry = {"bytes": 1, "sha256": "0"}
        rows = {
            "../../../../../../etc/passwd": entry,
            "/etc/passwd": entry,
            str(self.canary): entry,
        }
        (newest(folder) / "manifest.json").write_text(json.dumps(rows))

    def evil_optimizer(self, folder: Path) -> None:
        """A pickle whose checksum is right."""
        (newest(folder) / "optimizer.safetensors").write_bytes(self.evil)
        write_manifest(newest(folder))

    def link(self, folder: Path) -> None:
        """A checkpoint that is a link to one outside of the run."""
        shutil.copytree(newest(folder), self.here.parent / "outside/linked")
        shutil.rmtree(newest(folder))
        newest(folder).symlink_to(self.here.parent / "outside/linked")
        for step in range(3):  # so many that the link is removed by the rotation
            shutil.copytree(newest(folder), folder / f"checkpoints/step-0000001{step}")

    def lines(self, folder: Path) -> None:
        """Garbage where lines of JSON belong."""
        for name in ("metrics.jsonl", "bad-samples.jsonl"):
            rows = [DEEP, '{"step": 1}', '{"step": NaN}', '{"step": 1e999}', "[1]"]
            (folder / name).write_bytes("\n".join(rows).encode() + b"\n" + self.evil + b"\n")


class HarmfulData(Harm):
    """Atlases and images, trained on."""

    def cases(self) -> Cases:
        """By name."""
        bomb = png(20_000, 20_000, bytes(1000))  # says that it has 400 megapixels
        return {
            "an atlas of 400 megapixels": lambda: self.atlas("bomb", bomb),
            "an atlas whose list is nested 100,000 deep": lambda: self.atlas("list", bomb, DEEP),
            "images that are bombs, pickles and arrays": self.images,
        }

    def atlas(self, name: str, sheet: bytes, text: str | None = None) -> bool:
        """An atlas folder with this sheet of drawings and this manifest."""
        folder = self.here / name
        folder.mkdir()
        (folder / "atlas.png").write_bytes(sheet)
        about = {"file": "../../../canary", "sha256": hashlib.sha256(sheet).hexdigest()}
        rows = [{"text": "x", "name": "../../canary", "group": "/", "subgroup": ".."}]
        whole = {"format": 2, "identity": "0", "atlas": about, "emoji": rows, **self.target}
        (folder / "manifest.json").write_text(text or json.dumps(whole))
        line = ["train", "emoji-64-smoke", "--data.path", str(folder), "--out", f"{folder}-out"]
        return expect(line, "is damaged or of another version")

    def images(self) -> bool:
        """A folder of images, with what is none among them."""
        folder = self.here / "images"
        folder.mkdir()
        for number in range(12):
            (folder / f"{number}.png").write_bytes(encoded(noise(seed=number)))
        (folder / "bomb.png").write_bytes(png(60_000, 60_000, bytes(1000)))
        (folder / "bomb.jpg").write_bytes(jpeg_of_size(65_000, 65_000))
        (folder / "pickle.png").write_bytes(self.evil)
        np.savez(self.here / "array.npz", Evil(self.canary), allow_pickle=True)
        (self.here / "array.npz").rename(folder / "array.png")
        line = ["train", "folder", "--data.path", str(folder), *TRAIN, "--data.size", "16"]
        return expect([*line, "--steps", "5", "--out", f"{folder}-out"], None)


def header(text: str, length: int | None = None) -> bytes:
    """The start of a safetensors file: the length it claims, and the text."""
    data = text.encode()
    return (len(data) if length is None else length).to_bytes(8, "little") + data


def newest(run: Path) -> Path:
    """Its last checkpoint."""
    return run / "checkpoints/step-00000002"


def changed_recipe(**more: object) -> Callable[[Path], None]:
    """Writes into the recipe of a run's record."""

    def change(run: Path) -> None:
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**record, "recipe": record["recipe"] | more}))

    return change


def _write(file: Path, data: bytes) -> None:
    file.write_bytes(data)

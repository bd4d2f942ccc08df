"""Sampling again as an image was made: its settings, read before a model is loaded.

Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.generation.option_groups import GUIDANCE, SOLVER
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.io.image_file import read_settings
from patch_forcing.models.options import Precision

_TYPES: dict[str, Any] = {
    "seed": int,
    "sampler": str,
    "grid": list,
    "guidance": int | float,
    "model": str,
    "model_hash": str,
}
"""What settings hold at least, and of which types."""


@runtime_checkable
class LoadedModel(Protocol):
    """What settings need of a `Pipeline`."""

    name: str
    hash: str


@dataclass(frozen=True)
class Like:
    """An image that `sample` wrote, and its settings: a row as samples.json has it."""

    file: Path
    row: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model by the name that it was loaded by."""
        return str(self.row["model"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.row["seed"])

    @property
    def precision(self) -> Precision:
        """What the network computed in."""
        precision: Precision = self.row.get("precision", "fp32")
        return precision

    def request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a `SampleRequest`: those of the image, but for groups of which any is given.

        The grid is that of its times. Raises UserError if it was guided by a weaker model and none
        is given.
        """
        row, weak = self.row, self.row.get("weak_model_hash")
        solver = {"sampler": row["sampler"], "time_grid": tuple(row["grid"])}
        interval = row.get("guidance_interval")
        guidance = {
            "guidance_scale": row["guidance"],
            "guidance_interval": None if interval is None else tuple(interval),
            "guidance_schedule": row.get("guidance_schedule", "constant"),
            "guidance_kind": row.get("guidance_kind"),
        }
        fields: dict[str, Any] = {}
        if not given.keys() & set(SOLVER):
            fields |= solver | {"compat": row.get("compat")}
        if not given.keys() & set(GUIDANCE) - {"autoguidance"}:
            if weak is not None and "autoguidance" not in given:
                raise UserError(
                    f"--like {self.file}: it was guided by a weaker model of hash {weak}: add "
                    "--autoguidance MODEL, or --guidance"
                )
            fields |= guidance
        if isinstance(row.get("size"), list) and "size" not in given:
            fields["size"] = tuple(row["size"])
        return {name: value for name, value in fields.items() if value is not None} | dict(given)

    def conditions(self, keyword: str, same_model: bool = True) -> dict[str, Any]:
        """Its condition, as `Pipeline.choose` takes it, of a model whose conditions are of that
        keyword. same_model: otherwise its class is looked for by name.
        """
        row = self.row
        if row.get("prompt") is not None:
            return {"prompt": [str(row["prompt"])]}
        if row.get("label") is None:
            return {keyword: "none"}
        return {"labels": [row["label"] if same_model else row.get("class", row["label"])]}

    def check(self, pipe: LoadedModel, autoencoder_hash: str | None) -> None:
        """Raises UserError unless a pipeline of the same name has the same weights."""
        hashes = {"model_hash": pipe.hash, "autoencoder_hash": autoencoder_hash}
        for name, there in hashes.items():
            made = self.row.get(name)
            if made != there:
                what, option = name.removesuffix("_hash"), "MODEL"
                if what == "autoencoder":
                    option = "the same --autoencoder or --preview, or MODEL"
                raise UserError(
                    f"--like {self.file}: it was made by {pipe.name} with the {what} {made}, which "
                    f"is {there} here: give {option} to use its settings"
                )


def read_like(file: Path) -> Like:
    """The settings within a PNG, or those that samples.json beside it has of it.

    Raises UserError if there are none, or if it is an edit.
    """
    if not file.is_file():
        raise UserError(f"--like {file}: there is no such file: give an image that sample wrote")
    row = read_settings(file)
    if row is None:
        rows = SampleFolder(file.parent).rows()
        row = next((row for row in rows if f"{row['seed']}.png" == file.name), None)
    if row is None:
        raise UserError(
            f"--like {file}: it holds no settings, and no samples.json beside it has them: give "
            "an image that sample wrote"
        )
    for name, kind in _TYPES.items():
        if not isinstance(row.get(name), kind) or isinstance(row[name], bool):
            raise UserError(
                f"--like {file}: its settings have {name}={row.get(name)!r}: give an image that "
                "sample wrote"
            )
    if row.get("precision", "fp32") not in get_args(Precision):
        raise unknown_name(f"--like {file}: precision", str(row["precision"]), get_args(Precision))
    if "edit" in row:
        raise UserError(
            f"--like {file}: it is an edit, and the image under it is not in its settings: use "
            "patch-forcing edit"
        )
    return Like(file, row)

"""How a shared model was trained, so far as it is recorded. Nothing of it names a place here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patch_forcing.generation.find import bundled_names
from patch_forcing.io.hub import looks_like_hub_id
from patch_forcing.io.run_layout import checkpoint_step, is_run_folder
from patch_forcing.io.run_record import read_record
from patch_forcing.runs.recipes import RECIPES

OWN = "apache-2.0"
"""The licence of this code, and of the models that come with it."""
_EMOJI = (
    "Scenes drawn on the fly from an installed colour font of emoji, such as Noto Color Emoji",
    "the font's; Noto's is the SIL Open Font License 1.1",
)
_KNOWN = {
    "Digits": (
        "UCI's optical recognition of handwritten digits (Alpaydin & Kaynak 1998), as scikit-learn "
        "ships its test set",
        "CC BY 4.0",
    ),
    "EmojiSource": _EMOJI,
    "EmojiTextSource": _EMOJI,
}
"""Of each kind of data that is the same for all: what it is, and its licence."""
_HUB = "HubSource"


@dataclass(frozen=True)
class Training:
    """rows: what a card lists. data, data_licence: of the training images, "" where nobody says.

    datasets: Hub ids. licence: of the weights, where they come with this package.
    """

    rows: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    data_licence: str = ""
    datasets: tuple[str, ...] = ()
    licence: str | None = None


def recorded_training(name: str, folder: Path) -> Training:
    """That of MODEL as users name it: a run folder or a bundled name; of others nothing is known.

    folder: where its weights lie; a run's are in the folder of their step.
    """
    if is_run_folder(Path(name)):
        record = read_record(Path(name))
        return _training(record, checkpoint_step(folder.parent), None)
    if name in bundled_names() and not Path(name).is_dir():
        recipe = RECIPES[name].recipe
        values = asdict(recipe) | {"data": {"kind": type(recipe.data).__name__}}
        return _training({"name": name, "recipe": values}, recipe.steps, OWN)
    return Training()


def _training(record: Mapping[str, Any], steps: int, licence: str | None) -> Training:
    recipe, facts = record["recipe"], record.get("found", {})
    optimizer, source = recipe["optimizer"], recipe.get("data") or {}
    rows = {
        "recipe": f"`patch-forcing train {record.get('name')}`",
        "steps": f"{steps:,} of {recipe['batch_size']} images",
        "times of patches": f"`{recipe['timesteps']}`",
        "optimizer": f"{optimizer['name']}, learning rate {optimizer['lr']:g}",
        "weights": f"averaged, decay {recipe['ema_decay']:g}",
        "precision": str(recipe["precision"]),
    }
    if start := record.get("init_from", {}).get("model"):
        rows["began from"] = f"`{_public(str(start))}`"
    if "images" in facts:
        rows["images"] = f"{facts['images']:,}"
    versions = record.get("versions", {})
    known = [f"{name} {versions[name]}" for name in ("patch-forcing", "torch") if name in versions]
    if record.get("commit"):
        known.append(f"commit {record['commit']}")
    if known:
        rows["by"] = ", ".join(known)
    kind, path = source.get("kind", ""), str(source.get("path", ""))
    data, data_licence = _KNOWN.get(kind, ("", ""))
    datasets = (path,) if kind == _HUB and _is_hubs(path) else ()
    if datasets:
        data, data_licence = f"The data set `{path}` of the Hub", "as its page says"
    return Training(rows, data, data_licence, datasets, licence)


def _public(name: str) -> str:
    """A model's name without the folders of this machine."""
    own = name in bundled_names() or _is_hubs(name)
    return name if own else Path(name).name


def _is_hubs(name: str) -> bool:
    return looks_like_hub_id(name) and not Path(name).exists()

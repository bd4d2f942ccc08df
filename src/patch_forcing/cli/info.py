"""`patch-forcing info [MODEL|RUN]`."""

import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from patch_forcing.cli.options import parse
from patch_forcing.cli.training import sample_line
from patch_forcing.io.run_layout import checkpoint_step, checkpoints, is_run_folder
from patch_forcing.text.normal import lines

_MODEL = "A bundled name, a run folder, a model folder or a Hub id. Without it: what there is."


@dataclass(frozen=True)
class Options:
    """What `info` takes."""

    model: Positional[Annotated[str | None, arg(metavar="MODEL", help=_MODEL)]] = None
    json: bool = False
    """Print one JSON object."""


def info(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing info",
        description="What a model or a run is: classes, sizes, recommended sampling, progress.",
        example="patch-forcing info runs/digits",
    )
    if options.model is None:
        facts = _known()
    elif is_run_folder(Path(options.model)) and not checkpoints(Path(options.model)):
        facts = {"run": options.model, **_progress(Path(options.model))}  # no model is there yet
    else:
        facts = _facts(options.model)
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(_lines(facts)))


def _known() -> dict[str, Any]:
    """The bundled models and the recipes."""
    from patch_forcing.generation.find import bundled_names, find_bundled
    from patch_forcing.io.model_layout import CONFIG
    from patch_forcing.models.config_file import read_config_file
    from patch_forcing.runs.recipes import RECIPES

    models = {}
    for name in bundled_names():
        config = read_config_file(find_bundled(name) / CONFIG)
        height, width = _sides(config.sizes["input_size"])
        models[name] = f"{height}×{width} pixels, {config.sizes['num_classes']} classes"
    return {
        "models": models,
        "recipes": {name: re.split("[:;]", named.needs)[0] for name, named in RECIPES.items()},
        "next": "patch-forcing info emoji-64    # or a run folder, a model folder, a Hub id",
        "more": "patch-forcing train --list     # all that recipes need, and what they reach",
    }


def _facts(name: str) -> dict[str, Any]:
    """All that is known of a model."""
    from patch_forcing.generation.find import find_model

    folder = find_model(name)
    from patch_forcing.generation.describe import model_facts, sampled_by, takes_texts
    from patch_forcing.generation.recommended import choose
    from patch_forcing.io.model_layout import folder_hash
    from patch_forcing.models.loading import without_weights
    from patch_forcing.runs.describe import folder_size

    model = without_weights(folder)
    config, data = model.config, model.data_info
    chosen = choose(model, name, {}, {})
    numbers = [str(number) for number in range(config.num_classes)]
    names = list(data.class_names) or numbers
    facts: dict[str, Any] = {
        "model": name,
        "folder": f"{folder}, {_megabytes(folder_size(folder))}",
        "hash": folder_hash(folder),
        **model_facts(model),
        "recommends": chosen.from_model or "nothing in particular",
        "samples": sampled_by(model, name),
        "advice": asdict(model.sampling_info.recommended),
        "classes": f"{numbers[0]} to {numbers[-1]}" if numbers and names == numbers else names,
    }
    if is_run_folder(Path(name)):
        facts |= _progress(Path(name))
    elif (folder / "README.md").is_file():
        facts["training"] = f"see {folder / 'README.md'}"
    texts: list[str] = []
    if takes_texts(model):
        del facts["classes"]
        facts["prompts"] = f"any text, read by {data.text.name if data.text else 'the network'}"
        texts = lines(model.sampling_info.recommended.conditions or "a red cat")
    facts["next"] = sample_line(name, config.num_classes, data.class_names, texts)
    return facts


def _progress(run: Path) -> dict[str, Any]:
    """How far a run got."""
    from patch_forcing.runs.describe import describe_run

    description = describe_run(run)
    row = description.metrics
    facts: dict[str, Any] = {"recipe": description.recipe}
    if description.init_from is not None:
        facts["began from"] = description.init_from
    step = checkpoint_step(description.checkpoints[-1]) if description.checkpoints else 0
    facts["steps"] = f"{step:,} of {description.steps:,} saved"
    if row:
        speed = f", {row['images_per_second']:g} images/s" if "images_per_second" in row else ""
        facts["loss"] = f"{row['total']:.4f} at step {row['step']:,}{speed}"
    if description.sheet is not None:
        facts["last sheet"] = str(description.sheet)
    count = len(description.checkpoints)
    kept = f"{count} checkpoint{'s' * (count != 1)} and the rest"
    facts["disk"] = f"{_megabytes(description.size)} in {kept}"
    return facts


def _lines(facts: dict[str, Any]) -> list[str]:
    """For people: one fact a line, lists and tables below their name."""
    columns = shutil.get_terminal_size((100, 24)).columns
    width = max(len(name) for name, fact in facts.items() if isinstance(fact, str))
    lines = []
    for name, fact in facts.items():
        if name == "advice":  # in words above
            continue
        if isinstance(fact, str):
            lines.append(f"{name:<{width}}  {fact}")
        elif isinstance(fact, dict):
            inner = max(map(len, fact))
            lines += [f"{name}:", *(f"  {key:<{inner}}  {value}" for key, value in fact.items())]
        elif fact:
            text = "  ".join(f"{number}\u00a0{one}" for number, one in enumerate(fact))
            wrapped = textwrap.wrap(text, columns - 4, break_on_hyphens=False)
            lines += [f"{len(fact)} {name}:", *(f"    {line}" for line in wrapped)]
        else:
            lines.append(f"{name:<{width}}  none")
    return [line.replace("\u00a0", " ") for line in lines]


def _sides(size: object) -> tuple[int, int]:
    return (size[0], size[1]) if isinstance(size, tuple | list) else (int(str(size)),) * 2


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

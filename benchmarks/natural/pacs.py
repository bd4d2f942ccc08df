"""PACS, from caption to picture: does "a sketch of a guitar" show a guitar, and a sketch?

    python -m benchmarks.natural.pacs --images pacs --kinds pixels
    python -m benchmarks.natural.pacs --images pacs --kinds latents --autoencoder taef2.safetensors

IMAGES holds STYLE/THING/… (docs/natural-images.md). Captions are a template over these folders.
Four of the 28 pairs are never trained on; their styles and things are, in other pairs. Linear
classifiers of EfficientNet-Lite0's features, trained on real pictures of all pairs, name the style
and the thing of each sample; their accuracy on real pictures that they were not trained on is a row
too.
Appends rows to OUT, and goes on with what is missing.
"""

import argparse
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, provenance, read_rows
from benchmarks.natural.pacs_judge import HELD_OUT, Judge, Pictures
from benchmarks.natural.settings import GROUPED, HEADLINE, LTG, SIT, TOY, TOY_BATCH, TOY_STEPS
from benchmarks.text.run import SAMPLERS
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.data.captions import texts_of
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.data.templates import TemplateOptions
from patch_forcing.features.find import find_features
from patch_forcing.generation.pipeline import load
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.runs.trainer import train
from patch_forcing.training.options import TextConfig

LEVELS, TEMPLATE = "style,thing", ("a {style} of a {thing}",)
SIZES = {"pixels": 64, "latents": 128}


def seen_pairs(root: Path, out: Path) -> Path:
    """The pictures of the pairs that are trained on, copied once."""
    if not out.exists():
        aside = out.with_name(f"{out.name}-part")
        shutil.rmtree(aside, ignore_errors=True)
        for folder in sorted(root.glob("*/*")):
            if folder.is_dir() and (folder.parent.name, folder.name) not in HELD_OUT:
                shutil.copytree(folder, aside / folder.parent.name / folder.name)
        aside.rename(out)
    return out


def latents_of(images: Path, out: Path, autoencoder: str, device: str) -> Path:
    """Encoded, but for what is there already."""
    data = FolderSource(str(images), depth=2).open()
    how = EncodeOptions(size=SIZES["latents"], shard_size=2048)
    Encoding(data, load_autoencoder(autoencoder, device), out, how, device).run(progress=False)
    return out


def recipe_of(kind: str, timesteps: str, seed: int, options: argparse.Namespace) -> Recipe:
    """What a model is trained by; both kinds have 256 patches."""
    seen = seen_pairs(options.images, options.work / "seen")
    if kind == "pixels":
        data: Any = FolderSource(str(seen), size=SIZES[kind], levels=LEVELS, template=TEMPLATE)
        base, patch = RECIPES["cifar10"].recipe, 4
    else:
        out = options.work / "latents"
        latents = latents_of(seen, out, options.autoencoder, options.device)
        data = LatentsSource(str(latents), levels=LEVELS, template=TEMPLATE)
        base, patch = RECIPES["imagenette128-latent"].recipe, 1
    gpu, network = options.device != "cpu", base.network
    if options.toy:
        network, patch = TOY, 4 * patch
    steps = TOY_STEPS if options.toy else options.steps
    return replace(
        base,
        data=data,
        network=replace(network, patch_size=patch, condition="text", position="rope"),
        text=TextConfig(options.encoder, length=32),
        timesteps=timesteps,
        seed=seed,
        steps=steps,
        batch_size=TOY_BATCH if options.toy else base.batch_size,
        precision="bf16" if gpu else "fp32",
        compile=gpu,
        sample_every=0,
        snapshot_every=0,
        checkpoint_every=min(500, steps),
        log_every=min(base.log_every, steps),
    )


def prompts_of(
    real: Pictures, held_out: bool, count: int
) -> tuple[list[str], Int64[Tensor, " M"], Int64[Tensor, " M"]]:
    """Captions of so many samples, their styles and things: each pair in turn."""
    pairs = [
        (s, t)
        for s in range(len(real.styles))
        for t in range(len(real.things))
        if ((real.styles[s], real.things[t]) in HELD_OUT) == held_out
    ]
    chosen = [pairs[number % len(pairs)] for number in range(count)]
    names = [f"{real.styles[s]}/{real.things[t]}" for s, t in chosen]
    captions = TemplateOptions(template=TEMPLATE).captions(names, LEVELS.split(","))
    style, thing = torch.tensor(chosen).unbind(1)
    return [texts_of(caption)[0] for caption in captions], style, thing


def key(row: Row) -> tuple[Any, ...]:
    """What a row is of."""
    names = ("kind", "timesteps", "seed", "steps", "sampler", "guidance", "pairs")
    return tuple(row[name] for name in names)


def work(kind: str, timesteps: str, seed: int, judge: Judge, real: Pictures, options: Any) -> None:
    """Train one model, unless all rows of it are there, and sample from it."""
    recipe = recipe_of(kind, timesteps, seed, options)
    about = {"kind": kind, "timesteps": timesteps, "seed": seed, "steps": recipe.steps}
    rows = [
        {**about, "sampler": sampler, "guidance": scale, "pairs": pairs}
        for sampler in options.samplers
        for scale in options.guidance
        for pairs in ("seen", "held-out")
    ]
    known = [row for file in (options.out, *options.known) for row in read_rows(file)]
    done = {key(row) for row in known if row["what"] == "samples"}
    left = [row for row in rows if key(row) not in done]
    if not left:
        return
    name = f"{kind}-{timesteps.translate(str.maketrans(':=', '--'))}-{seed}"
    run, device = options.work / name, options.device
    gpu = device != "cpu"
    origin = provenance(__file__, device)
    outcome = train(name, recipe, run, device=device, progress=False)
    if outcome.seconds:
        last = read_rows(run / "metrics.jsonl")[-1]
        recorded = {**asdict(recipe), "data": "PACS"}
        row = {"what": "training", **about, "seconds": outcome.seconds, "recipe": recorded}
        append_row(options.out, {**row, "last": last, **origin})
    codec = options.autoencoder if kind == "latents" else None
    pipe = load(run, device, precision="bf16" if gpu else "fp32", compile=gpu, autoencoder=codec)
    for row in left:
        prompts, style, thing = prompts_of(real, row["pairs"] == "held-out", options.samples)
        guided = {"guidance_scale": row["guidance"]} if row["guidance"] != 1 else {}
        started = time.perf_counter()
        result = pipe(
            prompt=prompts,
            seeds=range(len(prompts)),
            batch_size=min(options.samples, 504 if gpu else 16),
            guidance_interval=(0.1, 0.8) if guided else None,
            **{"guidance_scale": 1.0, **guided},
            **SAMPLERS[row["sampler"]],
        )
        row |= {"what": "samples", "nfe": result.nfe, **judge(result.pixels, style, thing)}
        row |= {"seconds": round(time.perf_counter() - started, 1), **origin}
        append_row(options.out, row)
        print(*key(row), {k: f"{v:.1%}" for k, v in row["shares"].items()}, flush=True)


def main() -> None:
    """Judges first; then each model."""
    parser = command_line(__doc__, out="docs/results/text/pacs.jsonl")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--autoencoder", help="of latents: TAEF2's file")
    parser.add_argument("--work", type=Path, default=Path("runs/pacs"))
    parser.add_argument("--kinds", nargs="+", choices=SIZES, default=["pixels"])
    parser.add_argument("--timesteps", nargs="+", choices=HEADLINE, default=[GROUPED, SIT, LTG])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["euler 48"])
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0, 3.0], help="t 0.1 … 0.8")
    parser.add_argument("--encoder", default="bytes", help="of captions")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=2016, help="of seen pairs, and of held-out")
    parser.add_argument("--known", nargs="*", type=Path, default=[], help="more rows, by others")
    parser.add_argument("--network", default="efficientnet-lite0", help="whose features judge")
    parser.add_argument("--limit", type=int, help="real pictures of each style, for the judge")
    parser.add_argument("--toy", action="store_true", help="a tiny network, to try the command")
    options = parser.parse_args()
    if "latents" in options.kinds and options.autoencoder is None:
        parser.error("--kinds latents: add --autoencoder taef2.safetensors")
    try:
        for kind in options.kinds:
            real = Pictures.of(options.images, SIZES[kind], options.limit)
            judge = Judge.of(find_features(options.network), real, options.device)
            row = {"what": "real", "kind": kind, **judge.about}
            files = (options.out, *options.known)
            known = [one for file in files for one in read_rows(file) if one["what"] == "real"]
            if not any(row.items() <= one.items() for one in known):
                append_row(options.out, {**row, **provenance(__file__, options.device)})
                print(f"real pictures, {kind}: {judge.about['real']}", flush=True)
            for seed in options.seeds:
                for timesteps in options.timesteps:
                    work(kind, timesteps, seed, judge, real, options)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

"""`patch-forcing encode DATA --autoencoder NAME --out DIR`."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from patch_forcing.cli.data_options import (
    CAPTIONS,
    SOURCES,
    CheckOptions,
    FolderOptions,
    HubOptions,
    all_images,
    as_own,
)
from patch_forcing.cli.options import check_out, parse, parse_place
from patch_forcing.core.errors import UserError
from patch_forcing.runs.encode_options import EncodeOptions

_USAGE = """usage: patch-forcing encode FOLDER --autoencoder NAME --out DIR [OPTIONS]
       patch-forcing encode shards PATH --autoencoder NAME --out DIR [OPTIONS]
       patch-forcing encode hub PATH --autoencoder NAME --out DIR [OPTIONS]
       patch-forcing encode FOLDER --features ENCODER --latents DIR --out DIR [OPTIONS]

Encodes images once, so that training need not; the same command again goes on where it stopped.
Captions are kept beside the latents, and beside the classes where half of the images have one.
With --features, for alignment: what a frozen encoder sees in the images that latents were made of.

FOLDER         images, or one subfolder of images for each class
shards PATH    tar files in WebDataset's form: a folder of them, one, a pattern of them or of URLs
hub PATH       OWNER/NAME on the Hugging Face Hub, or a folder that the package datasets reads

patch-forcing encode FOLDER --help   every option, with its default; so for the others,
                                     and with --features before --help

On several GPUs: torchrun --nproc-per-node 8 -m patch_forcing encode …
or processes of your own, at any time, each with its RANK=0, 1, … and WORLD_SIZE=8"""


@dataclass(frozen=True)
class Options:
    """Options of `encode`."""

    autoencoder: str = ""
    """Required: sd-vae-ft-ema, flux2, dc-ae-f32c32, pixels; or a Hub id (OWNER/NAME,
    OWNER/NAME/vae), or a folder: safetensors of diffusers' AutoencoderKL, AutoencoderKLFlux2,
    AutoencoderDC or AutoencoderTiny. Or TAEF2: FILE.safetensors, here or in OWNER/NAME/FILE."""
    out: Path | None = None
    """Required: folder for the latents; what was finished there stays."""
    how: Annotated[EncodeOptions, arg(name="")] = field(default_factory=EncodeOptions)
    source: Annotated[CheckOptions, arg(name="")] = field(default_factory=CheckOptions)
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one, of several processes each its
    own."""


@dataclass(frozen=True)
class FolderEncodeOptions(Options):
    """Options of `encode FOLDER`."""

    source: Annotated[FolderOptions, arg(name="")] = field(default_factory=FolderOptions)


@dataclass(frozen=True)
class HubEncodeOptions(Options):
    """Options of `encode hub`."""

    source: Annotated[HubOptions, arg(name="")] = field(default_factory=HubOptions)


@dataclass(frozen=True)
class FeatureOptions:
    """Options of `encode --features`."""

    features: str = ""
    """Required: dinov2-s, -b, -l, -g; OWNER/NAME on the Hub or a folder, of a vision model of
    transformers; timm:NAME or timm:FOLDER."""
    latents: Path | None = None
    """Required: the folder that encode made of these images."""
    out: Path | None = None
    """Required: folder for the features, which train takes as --alignment.cache."""
    patch_size: int = 2
    """Of the network that is to be aligned, in cells of a latent."""
    flip: bool = True
    """Mirrored images too, if the latents have them; without, train with --data.no-flip."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the encoder computes in."""
    source: Annotated[CheckOptions, arg(name="")] = field(default_factory=CheckOptions)
    device: str | None = None
    """cpu, cuda, cuda:1, mps; default: a CUDA GPU if there is one."""


@dataclass(frozen=True)
class FolderFeatureOptions(FeatureOptions):
    """Options of `encode FOLDER --features`."""

    source: Annotated[FolderOptions, arg(name="")] = field(default_factory=FolderOptions)


@dataclass(frozen=True)
class HubFeatureOptions(FeatureOptions):
    """Options of `encode hub --features`."""

    source: Annotated[HubOptions, arg(name="")] = field(default_factory=HubOptions)


_OPTIONS: dict[str, type[Options]] = {
    "folder": FolderEncodeOptions,
    "shards": Options,
    "hub": HubEncodeOptions,
}
_FEATURE_OPTIONS: dict[str, type[FeatureOptions]] = {
    "folder": FolderFeatureOptions,
    "shards": FeatureOptions,
    "hub": HubFeatureOptions,
}


def encode(args: Sequence[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return
    kind = "folder"
    if args[0] in SOURCES and (args[1:] or not Path(args[0]).exists()):
        kind, args = args[0], args[1:]
        if not args:
            raise UserError(f"encode {kind}: its path is missing: encode {kind} PATH")
        if args[0] in ("-h", "--help"):
            args = ["PATH", *args]
    path = args[0]
    if path.startswith("-"):
        raise UserError(f"encode {path}: the images come first: patch-forcing encode DATA {path}")
    prog = f"patch-forcing encode {path if kind == 'folder' else f'{kind} {path}'}"
    if any(one.partition("=")[0] == "--features" for one in args):
        _features(kind, path, args[1:], prog)
        return
    options = parse(
        _OPTIONS[kind],
        as_own(args[1:]),
        prog=prog,
        description="Encodes images once, so that training need not.",
        example=f"{prog} --autoencoder sd-vae-ft-ema --out latents",
    )
    _check_given(autoencoder=(options.autoencoder, "NAME", "sd-vae-ft-ema"))
    out = _check_places(kind, path, options.out)
    all_images(kind, path, options.source).check()
    _encode(kind, path, options, out)


def _check_given(**options: tuple[str | Path | None, str, str]) -> None:
    for name, (value, what, example) in options.items():
        if not value:
            raise UserError(f"encode: --{name} {what} is missing: add it, such as {example}")


def _check_places(kind: str, path: str, out: Path | None) -> Path:
    if out is None:
        raise UserError("encode: --out DIR is missing: add it")
    check_out("--out", out)
    if kind == "folder" and not Path(path).expanduser().exists():
        raise UserError(f"{path} is not there: give a folder of images, or encode shards|hub PATH")
    return out


def _features(kind: str, path: str, args: Sequence[str], prog: str) -> None:
    options = parse(
        _FEATURE_OPTIONS[kind],
        as_own(args),
        prog=prog,
        description="What a frozen encoder sees in the images that latents were made of.",
        example=f"{prog} --features dinov2-b --latents latents --out features",
    )
    _check_given(
        features=(options.features, "ENCODER", "dinov2-b"),
        latents=(options.latents, "DIR", "latents, which encode --autoencoder makes"),
    )
    out = _check_places(kind, path, options.out)
    if out.exists():
        raise UserError(f"--out {out} is there: name another folder, or remove it")
    all_images(kind, path, options.source).check()
    from patch_forcing.features.find import find_encoder
    from patch_forcing.runs.latent_features import LatentImages

    _, world, device = parse_place(options.device)
    if world > 1:
        raise UserError(f"encode --features with WORLD_SIZE={world}: one process makes them all")
    assert options.latents is not None
    both = LatentImages(
        options.latents,
        options.flip,
        lambda **how: all_images(kind, path, options.source, **how).open(),
    )
    rows, columns = both.grid(options.patch_size)
    encoder = find_encoder(options.features)
    pictures = both.latents.num_pictures
    print(f"{pictures} pictures → features of {rows}×{columns} patches", flush=True)
    started = time.perf_counter()
    both.cache(out, encoder, options.patch_size, device, options.precision == "bf16")
    seconds = time.perf_counter() - started
    print(f"{pictures} in {seconds:.0f} s: {out}")
    flip = "" if pictures > both.latents.num_samples else " --data.no-flip"
    where, cache = shlex.quote(str(options.latents)), shlex.quote(str(out))
    print(
        f"next: patch-forcing train imagenet256-pft-b-repa --data.path {where}{flip} "
        f"--alignment.encoder {shlex.quote(options.features)} --alignment.cache {cache}"
    )


def _encode(kind: str, path: str, options: Options, out: Path) -> None:
    from patch_forcing.codecs.autoencoders import load_autoencoder
    from patch_forcing.runs.encode import Encoding

    rank, world, device = parse_place(options.device)
    data = all_images(kind, path, options.source).open()
    encoding = Encoding(
        data, load_autoencoder(options.autoencoder, device), out, options.how, device
    )
    shape = "×".join(map(str, encoding.shape))
    copies = ", each mirrored too" if options.how.flip else ""
    if rank == 0:
        print(
            f"{data.num_samples} images, {data.layout.summary}{copies} → latents of {shape}, "
            f"{encoding.shards} shards, {encoding.gib:.3g} GiB",
            *data.layout.notes.lines,
            sep="\n",
            flush=True,
        )
    started = time.perf_counter()
    done = encoding.run(rank, world, progress=None if rank == 0 else False)
    seconds = time.perf_counter() - started
    kept = f", {done.kept} were there and are sound" if done.kept else ""
    print(f"{done.made} of {done.shards} shards made in {seconds:.0f} s{kept}: {out}")
    if done.bad_samples:
        print(f"bad images, left out: {done.bad_samples}, see {out / 'bad-samples.jsonl'}")
    if not done.complete:
        print("other processes have shards to make; the last one writes latents.json")
        return
    flip = "" if options.how.flip else " --data.no-flip"
    if data.captioned:
        print(CAPTIONS)
        flip += " --network.condition text"
    where = shlex.quote(str(out))
    print(f"next: patch-forcing train imagenet256-pft-b --data.path {where}{flip}")

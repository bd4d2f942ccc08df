"""`patch-forcing convert FILE --out DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from patch_forcing.cli.options import check_out, parse
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.find import check_model
from patch_forcing.io.checkpoint_file import check_checkpoint


@dataclass(frozen=True)
class Options:
    """What `convert` takes."""

    source: Positional[Annotated[str, arg(metavar="FILE")]]
    """A checkpoint of PFT, SiT, Self-Flow or DiT: .pt, .pth, .ckpt or .safetensors. With --to
    published, a model as `sample` takes it."""
    out: Path
    """The model folder to write; with --to published, the file."""
    to: Literal["folder", "published"] = "folder"
    """A model folder of ours, or a file with the keys of published checkpoints."""
    kind: Literal["pft", "sit", "self-flow", "dit"] | None = None
    """What the file is; needed for SiT, Self-Flow and DiT, whose files look alike."""
    time: Literal["data", "noise"] | None = None
    """What the file's own time is the share of. Noise turns the time round. Default: noise for
    self-flow, else data."""
    weights: str | None = None
    """Of a file with several networks: average, raw, or what stands before the names of its
    tensors. Default: the average, if there is one."""
    num_heads: int | None = None
    """Attention heads, of a checkpoint of unusual size without a config."""
    autoencoder: str | None = None
    """Whose latents it makes: a name, a Hub id or a folder, as `encode` takes it; pixels for none.
    Default: stabilityai/sd-vae-ft-ema for four channels, for others pixels."""


def convert(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing convert",
        description="Published checkpoints to model folders, and back. Nothing in a file is run.",
        example="patch-forcing convert pft-xl.ckpt --out models/pft-xl",
    )
    heads = options.num_heads
    if heads is not None:
        check_range("--num-heads", heads, 1)
    check_out("--out", options.out.parent)
    if options.to == "published":
        check_model(options.source)
    else:
        check_checkpoint(Path(options.source))
    from patch_forcing.models.folder import DIT
    from patch_forcing.runs.convert import export_checkpoint, import_checkpoint

    if options.to == "published":
        reading = (options.kind, options.time, options.weights, heads, options.autoencoder)
        if any(option is not None for option in reading):
            raise UserError(
                "--kind, --time, --weights, --num-heads and --autoencoder are for reading "
                "checkpoints: leave them out"
            )
        export_checkpoint(options.source, options.out)
        print(f"written: {options.out}")
        return
    file, space = Path(options.source), options.autoencoder
    model, chosen = import_checkpoint(
        file, options.out, options.kind, heads, space, options.weights, options.time
    )
    if chosen.summary:
        print(chosen.summary)
    sizes = model.sizes
    print(
        f"{sizes['depth']}×{sizes['hidden_size']}, {sizes['num_heads']} heads, patch "
        f"{sizes['patch_size']}, {sizes['num_classes']} classes: {options.out}"
    )
    if model.class_name == DIT:
        print("it predicts noise: no images from it, but training can start there")
    else:
        what = "sample" if sizes["predict_difficulty"] else "sample (or train from)"
        print(f"next: {what} it, see docs/checkpoints.md")

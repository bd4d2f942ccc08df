"""`patch-forcing edit MODEL IMAGE`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from patch_forcing.cli.options import DeviceName, ModelName, check_out, parse, parse_device
from patch_forcing.cli.sampling_options import SamplingOptions, parse_seeds
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.condition_check import check_conditions
from patch_forcing.generation.edit_request import EditRequest
from patch_forcing.generation.find import check_model
from patch_forcing.generation.sample_folder import SampleFolder
from patch_forcing.models.options import Precision


@dataclass(frozen=True)
class Options:
    """What `edit` takes."""

    model: ModelName
    image: Positional[Annotated[Path, arg(metavar="IMAGE", help="The image file to edit.")]]
    mask: str | None = None
    """What may change: an image file, white may change, black is kept, grey may change a little.
    alpha: the image's own alpha channel, of which transparent parts may change."""
    keep_mask: str | None = None
    """The other way round: white is kept, black may change."""
    box: str | None = None
    """What may change is a box: left,top,width,height in pixels of the image."""
    hardest: float | None = None
    """What may change is this share of patches, those of the highest difficulty that the model
    predicts for the image noised to t = 0.6."""
    strength: float | None = None
    """How much white may change, 0 to 1 (1). Without a mask, the whole image may change so much."""
    extend: str | None = None
    """Margins to paint around the image, such as left=32,top=8, in pixels of the result. The result
    has the model's size, and the whole image is shrunk into what is left."""
    feather: int | None = None
    """Pixels over which the change sets in, inwards from what is kept; 0 is a hard edge. Default: a
    quarter of a patch."""
    labels: str | None = None
    """Class numbers or names, such as 3,7, to paint. Several go round over the seeds. Default:
    none, unconditional and without guidance."""
    prompt: Annotated[tuple[str, ...], UseAppendAction] = ()
    """Of a model of texts: what to paint. Several, with the option again, go round."""
    sampling: OmitArgPrefixes[SamplingOptions] = field(default_factory=SamplingOptions)
    seeds: str | None = None
    """Seeds, such as 0-7: one result each. Default: 0-3, or as many as there are labels."""
    count: int | None = None
    """So many results, of seeds from 0; in place of --seeds."""
    maps: bool = False
    """Also write sheets/maps.png: difficulty and time of patches; kept ones are at t = 1."""
    film: bool = False
    """Also write sheets/film.gif: the first 4 results as they are painted."""
    out: Path = Path("edits")
    """Folder for SEED.png, sheets/sheet.png and samples.json; earlier results there give way."""
    batch_size: int = 64
    """Images sampled at once; changes speed and memory, and a few bytes of an image by ±1."""
    precision: Precision = "fp32"
    """What the network computes in: fp32, bf16, or fp8 (NVIDIA GPUs from Ada on, with torchao)."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did."""
    compile: bool = False
    """Compile the network: half a minute for each shape, then faster."""
    device: DeviceName = None


def edit(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing edit",
        description="Repaint parts of an image. Each patch starts at the time that says how much "
        "it may change; what is kept is at t = 1 throughout, as context.",
        example="patch-forcing edit emoji-64 scene.png --box 0,0,32,32 --labels cat-face",
    )
    check_range("--batch-size", options.batch_size, 1)
    check_model(options.model)
    options.sampling.check()
    conditions = {"labels": options.labels, "prompt": list(options.prompt) or None}
    check_conditions(options.model, conditions)
    names = ("mask", "keep_mask", "box", "hardest", "strength", "extend", "feather")
    request = EditRequest(**{name: getattr(options, name) for name in names})
    numbers = parse_seeds(options.seeds, options.count)
    source = request.read(options.image)
    check_out("--out", options.out)
    for file in (options.image, options.mask, options.keep_mask):
        _check_apart(file, options.out)
    SampleFolder(options.out).check()
    device = parse_device(options.device)
    from patch_forcing.cli.editing import edit_and_write

    edit_and_write(options, source, conditions, numbers, device)


def _check_apart(file: str | Path | None, out: Path) -> None:
    """Raises UserError for an image that earlier results there would give way with."""
    if file is not None and out.resolve() in Path(file).resolve().parents:
        raise UserError(
            f"{file} lies in --out {out}, where earlier results give way: choose another --out"
        )

"""`patch-forcing evaluate MODEL|FOLDER|NPZ`, `evaluate compare …` and `evaluate difficulty …`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from patch_forcing.cli.difficulty import difficulty
from patch_forcing.cli.options import (
    DeviceName,
    check_given,
    check_out,
    check_replaced,
    is_report,
    parse,
)
from patch_forcing.cli.sampling_options import SamplingOptions, given_prompts
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.features.names import check_features
from patch_forcing.generation.condition_check import check_conditions
from patch_forcing.generation.find import check_model, config_here, find_model
from patch_forcing.generation.numbers import parse_numbers
from patch_forcing.models.options import Precision
from patch_forcing.scoring.metric_names import METRICS, USUAL, check_metrics
from patch_forcing.scoring.places import (
    check_networks,
    check_reference,
    check_train,
    names_array,
    names_plain_folder,
)

_METRICS = (
    f"With commas between them: {'; '.join(f'{name}: {what}' for name, what in METRICS.items())}. "
    f"Default: {', '.join(USUAL)}, so far as they can be had."
)
_SUBJECT = (
    "A model as sample takes it; a folder of images, such as sample writes; or an .npz of arr_0, "
    "uint8, NHWC."
)


@dataclass(frozen=True)
class Options:
    """What `evaluate` takes."""

    subject: Positional[Annotated[str, arg(metavar="MODEL|FOLDER|NPZ", help=_SUBJECT)]]
    reference: str
    """What samples are held against: a folder of images, a run (the images that it held out of
    training), an .npz of images or of statistics (mu, sigma), tar files as train shards takes
    them, hub:OWNER/NAME:SPLIT (a data set of the Hub, a folder that datasets wrote, or a Parquet
    file), or emoji, the statistics of real scenes that come with the emoji network."""
    features: tuple[str, ...] = ()
    """Networks that images are compared by: emoji, efficientnet-lite0, inception, dinov2-l, clip-l,
    a folder or a Hub id. Default: emoji for emoji models, and what is on this disk."""
    metrics: Annotated[str | None, arg(help=_METRICS)] = None
    count: int | None = None
    """So many images: of a model, of seeds from 0 (1000); of a folder or an array, the first."""
    seeds: str | None = None
    """Seeds of a model's images, such as 0-999; in place of --count."""
    labels: str | None = None
    """Of a model, as sample takes them. Default: classes as often as the reference has them, or
    each in turn."""
    prompt: Annotated[tuple[str, ...], UseAppendAction] = ()
    """Of a model of texts, as sample takes them. Default: the texts of the reference."""
    prompts: Path | None = None
    """A text file of prompts, one a line, in place of --prompt."""
    sampling: OmitArgPrefixes[SamplingOptions] = field(default_factory=SamplingOptions)
    train: Path | None = None
    """A folder of training images, or a run: how much nearer samples are to them than held-out
    images, which --reference then holds."""
    pairs: Path | None = None
    """With --train: a PNG of the ten samples nearest to training images, beside these."""
    statistics: Path | None = None
    """Also write the reference's mu and sigma in one network's features, as .npz, for
    --reference."""
    work: Path | None = None
    """Keep features of finished parts in this folder: the same command goes on where it stopped."""
    out: Path | None = None
    """Also write the record to FILE.json, and FILE.images.npz beside it, which evaluate compare
    pairs with others on the same seeds."""
    markdown: Path | None = None
    """Write the table of the results to this file (.md), not to stderr."""
    json: bool = False
    """Print the record, one JSON object, also to a terminal; to a pipe or a file it is printed
    anyway."""
    batch_size: int = 64
    """Images sampled at once; changes speed and memory, and a few bytes of an image by ±1."""
    precision: Precision = "fp32"
    """What the model computes in: fp32, bf16, or fp8."""
    autoencoder: Path | None = None
    """Of a model of latents: where its autoencoder lies, if not where it did."""
    compile: bool = False
    """Compile the model."""
    device: DeviceName = None


@dataclass(frozen=True)
class CompareOptions:
    """What `evaluate compare` takes."""

    records: Positional[Annotated[tuple[Path, ...], arg(metavar="A.json B.json ...")]]
    """What --out wrote. All are compared with the first one."""


def evaluate(args: Sequence[str]) -> None:
    """Run the command."""
    if args and args[0] == "compare":
        _compare(args[1:])
        return
    if args and args[0] == "difficulty":
        difficulty(args[1:])
        return
    options = parse(
        Options,
        args,
        prog="patch-forcing evaluate",
        description=(
            "Measure samples against real images: a table on stderr, and one JSON object on "
            "stdout, every number with its interval and its recipe. evaluate compare A.json B.json "
            "says what differs, evaluate difficulty MODEL DATA whether the model knows where it "
            "errs."
        ),
        example="patch-forcing evaluate emoji-64 --reference emoji --count 500",
    )
    names = tuple(name.strip() for name in (options.metrics or "").split(",") if name.strip())
    check_metrics(names)
    seeds, prompts = _seeds(options), given_prompts(options.prompt, options.prompts)
    _check_outputs(options)
    if names_array(options.subject) or names_plain_folder(options.subject):
        _check_stored(options)
    else:
        _check_model(options.subject)
        check_range("--batch-size", options.batch_size, 1)
        options.sampling.check()
        check_conditions(options.subject, {"labels": options.labels, "prompt": prompts})
    _check_sides(options)
    from patch_forcing.cli.evaluating import evaluate_and_write

    evaluate_and_write(options, names, seeds, prompts)


def _compare(args: Sequence[str]) -> None:
    options = parse(
        CompareOptions,
        args,
        prog="patch-forcing evaluate compare",
        description="Records of evaluate side by side: differences with intervals, or why none.",
        example="patch-forcing evaluate compare euler.json dual-loop.json",
    )
    from patch_forcing.scoring.comparison import compare

    print(compare(options.records))


def _seeds(options: Options) -> list[int] | None:
    if options.count is not None:
        check_range("--count", options.count, 1)
        if options.seeds is not None:
            raise UserError(f"--count {options.count} and --seeds exclude each other: give one")
    if options.seeds is None:
        return None
    seeds = parse_numbers("--seeds", options.seeds)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {options.seeds}: a seed is there twice: give each once")
    return seeds


def _check_model(name: str) -> None:
    """Raises UserError if there is no such model. The Hub's is downloaded."""
    check_model(name)
    if not Path(name).is_dir() and config_here(name) is None:
        find_model(name)


def _check_sides(options: Options) -> None:
    """Raises UserError, before torch is loaded, for a reference or networks that are not there."""
    check_reference(options.reference)
    if options.train is not None:
        check_train(options.train)
    for name in options.features:
        check_features(name)
    if not options.features:
        check_networks(options.subject, options.reference)


def _check_stored(options: Options) -> None:
    """Raises UserError for options of sampling where images are there already."""
    defaults = Options(options.subject, options.reference)
    for name in (
        "seeds",
        "labels",
        "prompt",
        "prompts",
        "sampling",
        "precision",
        "autoencoder",
        "compile",
    ):
        if getattr(options, name) != getattr(defaults, name):
            raise UserError(
                f"--{name} is of models, and {options.subject} holds images: leave it out"
            )


def _check_outputs(options: Options) -> None:
    """Raises UserError, before any work, for files that cannot be written."""
    check_given(
        (
            ("--out", options.out, ".json"),
            ("--pairs", options.pairs, ".png"),
            ("--statistics", options.statistics, ".npz"),
            ("--markdown", options.markdown, ".md"),
        )
    )
    if options.out is not None:
        check_replaced("--out", options.out, own=is_report)
    if options.work is not None:
        check_out("--work", options.work)

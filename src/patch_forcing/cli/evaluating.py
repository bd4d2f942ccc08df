"""What `patch-forcing evaluate` does once its options are read."""

import sys
from collections.abc import Iterator, Sequence

from patch_forcing.cli.evaluate import Options
from patch_forcing.cli.options import parse_device
from patch_forcing.cli.written import print_record
from patch_forcing.distributed.ranks import join_ranks
from patch_forcing.generation.pipeline import load
from patch_forcing.io.atomic import write_atomic
from patch_forcing.scoring.evaluate import Measurement, measure
from patch_forcing.scoring.evaluation import Evaluation
from patch_forcing.scoring.images import ImageSet
from patch_forcing.scoring.reference import Reference, find_reference
from patch_forcing.scoring.run_data import trained_on
from patch_forcing.scoring.subject import model_images, stored_images


def evaluate_and_write(
    options: Options,
    metrics: tuple[str, ...],
    seeds: Sequence[int] | None,
    prompts: Sequence[str] | None,
) -> None:
    """The table on stderr, the record on stdout, and the files that were named."""
    measurement = Measurement(
        options.features,
        metrics,
        options.train,
        options.work,
        options.pairs,
        options.statistics,
    )
    device = parse_device(options.device)
    with join_ranks(device) as ranks:
        images, reference = _sets(options, seeds, prompts, device)
        progress = None if ranks.first else False
        evaluation = measure(
            images, reference, measurement, device=device, ranks=ranks, progress=progress
        )
    if evaluation is None:
        return
    table = evaluation.markdown() + "\n"
    if options.out is not None:
        evaluation.save(options.out)
    if options.markdown is not None:
        write_atomic(options.markdown, table)
    else:
        print(table, end="", file=sys.stderr)
    for warning in _warnings(options, evaluation):
        print(f"warning: {warning}", file=sys.stderr)
    print_record(evaluation.public, options.json, options.out)


def _warnings(options: Options, evaluation: Evaluation) -> Iterator[str]:
    """What makes the numbers look other than they are."""
    if evaluation.warning is not None:
        yield evaluation.warning
    if trained_on(options.subject, options.reference):
        run = options.subject
        yield (
            f"{run} was trained on images of {options.reference}, so copies of them look good: "
            f"--reference {run} takes those that it held out, if it did"
        )


def _sets(
    options: Options, seeds: Sequence[int] | None, prompts: Sequence[str] | None, device: str
) -> tuple[ImageSet, Reference]:
    """What is measured, and what it is held against."""
    stored = stored_images(options.subject, options.count)
    if stored is not None:
        return stored, find_reference(options.reference, stored.size)
    pipe = load(
        options.subject,
        device,
        precision=options.precision,
        compile=options.compile,
        autoencoder=options.autoencoder,
    )
    request = options.sampling.given()
    if options.sampling.autoguidance is not None:
        weak = load(options.sampling.autoguidance, device, precision=options.precision)
        request["autoguidance"] = weak
    sides = options.sampling.size or pipe.image_shape[1:]
    reference = find_reference(options.reference, sides)
    images = model_images(
        pipe,
        reference,
        count=options.count,
        seeds=seeds,
        labels=options.labels,
        prompts=prompts,
        options=request,
        batch_size=options.batch_size,
    )
    return images, reference

"""Words from prompt to image: does a sample show the word that its prompt names?

    python -m benchmarks.words.run --out docs/results/text/words.jsonl

Trains a model for each distribution of times and each seed, with the same network, steps and data.
Samples words that training saw and words that it never saw, by several samplers at equal network
evaluations, and reads them with a recogniser, which it trains first. Appends each result to OUT at
once; run again, it goes on with what is missing. Beside OUT it leaves a JPEG of samples for each
way of sampling at the first budget, packed by model, for an OCR (benchmarks/words/ocr.py).
"""

import argparse
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, command_of, provenance, read_rows
from benchmarks.words.data import SIZES
from benchmarks.words.order import difficulty_by_time, settling
from benchmarks.words.recogniser import (
    REPORT,
    Recogniser,
    load_recogniser,
    load_report,
    make_recogniser,
    read,
)
from benchmarks.words.scores import scores
from benchmarks.words.sheets import save_sheet
from benchmarks.words.spelling import caption, words
from benchmarks.words.trainings import GUIDANCE, INTERVAL, STEPS, TIMESTEPS, Model
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.result import PipelineResult
from patch_forcing.runs.trainer import train

SAMPLERS = ("euler", "dual-loop", "look-ahead", "adams-bashforth")
KINDS = ("seen", "unseen")
SETTLING = ("euler", "dual-loop")


@dataclass(frozen=True)
class Sampling:
    """One set of samples. nfe: evaluations an image, guidance counted."""

    sampler: str
    nfe: int
    guidance: float
    words: str

    @property
    def name(self) -> str:
        """Of its sheet."""
        return f"{self.sampler}-{self.nfe}-{self.guidance:g}-{self.words}"


def what_of(model: Model, options: argparse.Namespace) -> Iterator[Row]:
    """What is measured of a model, as rows begin."""
    about = {"model": asdict(model)}
    yield about | {"kind": "training"}
    yield about | {"kind": "difficulty"}
    for nfe in options.nfe:
        for guidance in options.guidance:
            for sampler in options.samplers:
                for kind in KINDS:
                    sampling = Sampling(sampler, nfe, guidance, kind)
                    yield about | {"kind": "samples", "sampling": asdict(sampling)}
    for sampler in SETTLING:
        sampling = Sampling(sampler, options.nfe[-1], 1.0, "unseen")
        yield about | {"kind": "settling", "sampling": asdict(sampling)}


def missing(model: Model, options: argparse.Namespace) -> list[Row]:
    """Those that OUT has not."""
    done = read_rows(options.out)
    return [
        row
        for row in what_of(model, options)
        if not any(row.items() <= one.items() for one in done)
    ]


def sampled(
    pipe: Pipeline, how: Sampling, options: argparse.Namespace, trace: bool
) -> PipelineResult:
    """Images of as many words as wanted."""
    chosen = words(how.words == "unseen")[: options.settled if trace else options.prompts]
    guided: dict[str, Any] = {"guidance_scale": how.guidance}
    if how.guidance != 1:
        guided["guidance_interval"] = INTERVAL
    return pipe(
        prompt=[caption(word) for word in chosen],
        seeds=range(len(chosen)),
        sampler=how.sampler,
        nfe=how.nfe,
        time_grid="uniform",
        batch_size=options.batch_size,
        trace=trace,
        **guided,
    )


def measured(
    row: Row, model: Model, pipe: Pipeline, recogniser: Recogniser, options: argparse.Namespace
) -> Row:
    """What is to be said of a row's subject."""
    if row["kind"] == "difficulty":
        rows = difficulty_by_time(pipe.model, model.images, options.settled, options.device)
        return {"images": options.settled, "by_time": rows}
    how = Sampling(**row["sampling"])
    result = sampled(pipe, how, options, trace=row["kind"] == "settling")
    wanted = words(how.words == "unseen")[: len(result.seeds)]
    used = {"used": result.sampler, "nfe": result.nfe, "seconds": round(result.seconds, 2)}
    if row["kind"] == "settling":
        return used | settling(result, recogniser, wanted)
    if how.nfe == options.nfe[0]:
        file = sheets_of(model, options) / f"{how.name}.jpeg"
        save_sheet(file, result.pixels[: options.kept])
        used |= {"sheet": file.name, "kept": min(options.kept, len(wanted))}
    return used | scores(read(recogniser, result.pixels.float() / 127.5 - 1), wanted)


def work(model: Model, options: argparse.Namespace) -> None:
    """Train, unless that was done, measure what is missing, and pack the sheets."""
    if todo := missing(model, options):
        train_and_measure(model, todo, options)
    sheets = sheets_of(model, options)
    if sheets.exists():
        with tarfile.open(options.out.parent / f"{model.name}.tar", "w") as packed:
            packed.add(sheets, model.name)


def sheets_of(model: Model, options: argparse.Namespace) -> Path:
    """The folder of a model's sheets."""
    return options.work / "sheets" / model.name


def train_and_measure(model: Model, todo: list[Row], options: argparse.Namespace) -> None:
    """Each result is appended at once."""
    folder, device = options.work / model.name, options.device
    recipe = model.recipe(device)
    trained = train(model.name, recipe, folder, device=device, progress=False)
    about = provenance(__file__, device)
    if todo[0]["kind"] == "training":
        log = read_rows(folder / "metrics.jsonl")
        row = todo.pop(0) | {"recipe": asdict(recipe), "images_per_second": None, **log[-1]}
        row["losses"] = {line["step"]: line["velocity"] for line in log}
        append_row(options.out, {**row, **about})
        print(f"{model.name}: trained, {trained.seconds:.0f} s", flush=True)
    pipe = load(folder, device, precision="fp32" if device == "cpu" else "bf16")
    recogniser = load_recogniser(options.recogniser, device)
    for row in todo:
        started = time.perf_counter()
        row |= measured(row, model, pipe, recogniser, options)
        append_row(options.out, {**row, **about})
        print(short(row, model), f"{time.perf_counter() - started:.1f} s", flush=True)


def short(row: Row, model: Model) -> str:
    """One line for the terminal."""
    name = f"{model.name}, {row['kind']}"
    if "sampling" in row:
        name += f" {Sampling(**row['sampling']).name}"
    if row["kind"] == "samples":
        return f"{name}: {row['exact']:.1%} exact, edit distance {row['distance']:.2f};"
    return f"{name};"


def run_beside(models: list[Model], options: argparse.Namespace) -> int:
    """Up to `jobs` models at once, each in a process of its own; returns how many failed."""

    def run(model: Model) -> int:
        own = ["--timesteps", model.timesteps, "--seeds", str(model.seed), "--jobs", "1"]
        again = [sys.executable, *command_of(__file__).split()[1:], *sys.argv[1:], *own]
        return subprocess.run(again).returncode

    with ThreadPoolExecutor(options.jobs) as threads:
        return sum(code != 0 for code in threads.map(run, models))


def main() -> None:
    """The recogniser, then model after model."""
    parser = command_line(__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/words"), help="training runs")
    parser.add_argument("--size", choices=[*SIZES, "smoke"], default="line")
    parser.add_argument("--timesteps", nargs="+", default=TIMESTEPS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="default: 8000 of lines, 6000 of squares")
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS)
    parser.add_argument("--nfe", nargs="+", type=int, default=[24, 48], help="budgets")
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0, GUIDANCE])
    parser.add_argument("--prompts", type=int, default=750, help="of each kind of words")
    parser.add_argument("--settled", type=int, default=250, help="images whose order is looked at")
    parser.add_argument("--kept", type=int, default=200, help="images of a sheet")
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--jobs", type=int, default=1, help="models at once")
    parser.add_argument("--recogniser-steps", type=int, default=3000)
    parser.add_argument("--recogniser-batch", type=int, default=256)
    parser.add_argument("--counted", type=int, default=5000, help="real images that it reads")
    options = parser.parse_args()
    size = "line" if options.size == "smoke" else options.size
    options.recogniser = options.work / f"recogniser-{size}"
    if not (options.recogniser / REPORT).exists():
        make_recogniser(
            options.recogniser,
            size,
            options.recogniser_steps,
            options.recogniser_batch,
            options.counted,
            options.device,
        )
    report = load_report(options.recogniser)
    if report not in read_rows(options.out):
        append_row(options.out, report)
    steps = options.steps or STEPS[options.size]
    models = [
        Model(options.size, times, seed, steps)
        for seed in options.seeds
        for times in options.timesteps
    ]
    if options.jobs > 1:
        if failed := run_beside(models, options):
            raise SystemExit(f"{failed} failed")
        return
    for model in models:
        work(model, options)


if __name__ == "__main__":
    main()

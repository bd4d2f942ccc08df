"""Patch Forcing on photographs: CIFAR-10 in pixels, Imagenette in latents.

    python -m benchmarks.natural.run --data cifar10 --images cifar10 --tables timesteps samplers
    python -m benchmarks.natural.run --data imagenette --images imagenette --autoencoder taef2.safetensors

IMAGES holds train/CLASS/… and test/CLASS/… (val/CLASS/… of Imagenette); docs/natural-images.md says
where to get them. Latents are encoded first, into WORK. Trains the models it needs, samples and
measures them, and appends each result to OUT/rows.jsonl as soon as it has it; run again, it goes on
with what is missing. Rows of --known files count as there. With --minutes no result is begun that
would not be finished in time, so far as its length is known. For several GPUs: once with --prepare,
then a process for each, with --part 0/2 and 1/2.

Distances are taken in the features of EfficientNet-Lite0 and of a small classifier of the data's
own classes (benchmarks/natural/classifier.py). It is the one beside the published results, if there
is one for the data, or that in FEATURES, where it is trained first if it is not there: keep that
file, since distances by another one cannot be compared.
"""  # noqa: E501

import argparse
from pathlib import Path

from benchmarks.common.options import command_line
from benchmarks.common.record import ROOT, Row, provenance, read_rows
from benchmarks.common.tasks import Task, tasks_of
from benchmarks.natural.bench import Bench, Clock
from benchmarks.natural.claims import TABLES, as_toy, claims
from benchmarks.natural.classifier import EPOCHS, load_classifier, make_classifier
from benchmarks.natural.real import Judge, RealImages
from benchmarks.natural.settings import SETS, DataSet
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.core.errors import UserError
from patch_forcing.data.sources import FolderSource
from patch_forcing.features.find import find_features
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions

NETWORK = "efficientnet-lite0"
PUBLISHED, MADE = ROOT / "docs/results/natural", Path("runs/natural/features")
"""Folders of classifiers where nobody names one."""


def encoded(options: argparse.Namespace, one: DataSet) -> str:
    """Latents of the training images; what is there already stays."""
    out = options.work / f"{options.data}-latents"
    images = FolderSource(str(options.images / "train")).open()
    codec = load_autoencoder(options.autoencoder, options.device)
    how = EncodeOptions(size=one.size, batch_size=64, shard_size=2048)
    Encoding(images, codec, out, how, options.device).run(progress=False)
    return str(out)


def opened(options: argparse.Namespace, clock: Clock, rows: list[Row]) -> Bench:
    """The data, with a row on real images unless there is one. Raises UserError."""
    one, limit = SETS[options.data], options.limit
    kept = RealImages.of(options.images / "train", one.size, limit)
    held_out = RealImages.of(options.images / one.held_out, one.size, limit)
    file = classifier_file(options.features, options.data)
    if not file.exists():
        make_classifier(options.data, kept, held_out, file, options.epochs, options.device)
    classifier, about = load_classifier(file, options.data)
    networks = [find_features(name) for name in options.networks]
    judges = [
        Judge.of(network, kept, held_out, options.device, options.work / "seen" / options.data)
        for network in (*networks, classifier)
    ]
    path = encoded(options, one) if one.latent else str(options.images / "train")
    bench = Bench(options, one, path, judges, held_out, clock)
    names = [judge.network.name for judge in judges]
    check_networks(rows, names, options.data)
    of_real = [row for row in rows if row["kind"] == "real" and row["data"] == options.data]
    if names not in [[judge["network"] for judge in row["judges"]] for row in of_real]:
        own = {"kind": "real", "data": options.data, "of": one.name, "classifier": about}
        own["judges"] = [judge.about for judge in judges]
        bench.put({**own, **provenance(__file__, options.device)})
    return bench


def check_networks(rows: list[Row], names: list[str], data: str) -> None:
    """Raises UserError if there are distances by other networks, which compare with none here."""
    for row in rows:
        if row["kind"] == "samples" and row["model"]["data"] == data:
            other = [one["network"] for one in row["measures"]]
            if other != names:
                raise UserError(
                    f"there are rows by {', '.join(other)}, and here are {', '.join(names)}: give "
                    "the classifier's file with --features, or another --out"
                )


def classifier_file(features: Path | None, data: str) -> Path:
    """In `features`; without, the published one, or where one is made."""
    name = f"classifier-{data}.safetensors"
    if features is None:
        features = PUBLISHED if (PUBLISHED / name).exists() else MADE
    return features / name


def missing(options: argparse.Namespace, rows: list[Row]) -> list[Task]:
    """What is to be done, in the order of the tables; of several processes, this one's share."""
    wanted = list(claims(options.data, options.tables, rows))
    if options.toy:
        wanted = list(map(as_toy, wanted))
    number, count = map(int, options.part.split("/"))
    runs = list(dict.fromkeys(model.run for model, _ in wanted))  # done or not, so that parts stay
    return [
        task
        for task in tasks_of(wanted, rows)
        if (not options.only or task.model.name in options.only)
        and runs.index(task.model.run) % count == number
    ]


def command() -> argparse.ArgumentParser:
    """Its options."""
    parser = command_line(__doc__, out="docs/results/natural")
    parser.add_argument("--data", choices=SETS, default="cifar10")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--autoencoder", help="of latents: TAEF2's file")
    parser.add_argument("--work", type=Path, default=Path("runs/natural"), help="training runs")
    parser.add_argument("--features", type=Path, help=f"classifiers; default: {PUBLISHED}, {MADE}")
    parser.add_argument("--networks", nargs="*", default=[NETWORK], help="beside the classifier")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["timesteps"])
    parser.add_argument("--only", nargs="*", help="names of models, as cifar10-ltg-0")
    parser.add_argument("--part", default="0/1", help="of several processes: 0/2, 1/2")
    parser.add_argument("--known", nargs="*", type=Path, default=[], help="more rows.jsonl")
    parser.add_argument("--minutes", type=float, help="begin nothing that would take longer")
    parser.add_argument("--samples", type=int, default=10_240)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of a classifier trained here")
    parser.add_argument("--limit", type=int, help="real images of each part, evenly spread")
    parser.add_argument("--prepare", action="store_true", help="latents and real images alone")
    parser.add_argument("--toy", action="store_true", help="a tiny network, to try the command")
    return parser


def all_rows(options: argparse.Namespace) -> list[Row]:
    """What is known."""
    files = [options.out / "rows.jsonl", *options.known]
    return [row for file in files for row in read_rows(file)]


def main() -> None:
    """Do what is missing."""
    parser = command()
    options = parser.parse_args()
    if SETS[options.data].latent and options.autoencoder is None:
        parser.error(f"--data {options.data} is latents: add --autoencoder taef2.safetensors")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = all_rows(options)
    try:
        bench = opened(options, Clock.of(options.minutes, rows, options.data), rows)
    except UserError as error:
        parser.error(str(error))
    if options.prepare:
        return
    try:
        # anew after each model, since what is chosen on seed 0 decides what else is sampled
        while (tasks := missing(options, all_rows(options))) and bench.work(tasks[0]):
            pass
    except UserError as error:
        parser.error(str(error))
    except KeyboardInterrupt:  # training has saved a checkpoint
        pass
    left = sum(task.left for task in missing(options, all_rows(options)))
    print(f"{left} results are left{': run the same command again' if left else ''}", flush=True)


if __name__ == "__main__":
    main()

"""Photographs measured against photographs → docs/results/evaluation-natural.json.

    python -m benchmarks.evaluation.natural --images DIR        # a quarter of an hour on two cores

DIR holds train/CLASS and test/CLASS, such as those of CIFAR-10. Test images are the reference;
training images stand for the samples of a model: as they are, blurred, compressed, without one
class, and half of them twice. All numbers are those of the commands that users type.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFilter

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance, write_json
from patch_forcing.cli.main import run

FEATURES = ("efficientnet-lite0", "emoji")
METRICS = "fd,kid,precision,recall,density,coverage"
REFERENCE, SAMPLES = 100, 50
"""Images of a class."""
BLUR, QUALITY = 1.0, 25
Change = Callable[[Image.Image], Image.Image]


def main() -> None:
    """Arrange the folders, run the commands, write the file."""
    parser = command_line(__doc__, out="docs/results/evaluation-natural.json", device=False)
    parser.add_argument("--images", type=Path, required=True)
    options = parser.parse_args()
    out, images = options.out.resolve(), options.images.resolve()
    about = provenance(__file__, "cpu")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sets = arrange(images)
        rows = [{"set": name, **measured(name)} for name in sets]
        compared = printed("evaluate", "compare", *(f"{name}.json" for name in list(sets)[:2]))
        by_class = json.loads(
            printed(*command("fewer"), "--features", "emoji", "--metrics", "fd-by-class")
        )["results"][0]["by_class"]
        copies = json.loads(
            printed(*command("photographs"), "--features", FEATURES[0], "--metrics", "fd",
                    "--train", "train")
        )["results"][0]["metrics"]["nearer-to-training"]  # fmt: skip
    numbers = {"rows": rows, "compare": compared, "by_class": by_class, "copies": copies}
    write_json(out, about | {"reference": 10 * REFERENCE} | numbers)


def arrange(images: Path) -> list[str]:
    """Folders of the reference and of all sets, here; returns the names of the sets."""
    classes = sorted(place.name for place in (images / "train").iterdir())
    for name in classes:
        link(files(images / "test" / name, 0, REFERENCE), Path("test", name))
        link(files(images / "train" / name, 0, 2 * SAMPLES), Path("train", name))
        samples = files(images / "train" / name, 0, SAMPLES)
        link(samples, Path("photographs", name))
        changed(samples, Path("blurred", name), lambda x: x.filter(ImageFilter.GaussianBlur(BLUR)))
        changed(samples, Path("compressed", name), compressed)
        link(samples[: SAMPLES // 2], Path("repeated", name))
        link(samples[: SAMPLES // 2], Path("repeated", name), "again-")
        link(samples[: SAMPLES // 2], Path("fewer", name))
    rest = 10 * SAMPLES
    for number, name in enumerate(classes[:-1]):
        share = rest // (len(classes) - 1 - number)
        rest -= share
        link(files(images / "train" / name, 0, share), Path(f"no-{classes[-1]}", name))
    return ["photographs", "blurred", "compressed", f"no-{classes[-1]}", "repeated"]


def files(folder: Path, first: int, count: int) -> list[Path]:
    return sorted(folder.iterdir())[first : first + count]


def link(sources: list[Path], folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        (folder / f"{prefix}{source.name}").symlink_to(source)


def changed(sources: list[Path], folder: Path, change: Change) -> None:
    folder.mkdir(parents=True)
    for source in sources:
        with Image.open(source) as image:
            change(image.convert("RGB")).save(folder / f"{source.stem}.png")


def compressed(image: Image.Image) -> Image.Image:
    """As JPEG of low quality gives it back."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def command(name: str) -> list[str]:
    return ["evaluate", name, "--reference", "test"]


def measured(name: str) -> Row:
    """What the command says of a set, in short."""
    arguments = [*command(name), "--features", *FEATURES, "--metrics", METRICS]
    record = json.loads(printed(*arguments, "--out", f"{name}.json"))
    kept = {row["features"].partition(" ")[0]: row["metrics"] for row in record["results"]}
    return {"n": record["n"], "command": f"patch-forcing {' '.join(arguments)}", "results": kept}


def printed(*arguments: str) -> str:
    """What a command prints."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        run(list(arguments))
    return stream.getvalue()


if __name__ == "__main__":
    main()

"""A reader of text that nobody here trained: PP-OCRv6 small, as the package rapidocr brings it.

    pip install onnxruntime && pip install --no-deps rapidocr
    python -m benchmarks.words.ocr --rows docs/results/text/words.jsonl --sheets FOLDER \\
        --out docs/results/text/words-ocr.jsonl

Reads the sheets that benchmarks/words/run.py left of the ways of sampling in its rows, unpacked in
FOLDER, and real images kept in the same way. Appends a row for each to OUT, and goes on with what
is missing. The model of lines is run by itself, without a search for lines: an image here holds
one, and rows of pixels without edges are cut off. It lies in rapidocr's wheel, so that nothing is
downloaded.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.options import command_line
from benchmarks.common.record import Row, append_row, provenance, read_rows
from benchmarks.words.data import SIZES
from benchmarks.words.recogniser import real_images
from benchmarks.words.scores import scores
from benchmarks.words.sheets import read_sheet, save_sheet
from benchmarks.words.spelling import words
from benchmarks.words.trainings import Model
from patch_forcing.core.errors import UserError
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.models.config import DataInfo

MODEL = "models/PP-OCRv6_rec_small.onnx"
HEIGHT, WIDTHS = 48, (320, 640)
"""Of what it reads: lines are scaled to this height, and filled up to the first width that holds
them; longer ones are squeezed."""
EDGE = 0.15
"""Of neighbouring pixels in [−1, 1]: steps within gradients are a tenth of it."""
FREE = 4
"""Pixels left above and below the rows that have edges."""
_AT_ONCE = 32


def find_model() -> Path:
    """Where rapidocr's model of lines lies. Raises UserError if there is none."""
    package = importlib.util.find_spec("rapidocr")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        if (file := Path(folder, MODEL)).is_file():
            return file
    raise UserError(
        f"rapidocr is missing, or brings no {MODEL}: pip install --no-deps rapidocr"
        if not folders
        else f"{folders[0]} holds no {MODEL}: pip install --no-deps 'rapidocr>=3.10'"
    )


class Ocr:
    """Reads images of one line each."""

    def __init__(self, model: Path | None = None, threads: int = 0):
        """model: an ONNX file; None: rapidocr's. threads: of the CPU; 0: all.

        Raises UserError if onnxruntime or the model is missing.
        """
        try:
            import onnxruntime
        except ImportError:
            raise UserError("onnxruntime is missing: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        file = find_model() if model is None else model
        self.name = file.stem
        self._session: Any = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        names = self._session.get_modelmeta().custom_metadata_map["character"]
        self._letters = ["", *names.splitlines(), " "]  # the first class is no letter

    def read(self, images: Float[Tensor, "M 3 H W"]) -> list[str]:
        """What each image says, in small letters and without spaces."""
        lines_read = []
        for part in images.split(_AT_ONCE):
            lines = [_line(_band(image)) for image in part]
            most = max(line.shape[-1] for line in lines)
            width = next((w for w in WIDTHS if w >= most), WIDTHS[-1])
            filled = torch.stack([F.pad(line, (0, width - line.shape[-1])) for line in lines])
            (chances,) = self._session.run(None, {self._input: filled.numpy()})
            lines_read += [
                self._decoded(row) for row in torch.from_numpy(chances).argmax(2).tolist()
            ]
        return lines_read

    def _decoded(self, classes: list[int]) -> str:
        """Repeated classes are one letter (connectionist temporal classification)."""
        kept = [k for before, k in zip([0, *classes], classes, strict=False) if k != before]
        return "".join(self._letters[k] for k in kept).lower().replace(" ", "")


def _band(image: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 h W"]:
    """The rows from the first to the last with an edge, and a few more; all if none has one."""
    steps = image.diff(dim=2).abs().amax(dim=(0, 2))  # (H,)
    rows = (steps > EDGE).nonzero().flatten().tolist()
    if not rows:
        return image
    return image[:, max(0, rows[0] - FREE) : rows[-1] + 1 + FREE]


def _line(image: Float[Tensor, "3 h W"]) -> Float[Tensor, "3 48 w"]:
    """As high as the model takes it, blue first."""
    height, width = image.shape[1:]
    size = (HEIGHT, min(-(-HEIGHT * width // height), WIDTHS[-1]))
    return F.interpolate(image.flip(0)[None].float().cpu(), size, mode="bilinear")[0]


def real_rows(ocr: Ocr, size: str, count: int) -> Iterator[Row]:
    """Its accuracy on real images, through a sheet."""
    for kind in ("seen", "unseen"):
        wanted, images = real_images(size, kind, count)
        with TemporaryDirectory() as folder:
            file = Path(folder, "real.jpeg")
            save_sheet(file, to_uint8(images, DataInfo()))
            again = read_sheet(file, SIZES[size], count)
        yield {"kind": "real", "size": size, "words": kind, **scores(ocr.read(again), wanted)}


def sample_row(ocr: Ocr, row: Row, sheets: Path) -> Row:
    """What it reads in the samples of a row. Raises UserError if their sheet is not there."""
    model = Model(**row["model"])
    file = sheets / model.name / row["sheet"]
    if not file.exists():
        raise UserError(f"{file} is not there: unpack {model.name}.tar")
    wanted = words(row["sampling"]["words"] == "unseen")[: row["kept"]]
    images = read_sheet(file, SIZES[model.images], len(wanted))
    about = {"kind": "samples", "model": row["model"], "sampling": row["sampling"]}
    return {**about, **scores(ocr.read(images), wanted)}


def main() -> None:
    """Real images of the sizes that occur, then sheet after sheet."""
    parser = command_line(__doc__, device=False)
    parser.add_argument("--rows", type=Path, required=True, help="of benchmarks/words/run.py")
    parser.add_argument("--sheets", type=Path, required=True, help="a folder of each model in it")
    parser.add_argument("--counted", type=int, default=500, help="real images of each kind")
    parser.add_argument("--model", type=Path, help="an ONNX file, in place of rapidocr's")
    options = parser.parse_args()
    rows = [row for row in read_rows(options.rows) if row.get("sheet")]
    try:
        ocr = Ocr(options.model)
    except UserError as error:
        parser.error(str(error))
    about = {"reader": ocr.name, **provenance(__file__, "cpu")}
    done = read_rows(options.out)
    for size in sorted({Model(**row["model"]).images for row in rows}):
        if not any((row["kind"], row.get("size")) == ("real", size) for row in done):
            for row in real_rows(ocr, size, options.counted):
                put(options.out, {**row, **about})
    read = [(row["model"], row["sampling"]) for row in done if row["kind"] == "samples"]
    for row in rows:
        if (row["model"], row["sampling"]) not in read:
            try:
                put(options.out, {**sample_row(ocr, row, options.sheets), **about})
            except UserError as error:
                print(error, flush=True)


def put(file: Path, row: Row) -> None:
    """Append a row, and say so."""
    append_row(file, row)
    what = row["sampling"] if row["kind"] == "samples" else row["words"]
    print(f"{row['kind']}, {what}: {row['exact']:.1%} exact", flush=True)


if __name__ == "__main__":
    main()

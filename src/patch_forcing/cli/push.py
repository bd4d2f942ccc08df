"""`patch-forcing push MODEL OWNER/NAME`."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from patch_forcing.cli.options import DeviceName, ModelName, check_out, parse, parse_device
from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import check_model
from patch_forcing.io.atomic import atomic_folder
from patch_forcing.io.hub_upload import CARD, Target, check_package, check_target, upload


@dataclass(frozen=True)
class Options:
    """What `push` takes."""

    model: ModelName
    to: Positional[Annotated[str, arg(metavar="OWNER/NAME")]]
    """The repository on the Hub; it is made if it is not there."""
    private: bool = False
    """Only its owner sees a repository that this makes."""
    dry_run: bool = False
    """Send nothing: say what would be uploaded. The network is not used."""
    out: Path | None = None
    """Also write the folder here: weights, config, card and sheet."""
    license: str | None = None
    """Licence of the weights, as the Hub writes it, such as apache-2.0 or cc-by-nc-4.0. Default:
    none is stated, but for bundled models."""
    data: str | None = None
    """What the training images are, in a few words. Default: as the recipe says."""
    data_license: str | None = None
    """Their licence. Default: as it is known of bundled data."""
    evaluation: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A record of patch-forcing evaluate MODEL --out FILE.json, for the card; several with the
    option again."""
    sheet: bool = True
    """Draw a sheet of samples, as the model recommends; --no-sheet where that takes too long."""
    revision: str | None = None
    """A branch to upload to, made if it is not there. Default: the main one."""
    new_card: bool = False
    """Write a new card over one that was changed by hand; without, that one stays."""
    autoencoder: str | None = None
    """Of a model of latents: where others find its autoencoder, if it is named by a place here."""
    text_encoder: str | None = None
    """The same of what reads its prompts."""
    device: DeviceName = None


def push(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing push",
        description="A model to the Hugging Face Hub, with a model card. Log in first: hf auth "
        "login, or HF_TOKEN. Only safetensors, JSON, the card and a picture travel.",
        example="patch-forcing push runs/digits OWNER/digits --license apache-2.0 --dry-run",
    )
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", options.to, re.ASCII):
        raise UserError(f"{options.to!r} is no name of a repository: write OWNER/NAME")
    check_model(options.model)
    for file in options.evaluation:
        if not file.is_file():
            raise UserError(f"--evaluation {file} is not there: give what evaluate --out wrote")
    if options.out is not None:
        check_out("--out", options.out)
        if options.out.exists():
            raise UserError(f"--out {options.out} exists: name another folder")
    check_package()
    target = Target(options.to, options.revision, options.private)
    before = "" if options.dry_run else check_target(target)
    device = parse_device(options.device)
    with tempfile.TemporaryDirectory(prefix="patch-forcing-") as private:
        folder = Path(private) / "model"  # which --out copies, as readable as any other
        folder.mkdir()
        _push(options, target, before, folder, device)


def _push(options: Options, target: Target, before: str, folder: Path, device: str) -> None:
    """before: the card that is there."""
    from patch_forcing.sharing.card import is_untouched
    from patch_forcing.sharing.share import Words, write_shared

    words = Words(
        options.license,
        options.data,
        options.data_license,
        options.evaluation,
        options.autoencoder,
        options.text_encoder,
    )
    subject = write_shared(
        options.model, options.to, folder, words, sheet=options.sheet, device=device
    )
    if options.out is not None:
        with atomic_folder(options.out) as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
    if before and not options.new_card and not is_untouched(before):
        (folder / CARD).unlink()
        print(f"{CARD} there was changed by hand and stays; --new-card writes a new one")
    if subject.licence is None:
        print("the card states no licence of the weights; --license apache-2.0, say, states one")
    files = sorted(folder.iterdir())
    listed = "\n".join(f"  {file.name:<18}{file.stat().st_size:>14,} bytes" for file in files)
    if options.dry_run:
        print(f"would be uploaded to {options.to}, {_place(target)}:\n{listed}")
        if options.out is None:
            print("nothing was sent or kept; --out DIR keeps the folder")
        else:
            print(f"nothing was sent; the folder is {options.out}")
        return
    address = upload(folder, target, f"{Path(options.model).name} by patch-forcing push")
    print(f"uploaded to {options.to}, {_place(target)}:\n{listed}\n{address}")
    at = f"@{options.revision}" if options.revision else ""
    print(f"next: patch-forcing sample {options.to}{at} --count 8")


def _place(target: Target) -> str:
    """Which branch, and who sees it."""
    seen = ", private if it is new" if target.private else ""
    return f"branch {target.revision or 'main'}{seen}"

"""A model as a folder for others: weights, config, a sheet of samples, and a card."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.generation.decoder import find_decoder
from patch_forcing.generation.find import find_model
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.hub_upload import CARD
from patch_forcing.io.image_file import save_image
from patch_forcing.io.model_layout import CONFIG, WEIGHTS, folder_hash
from patch_forcing.models.config import DataInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import read_config, write_config
from patch_forcing.models.loading import load_model
from patch_forcing.sharing.card import SHEET, Subject, card_text
from patch_forcing.sharing.scores import read_records
from patch_forcing.sharing.training import recorded_training

MAX_SHEET = 16
"""Images of a sheet."""


@dataclass(frozen=True)
class Words:
    """What the one who shares a model says of it.

    licence: of the weights, as the Hub writes it. data, data_licence: of the training images.
    evaluations: records of `evaluate`. autoencoder, text_encoder: the names under which others find
    them, where the model calls them by a place on this disk.
    """

    licence: str | None = None
    data: str | None = None
    data_licence: str | None = None
    evaluations: Sequence[Path] = ()
    autoencoder: str | None = None
    text_encoder: str | None = None


def write_shared(
    name: str, hub_id: str, folder: Path, words: Words, *, sheet: bool = True, device: str = "cpu"
) -> Subject:
    """Writes the files of a model, as users name it, into an empty folder.

    sheet: draw samples, as the model recommends. Weights are those that are there, bit for bit.
    Raises UserError if the model is damaged, an evaluation is of another one, or a part of it is
    known by a place on this disk alone.
    """
    source = find_model(name)
    stored = read_config(source)
    evaluations = read_records(words.evaluations, name, folder_hash(source))
    info = _public(stored.data_info, words)
    model = load_model(source, device)
    if sheet:
        drawn = _sheet(name, source, model, device)
    model.data_info = info
    shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
    if info == stored.data_info:
        shutil.copyfile(source / CONFIG, folder / CONFIG)
    else:
        write_config(folder, stored._replace(data_info=info))
    if sheet:
        save_image(drawn, folder / SHEET)
    training = recorded_training(name, source)
    training = replace(
        training,
        data=words.data or training.data,
        data_licence=words.data_licence or training.data_licence,
    )
    subject = Subject(
        hub_id,
        model,
        folder_hash(folder),
        training,
        words.licence or training.licence,
        evaluations,
        sheet,
    )
    write_atomic(folder / CARD, card_text(subject))
    return subject


def _sheet(name: str, source: Path, model: PatchDiT, device: str) -> Image.Image:
    """Samples as the model recommends them."""
    info = model.data_info
    try:
        decoder = find_decoder(name, info, model.config.in_channels, device=device)
    except UserError as error:
        raise UserError(f"no sheet can be drawn, --no-sheet does without: {error}") from None
    pipe = Pipeline(name, source, model, autoencoder=decoder)
    chosen = pipe.choose({}, {})
    seeds = range(min(MAX_SHEET, len(chosen.conditions)))
    conditions = chosen.conditions.for_seeds(seeds)
    return pipe.sample(pipe.resolve(chosen.request), conditions, seeds).sheet()


def _public(info: DataInfo, words: Words) -> DataInfo:
    """The same with names of autoencoder and text encoder that mean something elsewhere."""
    space, text = info.autoencoder, info.text
    if space is None and words.autoencoder is not None:
        raise UserError(f"--autoencoder {words.autoencoder}: the model names none: leave it out")
    if text is None and words.text_encoder is not None:
        raise UserError(f"--text-encoder {words.text_encoder}: the model names none: leave it out")
    if space is not None:
        name = _found_by_others("--autoencoder", space.name, words.autoencoder)
        info = replace(info, autoencoder=replace(space, name=name))
    if text is not None:
        name = _found_by_others("--text-encoder", text.encoder, words.text_encoder)
        info = replace(info, text=replace(text, encoder=name))
    return info


def _found_by_others(option: str, name: str, given: str | None) -> str:
    if given is not None:
        return given
    if Path(name).is_absolute() or Path(name).exists():
        raise UserError(
            f"the model's {option[2:].replace('-', ' ')} is {name}, which others do not have: say "
            f"where they find it, with {option} OWNER/NAME"
        )
    return name

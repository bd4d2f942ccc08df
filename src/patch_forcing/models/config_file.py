"""`config.json` of a model folder, read without torch."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.io.foreign import asks_for_code
from patch_forcing.models.config import DataInfo, SamplingInfo

FORMAT_VERSION = 1


class StoredConfig(NamedTuple):
    """What a model folder says of itself: the network's class and sizes, its data, its sampling."""

    class_name: str
    sizes: dict[str, Any]
    data_info: DataInfo
    sampling_info: SamplingInfo


def read_config_file(file: Path) -> StoredConfig:
    """Raises UserError naming the file if it is missing, damaged or of an unknown format."""
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if key := asks_for_code(config):
            raise UserError(
                f"{file} asks to run code that lies beside it ({key}), which is never done: give "
                "a model of patch-forcing"
            )
        version = config["format_version"]
        if version != FORMAT_VERSION:
            raise UserError(
                f"{file}: format version {version!r} is unknown, this release reads "
                f"{FORMAT_VERSION}: install the release that wrote it, or a newer one"
            )
        sizes = {
            name: tuple(size) if isinstance(size, list) else size
            for name, size in config["model"].items()
        }
        info = DataInfo.read(config["data"])
        sampling = config.get("sampling", {})  # models of the first releases have none
        return StoredConfig(config["class"], sizes, info, SamplingInfo.read(sampling))
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise UserError(
            f"{file} is not a model's config ({error!r}): copy or export the model again"
        ) from None

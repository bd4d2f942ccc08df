"""Sizes of a PatchDiT, and what its images are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.time_grid import check_grid
from patch_forcing.models.latent_space import LatentSpace, latent_space
from patch_forcing.models.text_space import TextSpace, text_space

OPTIONAL = ("condition", "position", "condition_size")
"""Fields that model folders hold only where they are not the default."""


@dataclass(frozen=True)
class PatchDiTConfig:
    """Sizes of the network; validated when built.

    input_size: height and width of what the network sees (one number: square).
    in_channels: channels of the image or latent; the output has one more for the log-variance.
    num_classes: labels 0 … num_classes − 1; the null condition has its own row behind them.
    condition: the kind of condition, NAME or NAME:option=value (models/condition_kinds.py).
    position: of patches; "sincos", fixed and added to them, or "rope", which turns queries and
    keys, so that the network takes other sizes and aspect ratios too (models/rotary.py).
    condition_size: width of the embeddings of time and condition, which modulate layers; None:
    hidden_size. A smaller one saves a quarter of the weights.
    """

    input_size: int | tuple[int, int]
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 384
    depth: int = 12
    num_heads: int = 6
    num_classes: int = 1000
    predict_difficulty: bool = True
    condition: str = "class"
    position: str = "sincos"
    condition_size: int | None = None

    def __post_init__(self) -> None:
        sizes = {
            "patch_size": 1,
            "in_channels": 1,
            "hidden_size": 1,
            "depth": 1,
            "num_heads": 1,
            "num_classes": 0,
        }
        for name, low in sizes.items():
            check_range(f"PatchDiTConfig: {name}", getattr(self, name), low, whole=True)
        size = self.input_size
        pair = isinstance(size, tuple) and len(size) == 2 and all(map(_is_whole, size))
        if not (_is_whole(size) or pair):
            raise UserError(
                f"PatchDiTConfig: input_size={size!r}: give one whole number, or (height, width)"
            )
        if not isinstance(self.predict_difficulty, bool):
            raise UserError(
                f"PatchDiTConfig: predict_difficulty={self.predict_difficulty!r}: true or false"
            )
        if self.hidden_size % self.num_heads:
            raise UserError(
                f"PatchDiTConfig: hidden_size={self.hidden_size} is not divisible by "
                f"num_heads={self.num_heads}: choose a multiple"
            )
        if self.hidden_size % 4:
            raise UserError(
                f"PatchDiTConfig: hidden_size={self.hidden_size} is not divisible by 4, "
                "which 2-D sin-cos positions need: choose a multiple"
            )
        if self.position not in ("sincos", "rope"):
            raise unknown_name("position", str(self.position), ("sincos", "rope"))
        if self.is_rotary and self.hidden_size // self.num_heads % 4:
            raise UserError(
                f"PatchDiTConfig: heads of width {self.hidden_size // self.num_heads} are not "
                "divisible by 4, which 2-D rotary positions need: choose other sizes"
            )
        if self.condition_size is not None:
            check_range("PatchDiTConfig: condition_size", self.condition_size, 1, whole=True)
        self.grid  # raises if the patches do not tile the image  # noqa: B018
        if not isinstance(self.condition, str):
            raise UserError(f"PatchDiTConfig: condition={self.condition!r}: give a name")
        # recipes, too, import this file
        from patch_forcing.models.condition_kinds import condition_kind

        condition_kind(self.condition)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        size = self.input_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return patch_grid(self.image_size, self.patch_size)

    @property
    def num_patches(self) -> int:
        """N."""
        return self.grid[0] * self.grid[1]

    @property
    def vector_size(self) -> int:
        """Width of the embeddings of time and condition."""
        return self.condition_size or self.hidden_size

    @property
    def is_rotary(self) -> bool:
        """Whether positions turn queries and keys."""
        return self.position == "rope"

    def stored(self) -> dict[str, Any]:
        """As model folders hold it."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in OPTIONAL or value != getattr(PatchDiTConfig, name)
        }


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class DataInfo:
    """What a model's numbers mean as images; stored beside the weights.

    data_range: the pixel values of black and white.
    latent_scale: latents are the autoencoder's times this; 1 in pixel space, and where the
    autoencoder has more than one scale.
    class_names: one for each label, or empty.
    autoencoder: whose latents they are; None for pixels, or if it is not known.
    text: whose embeddings conditions are; None where they are none of an encoder.
    """

    data_range: tuple[float, float] = (-1.0, 1.0)
    latent_scale: float = 1.0
    class_names: tuple[str, ...] = ()
    autoencoder: LatentSpace | None = None
    text: TextSpace | None = None

    @classmethod
    def of_latents(cls, space: LatentSpace, class_names: tuple[str, ...] = ()) -> "DataInfo":
        """That of an autoencoder's latents."""
        scale = space.scale[0] if len(space.scale) == 1 else 1.0
        return cls(latent_scale=scale, class_names=class_names, autoencoder=space)

    def __post_init__(self) -> None:
        numbers = (*self.data_range, self.latent_scale)
        if not all(isinstance(number, int | float) and isfinite(number) for number in numbers):
            raise UserError(f"DataInfo: {numbers} are not all finite numbers: give such")
        if len(self.data_range) != 2 or not self.data_range[0] < self.data_range[1]:
            raise UserError(f"DataInfo: data_range={self.data_range}: give (low, high), low < high")
        check_range("DataInfo: latent_scale", self.latent_scale, above=0)
        if not all(isinstance(name, str) for name in self.class_names):
            raise UserError(f"DataInfo: class_names={self.class_names}: give texts")
        space = self.autoencoder
        if space is not None and len(space.scale) == 1 and self.latent_scale != space.scale[0]:
            raise UserError(
                f"DataInfo: latent_scale={self.latent_scale} for an autoencoder of scale "
                f"{space.scale[0]}: give one of them"
            )

    def stored(self) -> dict[str, Any]:
        """As model folders hold it: of pixels and classes, as it always was."""
        values = asdict(self)
        return {
            k: v for k, v in values.items() if v is not None or k not in ("autoencoder", "text")
        }

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "DataInfo":
        """From what a model folder holds. Raises UserError, KeyError or TypeError if it is none."""
        return cls(
            data_range=tuple(stored["data_range"]),
            latent_scale=stored["latent_scale"],
            class_names=tuple(stored["class_names"]),
            autoencoder=latent_space(stored["autoencoder"]) if "autoencoder" in stored else None,
            text=text_space(stored["text"]) if "text" in stored else None,
        )

    def mismatch(self, other: "DataInfo") -> str | None:
        """In what the other's numbers mean something else, in a few words; None if they do not.

        Classes do not count; nor an autoencoder, if scales agree, or an encoder of captions, that
        one of them does not name.
        """
        for name in ("data_range", "latent_scale"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                return f"{name} {theirs}, not {ours}"
        if self.text is not None and other.text is not None and self.text.name != other.text.name:
            return f"captions that {other.text.name} reads, not {self.text.name}"
        if self.autoencoder is not None and other.autoencoder is not None:
            difference = self.autoencoder.mismatch(other.autoencoder)
            return difference and f"an autoencoder of {difference}"
        if self.autoencoder != other.autoencoder and self.latent_scale == 1:
            return "pixels, not latents" if self.autoencoder else "latents, not pixels"
        return None


def check_data(config: PatchDiTConfig, info: DataInfo) -> None:
    """Raises UserError unless classes and channels of a network are those of its data."""
    names = len(info.class_names)
    if names not in (0, config.num_classes):
        raise UserError(f"{names} class names for {config.num_classes} classes: name all or none")
    space = info.autoencoder
    if space is not None and space.channels != config.in_channels:
        raise UserError(
            f"{config.in_channels} channels for latents of {space.channels} ({space.name}): "
            "bring a network and the autoencoder of its latents together"
        )


@dataclass(frozen=True)
class Recommended:
    """How a model's images are best made where nobody chooses. Records say what was used.

    conditions: what shows well, as users write it; without it each of the classes, 16 at most.
    The rest are fields of a `SampleRequest`; what is not given, and guidance of 1, is as usual.
    """

    conditions: str | None = None
    """Classes that show what the model can, as --labels takes them."""
    sampler: str | None = None
    """A sampler other than the usual one."""
    nfe: float | None = None
    """Network evaluations an image, guidance counted."""
    guidance_scale: float = 1.0
    """Classifier-free guidance; 1 is none."""
    guidance_interval: tuple[float, float] | None = None
    """Times between which guidance acts."""
    guidance_kind: str | None = None
    """What guidance leads away from, other than the missing condition: noisier."""

    def __post_init__(self) -> None:
        for name in ("conditions", "sampler", "guidance_kind"):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise UserError(f"Recommended: {name}={value!r}: give a text")
        if self.nfe is not None:
            check_range("Recommended: nfe", self.nfe, above=0)
        check_range("Recommended: guidance_scale", self.guidance_scale)
        for number in self.guidance_interval or ():
            check_range("Recommended: guidance_interval", number, 0, 1)
        if self.guidance_interval is not None and len(self.guidance_interval) != 2:
            raise UserError(
                f"Recommended: guidance_interval={self.guidance_interval}: give two times"
            )

    def without_guidance(self) -> "Recommended":
        """The same for images that are made under no condition."""
        return replace(self, guidance_scale=1.0, guidance_interval=None, guidance_kind=None)


@dataclass(frozen=True)
class SamplingInfo:
    """How a model is best sampled; stored beside the weights.

    time_quantiles: times that equal shares of a run's steps reach, 0 and 1 included, fitted to the
    model (sampling/fit.py); empty if none was fitted. recommended: what is used where nobody
    chooses. tuned_on: pairs of a setting and what it was chosen by; that flatters it in a metric.
    """

    time_quantiles: tuple[float, ...] = ()
    recommended: Recommended = Recommended()
    tuned_on: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.time_quantiles:
            check_grid(self.time_quantiles)

    def stored(self) -> dict[str, Any]:
        """As model folders hold it: what is not as usual."""
        values = asdict(self) | {"tuned_on": dict(self.tuned_on)}
        if self.recommended.guidance_kind is None:  # as folders were before there was one
            del values["recommended"]["guidance_kind"]
        return {
            name: value
            for name, value in values.items()
            if getattr(self, name) != getattr(SamplingInfo, name)
        }

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "SamplingInfo":
        """From what a model folder holds. What a later release may add is left out."""
        known = {field.name for field in fields(Recommended)}
        chosen = {k: v for k, v in stored.get("recommended", {}).items() if k in known}
        if chosen.get("guidance_interval") is not None:
            chosen["guidance_interval"] = tuple(chosen["guidance_interval"])
        quantiles = tuple(map(float, stored.get("time_quantiles", ())))
        tuned_on = stored.get("tuned_on", {})
        return cls(quantiles, Recommended(**chosen), tuple(tuned_on.items()))

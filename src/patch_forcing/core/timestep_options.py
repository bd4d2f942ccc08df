"""The options of training distributions, by the names that recipes use.

Nothing here needs torch, so that a recipe is checked before torch is loaded. What the options mean,
and the draws themselves, are in `timesteps`.
"""

from dataclasses import dataclass

from patch_forcing.core.errors import check_range


@dataclass(frozen=True)
class NoOptions:
    """Of a distribution that has none."""


@dataclass(frozen=True)
class SharedLogitNormalOptions:
    """loc, scale: of the normal variable under the logistic function; scale above 0."""

    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_range("SharedLogitNormal: loc", self.loc)
        check_range("SharedLogitNormal: scale", self.scale, above=0)


@dataclass(frozen=True)
class MeanControlledOptions:
    """sharpness: ½ or more, from where on the closed form of the symmetric Beta draw holds."""

    sharpness: float = 1.0

    def __post_init__(self) -> None:
        check_range("MeanControlled: sharpness", self.sharpness, 0.5)


@dataclass(frozen=True)
class TruncatedGaussianOptions:
    """std: of the half-Gaussian below the maximum, above 0."""

    std: float = 0.2

    def __post_init__(self) -> None:
        check_range("TruncatedGaussian: std", self.std, above=0)


@dataclass(frozen=True)
class LogitNormalTruncatedGaussianOptions:
    """loc, scale: of the maximum's logit. std: of the half-Gaussian below it.

    levels: distinct times that an image draws, 1 or more; None: one for each patch.
    """

    loc: float = 0.7
    scale: float = 1.0
    std: float = 0.6
    levels: int | None = None

    def __post_init__(self) -> None:
        owner = "LogitNormalTruncatedGaussian"
        check_range(f"{owner}: loc", self.loc)
        check_range(f"{owner}: scale", self.scale, above=0)
        check_range(f"{owner}: std", self.std, above=0)
        if self.levels is not None:
            check_range(f"{owner}: levels", self.levels, 1, whole=True, mend=", or none")


TIMESTEP_OPTIONS: dict[str, type] = {
    "shared-uniform": NoOptions,
    "shared-logit-normal": SharedLogitNormalOptions,
    "independent-uniform": NoOptions,
    "mean-controlled": MeanControlledOptions,
    "tg": TruncatedGaussianOptions,
    "ltg": LogitNormalTruncatedGaussianOptions,
}
"""`core.registry.build` says how options are written."""

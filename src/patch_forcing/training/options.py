"""What recipes choose of training: optimizer, alignment, patience. Nothing here needs torch."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from patch_forcing.core.errors import UserError, check_range

PATIENCE = 10
"""Steps in a row that may fail; one that fails now and then does no harm."""


TrainedPart = Literal["all", "difficulty"]
"""Of a network: all weights, or the log-variance's rows of the last layer."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer of a recipe."""

    name: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon (Jordan et al. 2024) for the matrices inside blocks, adamw for the rest."""
    lr: float = 1e-4
    """Learning rate after warm-up."""
    warmup_steps: int = 1000
    """Steps in which the learning rate rises linearly from 0."""
    decay_share: float = 0.0
    """Share of the run, at its end, in which it falls linearly to 0; of a run with
    0, the steps may change later."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's averaging of the gradient and of its square."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    clip_norm: float = 1.0
    """The gradient's norm is clipped to this."""

    def __post_init__(self) -> None:
        check_range("optimizer.lr", self.lr, above=0, below=1e30)
        check_range("optimizer.warmup_steps", self.warmup_steps, 0)
        check_range("optimizer.decay_share", self.decay_share, 0, 1)
        for beta in self.betas:
            check_range("optimizer.betas", beta, 0, below=1)
        check_range("optimizer.weight_decay", self.weight_decay, 0)
        if self.clip_norm != math.inf:
            check_range("optimizer.clip_norm", self.clip_norm, above=0, mend="; inf is none")

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, …, steps − 1: it rises, stays, and may fall."""
        rise = (step + 1) / (self.warmup_steps + 1)
        fall = (steps - step) / (self.decay_share * steps + 1)
        return self.lr * min(1.0, rise, fall)


@dataclass(frozen=True)
class TextConfig:
    """How captions are read; a network of texts has what reads them in its config."""

    encoder: str = "bytes"
    """What reads captions: bytes, which the network learns to read by itself; wordllama, vectors of
    words, which needs pip install '.[text]'; or a text model of transformers, a folder or a Hub id,
    such as Qwen/Qwen3-0.6B or google-t5/t5-base."""
    length: int = 128
    """Tokens of a caption, or bytes, that are read; the rest is cut."""
    bf16: bool = False
    """Whether a model of transformers computes in bf16, else in fp32."""
    short: float = 0.0
    """Share of captions of which the first sentence alone is read, drawn anew in each step: a model
    of long captions then knows short prompts too."""
    cache: str | None = None
    """A folder for the embeddings, which are then made once. Default: made anew in each batch."""

    def __post_init__(self) -> None:
        check_range("text.length", self.length, 1, 4096, whole=True)
        check_range("text.short", self.short, 0, 1)


@dataclass(frozen=True)
class AlignmentConfig:
    """Alignment of a recipe: none unless an encoder is named."""

    encoder: str | None = None
    """Frozen encoder: dinov2-s, -b, -l or -g; OWNER/NAME on the Hub or a folder, of a vision model
    of transformers; timm:NAME or timm:FOLDER; emoji, the benchmark's own network. Default: no
    alignment."""
    weight: float = 0.5
    """Of the alignment in the loss."""
    depth: int | None = None
    """Tokens after so many blocks are aligned. Default: the network's depth / 3.5, rounded up."""
    projector_dim: int = 2048
    """Width of the projector's two hidden layers."""
    cache: str | None = None
    """Folder of features, made once and then read, beside the data. Default: encoded in each step,
    from its images."""

    def __post_init__(self) -> None:
        check_range("alignment.weight", self.weight, above=0)
        if self.depth is not None:
            check_range("alignment.depth", self.depth, 1)
        check_range("alignment.projector_dim", self.projector_dim, 1)
        for name in ("encoder", "cache"):
            if getattr(self, name) == "":
                raise UserError(f"alignment.{name} is empty: name one, or leave it out")
        for field in fields(self):
            if self.encoder is None and getattr(self, field.name) != field.default:
                raise UserError(
                    f"alignment.{field.name}={getattr(self, field.name)} without an encoder: add "
                    "--alignment.encoder NAME, such as dinov2-b, or leave it out"
                )

    def block(self, depth: int) -> int:
        """After which block of a network of so many tokens are aligned: 8 of 28, 4 of 12.

        Raises UserError if it has no such block.
        """
        if self.depth is None:
            return -(-2 * depth // 7)
        if self.depth > depth:
            raise UserError(
                f"alignment.depth={self.depth}: the network has {depth} blocks: choose 1 to {depth}"
            )
        return self.depth

"""Texts as conditions: what a network makes of an encoder's embeddings, or of the bytes themselves.

Tokens of a text are projected to the network's width, refined by a few blocks of self-attention,
and attended to by every block of the network. Their mean goes with the embedding of each time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.models.conditions import Embedded
from patch_forcing.models.layers import Attention, Mlp
from patch_forcing.models.rotary import Rotation, rotation

if TYPE_CHECKING:
    from patch_forcing.models.config import PatchDiTConfig

PADDING = 0
"""What stands in a row of bytes behind the text; byte b is b + 1."""
NUM_BYTES = 256


@dataclass(frozen=True)
class TextCondition:
    """Embeddings (B, length, width) of an encoder's tokens, NaN behind the last one.

    width: E, of the encoder's vectors. length: L, the tokens of a text at most. refiner: blocks of
    self-attention before the network attends to them. The null condition is all NaN.
    """

    width: int
    length: int = 256
    refiner: int = 2

    def __post_init__(self) -> None:
        check_range("condition text: width", self.width, 1, whole=True)
        check_range("condition text: length", self.length, 1, whole=True)
        check_range("condition text: refiner", self.refiner, 0, whole=True)

    def module(self, sizes: "PatchDiTConfig") -> "TextEmbedder":
        """Norm, projection and refiner."""
        return TextEmbedder(self, sizes)


@dataclass(frozen=True)
class ByteCondition:
    """Texts as UTF-8 (B, length), int64: byte + 1, and 0 behind the last one (ByT5, Xue 2022).

    No tokenizer and no encoder is needed: the blocks of the refiner are trained with the network.
    length: bytes of a text at most. refiner: how many blocks. The null condition is all 0.
    """

    length: int = 128
    refiner: int = 4

    def __post_init__(self) -> None:
        check_range("condition bytes: length", self.length, 1, whole=True)
        check_range("condition bytes: refiner", self.refiner, 0, whole=True)

    def module(self, sizes: "PatchDiTConfig") -> "ByteEmbedder":
        """Table and refiner."""
        return ByteEmbedder(self, sizes)


class RefinerBlock(nn.Module):
    """A transformer block over the tokens of a text, each of which sees all that are no padding."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size)
        self.attn = Attention(hidden_size, num_heads)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.mlp = Mlp(hidden_size)

    def forward(
        self, x: Float[Tensor, "B L D"], by: Rotation, mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        x = x + self.attn(self.norm1(x), None, by, mask)
        return x + self.mlp(self.norm2(x))


class Refiner(nn.Module):
    """Tokens of texts → what blocks attend to, and one vector for each text.

    A text without tokens, which is the null condition, has one that is learned.
    """

    attended = True

    def __init__(self, blocks: int, sizes: "PatchDiTConfig"):
        super().__init__()
        hidden_size, self.head_width = sizes.hidden_size, sizes.hidden_size // sizes.num_heads
        if self.head_width % 2:
            raise UserError(
                f"PatchDiTConfig: heads of width {self.head_width} for texts: hidden_size / "
                "num_heads is even where positions turn them: choose other sizes"
            )
        self.null_token = nn.Parameter(torch.zeros(hidden_size))
        self.refiner = nn.ModuleList(
            RefinerBlock(hidden_size, sizes.num_heads) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.pool = nn.Linear(hidden_size, sizes.vector_size)

    def refine(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Embedded:
        """mask: which tokens are of the text."""
        places = torch.arange(x.shape[1], device=x.device)
        null = (places == 0) & ~mask.any(1, keepdim=True)  # (B, L)
        mask = mask | null
        x = torch.where(null[:, :, None], self.null_token.to(x.dtype), x)
        by = rotation(places[None, :, None].float(), self.head_width)  # (1, L, 2, half)
        for block in self.refiner:
            x = block(x, by, mask)  # (B, L, D)
        x = self.norm(x)
        total = (x * mask[:, :, None]).sum(1)  # (B, D)
        return Embedded(self.pool(total / mask.sum(1, keepdim=True)), x, mask)

    def init_weights(self) -> None:
        """Small, as of labels, so that the zero-initialised modulation starts to learn smoothly."""
        nn.init.normal_(self.null_token, std=0.02)
        nn.init.normal_(self.pool.weight, std=0.02)


class TextEmbedder(Refiner):
    """Embeddings of an encoder; each is normalised, since encoders differ in scale."""

    def __init__(self, kind: TextCondition, sizes: "PatchDiTConfig"):
        super().__init__(kind.refiner, sizes)
        self.shape = (kind.length, kind.width)
        self.norm_in = nn.LayerNorm(kind.width)
        self.proj = nn.Linear(kind.width, sizes.hidden_size)

    def forward(self, condition: Float[Tensor, "B L E"]) -> Embedded:
        mask = ~condition[:, :, 0].isnan()
        given = condition.to(self.norm_in.weight.dtype).nan_to_num()
        return self.refine(self.proj(self.norm_in(given)), mask)

    def check(self, condition: Tensor, batch: int) -> None:
        """Raises UserError unless these are embeddings of texts for so many images."""
        if condition.shape != (batch, *self.shape) or not condition.is_floating_point():
            raise UserError(
                f"text embeddings {tuple(condition.shape)} of {condition.dtype}: give "
                f"({batch}, {self.shape[0]}, {self.shape[1]}), NaN behind the last token"
            )

    def null(self, batch: int) -> Float[Tensor, "{batch} L E"]:
        """No token."""
        return torch.full((batch, *self.shape), torch.nan, device=self.null_token.device)


class ByteEmbedder(Refiner):
    """Bytes of texts."""

    def __init__(self, kind: ByteCondition, sizes: "PatchDiTConfig"):
        super().__init__(kind.refiner, sizes)
        self.length = kind.length
        self.table = nn.Embedding(NUM_BYTES + 1, sizes.hidden_size)

    def forward(self, condition: Int64[Tensor, "B L"]) -> Embedded:
        return self.refine(self.table(condition), condition != PADDING)

    def init_weights(self) -> None:
        """The table as words' in transformers; the rest is small."""
        super().init_weights()
        nn.init.normal_(self.table.weight, std=1.0)

    def check(self, condition: Tensor, batch: int) -> None:
        """Raises UserError unless these are bytes of texts for so many images."""
        if condition.shape != (batch, self.length) or condition.dtype != torch.int64:
            raise UserError(
                f"texts {tuple(condition.shape)} of {condition.dtype}: give ({batch}, "
                f"{self.length}) int64, each byte + 1 and 0 behind the last one"
            )
        if len(condition) and not 0 <= int(condition.min()) <= int(condition.max()) <= NUM_BYTES:
            raise UserError(f"texts with numbers out of range: give 0 to {NUM_BYTES}")

    def null(self, batch: int) -> Int64[Tensor, "{batch} L"]:
        """No byte."""
        place = self.null_token.device
        return torch.full((batch, self.length), PADDING, dtype=torch.int64, device=place)

"""LTX-Video and Wan 2.2 TI2V: video models whose call takes a time for each token.

Both were trained with two times in one video: image-to-video holds the first frame at σ = 0.
"""

from collections.abc import Mapping
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError
from patch_forcing.core.time import PatchTime
from patch_forcing.hosts.host import Host, from_tokens, to_tokens


class LTXVideoHost(Host):
    """`LTXVideoTransformer3DModel` of diffusers.

    Images are latents (B, C, frames·h, w), the frames one below the other; a patch is a cell.
    texts: `encoder_hidden_states` (R, L, D) and `encoder_attention_mask` (R, L).
    options: such as `rope_interpolation_scale`, as the pipeline computes it.
    """

    def __init__(
        self,
        model: nn.Module,
        frames: int,
        texts: Mapping[str, Tensor] | None = None,
        null: int | None = None,
        *,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__(model, texts, null, options=options)
        self.frames = frames

    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """Minus the prediction at 1000·σ, (B, N)."""
        check_frames(x_t, self.frames)
        backward = self.model(
            hidden_states=to_tokens(x_t),
            timestep=1000 * (1 - t.to_dense()),
            num_frames=self.frames,
            height=x_t.shape[2] // self.frames,
            width=x_t.shape[3],
            return_dict=False,
            **texts,
            **self.options,
        )[0]
        return -from_tokens(backward, x_t)


class WanHost(Host):
    """`WanTransformer3DModel` of diffusers, called with times (B, N) as Wan 2.2 TI2V is.

    Images are latents (B, C, frames·h, w), the frames one below the other; P is the model's.
    texts: `encoder_hidden_states` (R, L, D).
    Raises UserError for a model whose patches are several frames deep, or not square.
    """

    def __init__(
        self,
        model: nn.Module,
        frames: int,
        texts: Mapping[str, Tensor] | None = None,
        null: int | None = None,
        *,
        options: Mapping[str, Any] | None = None,
    ):
        config: Any = model.config
        depth, height, width = config.patch_size
        if depth != 1 or height != width:
            raise UserError(f"patches of {depth}×{height}×{width}: squares of one frame are taken")
        super().__init__(model, texts, null, options=options, patch_size=height)
        self.frames = frames

    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """Minus the prediction at 1000·σ, (B, N)."""
        backward = self.model(
            hidden_states=to_video(x_t, self.frames),
            timestep=1000 * (1 - t.to_dense()),
            return_dict=False,
            **texts,
            **self.options,
        )[0]
        return -from_video(backward)


def to_video(x: Float[Tensor, "B C H W"], frames: int) -> Float[Tensor, "B C F h W"]:
    """The frames of a tall image. Raises UserError if they do not divide its rows."""
    check_frames(x, frames)
    return rearrange(x, "b c (f h) w -> b c f h w", f=frames)


def from_video(video: Float[Tensor, "B C F h W"]) -> Float[Tensor, "B C H W"]:
    """Frames one below the other: patches then are in the order of a video model's tokens."""
    return rearrange(video, "b c f h w -> b c (f h) w")


def check_frames(x: Float[Tensor, "B C H W"], frames: int) -> None:
    """Raises UserError if they do not divide the image's rows."""
    if frames < 1 or x.shape[2] % frames:
        raise UserError(
            f"{x.shape[2]} rows are not {frames} frames of equal height: give latents "
            "(B, C, frames·h, w)"
        )

"""Ideogram 4: an image model of one sequence of text and image, whose times run like ours."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError
from patch_forcing.core.time import PatchTime
from patch_forcing.hosts.host import Host, from_tokens, mean_time, to_tokens


class Ideogram4Host(Host):
    """`Ideogram4Transformer2DModel` of diffusers: 0 is noise, and its velocity data minus noise.

    Images are packed latents (B, C, h, w); a patch is a cell. The tokens of the text, which share
    the image's time in the model's own call, are at the mean time of its patches.
    texts: what `Ideogram4Pipeline.encode_prompt` returns for an image of h×w cells, by the names of
    the model's call: `encoder_hidden_states` (R, L + N, D), `position_ids` (R, L + N, 3),
    `segment_ids` and `indicator` (R, L + N).
    """

    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """The prediction at the times of text and patches, (B, L + N)."""
        tokens = to_tokens(x_t)
        length = texts["indicator"].shape[1] - tokens.shape[1]
        if length < 0:
            raise UserError(
                f"{tokens.shape[1]} patches, but texts for {texts['indicator'].shape[1]} tokens: "
                "encode the prompts for images of this size"
            )
        time_of_text = mean_time(t)[:, None].expand(-1, length)
        times = torch.cat([time_of_text, t.to_dense()], dim=1)
        forward = self.model(
            hidden_states=nn.functional.pad(tokens, (0, 0, length, 0)),
            timestep=times.to(tokens.dtype),
            return_dict=False,
            **texts,
            **self.options,
        )[0]
        return from_tokens(forward[:, length:], x_t)

    def without_text(self, model: nn.Module, num_patches: int) -> "Ideogram4Host":
        """The pipeline's `unconditional_transformer`, as the weak model of `Autoguidance`.

        It sees the image alone, N patches, whatever the text. Ideogram 4 has no empty prompt.
        """
        rows = {name: text[:, -num_patches:] for name, text in self.texts.items()}
        rows["encoder_hidden_states"] = torch.zeros_like(rows["encoder_hidden_states"])
        return Ideogram4Host(model, rows, options=self.options)

"""FLUX.2 and FLUX.3: image models whose call takes one time, here with a time for each token.

Their blocks take scale, shift and gate for each token already; only what makes these knows but one
time. So its outputs are replaced during a call by what the same module makes of the patches' times.
The model's code and weights stay as they are. At one time an image, nothing is replaced.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError
from patch_forcing.core.time import PatchTime
from patch_forcing.hosts.host import Host, from_tokens, mean_time, to_tokens

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""(module, its arguments, its output) → the output in its place."""


@contextmanager
def replaced_outputs(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Within, outputs of these modules are what the hooks make of them.

    Raises UserError at the end if a module was not called, or its hook passed over: a compiled
    model does not see hooks that it was compiled without.
    """
    waiting = set(hooks)

    def noted(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        waiting.discard(module)
        return hooks[module](module, arguments, output)

    with ExitStack() as stack:
        for module in hooks:
            stack.enter_context(module.register_forward_hook(noted))
        yield
    if waiting:
        names = ", ".join(sorted({type(module).__name__ for module in waiting}))
        raise UserError(
            f"the model passes over the times of patches in {names}: give the host a model that "
            "is not compiled as a whole; its blocks may be"
        )


class Flux2Host(Host):
    """`Flux2Transformer2DModel` of diffusers.

    Images are packed latents (B, C, h, w), C = 128; a patch is a cell. Modulation of the text's
    tokens is that of the mean time of the patches.
    texts: `encoder_hidden_states` (R, L, D), and `guidance` (R,) for a model distilled with it.
    """

    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """Minus the prediction at σ."""
        model: Any = self.model
        length = texts["encoder_hidden_states"].shape[1]
        levels = 1000 * (1 - t.values).to(x_t.dtype)  # (B, U)
        guidance = texts.get("guidance")
        if guidance is not None:
            guidance = 1000 * guidance.repeat_interleave(t.num_levels)
        embedded = model.time_guidance_embed(levels.flatten(), guidance)
        embedded = embedded.unflatten(0, levels.shape)  # (B, U, D)

        def of_image(module: nn.Module, *_: Any) -> Tensor:
            return t.gather(module.forward(embedded))  # (B, N, 6D)

        def of_all(module: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor:
            text = output[:, None].expand(-1, length, -1)
            return torch.cat([text, t.gather(module.forward(embedded))], dim=1)  # (B, L+N, 3D)

        def at_the_end(module: nn.Module, arguments: tuple[Any, ...], _: Tensor) -> Tensor:
            # the norm takes one embedding an image: each token is an image of its own
            tokens, times = arguments[0], t.gather(embedded)  # both (B, N, D)
            alone = module.forward(tokens.flatten(0, 1)[:, None], times.flatten(0, 1))
            return alone.view_as(tokens)

        hooks = {
            model.double_stream_modulation_img: of_image,
            model.single_stream_modulation: of_all,
            model.norm_out: at_the_end,
        }
        with replaced_outputs(hooks if t.num_levels > 1 else {}):
            backward = model(
                hidden_states=to_tokens(x_t),
                timestep=1 - mean_time(t),
                img_ids=image_ids(x_t),
                txt_ids=text_ids(length, x_t.device),
                return_dict=False,
                **texts,
                **self.options,
            )[0]
        return -from_tokens(backward, x_t)


class Flux3Host(Host):
    """`Flux3Transformer2DModel` of diffusers.

    Images are packed latents (B, C, h, w), C = 128; a patch is a cell. The model holds its text at
    σ = 0 whatever the image's time.
    texts: `encoder_hidden_states` (R, L, D).
    position_scale: of the patches' coordinates, as the pipeline has it.
    Raises UserError for a flow map: it also takes the time that a step leads to, one for all.
    """

    def __init__(
        self,
        model: nn.Module,
        texts: Mapping[str, Tensor] | None = None,
        null: int | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        position_scale: float = 0.5,
    ):
        config: Any = model.config
        if config.flow_map:
            raise UserError("flow_map=True: samplers need a model of velocities, not a flow map")
        super().__init__(model, texts, null, options=options)
        self.position_scale = position_scale

    def velocity(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, texts: dict[str, Tensor]
    ) -> Float[Tensor, "B C H W"]:
        """Minus the prediction at σ."""
        model: Any = self.model
        levels = 1000 * (1 - t.values).to(x_t.dtype)  # (B, U)
        rows = model.time_proj(levels.flatten()).to(x_t.dtype)
        embedded = model.timestep_embedder(rows).unflatten(0, levels.shape)  # (B, U, D)

        def of_image(module: nn.Module, *_: Any) -> Tensor:
            return t.gather(module.forward(nn.functional.silu(embedded)))  # (B, N, 3D)

        def at_the_end(module: nn.Module, arguments: tuple[Any, ...], _: Tensor) -> Any:
            return module.forward(arguments[0], t.gather(embedded))

        hooks = {
            model.early_stream_modulations["image"]: of_image,
            model.single_stream_modulations["image"]: of_image,
            model.norm_out: at_the_end,
        }
        with replaced_outputs(hooks if t.num_levels > 1 else {}):
            backward = model(
                hidden_states=to_tokens(x_t),
                timestep=1 - mean_time(t),
                img_ids=image_ids(x_t, self.position_scale),
                txt_ids=text_ids(texts["encoder_hidden_states"].shape[1], x_t.device),
                return_dict=False,
                **texts,
                **self.options,
            )[0]
        return -from_tokens(backward, x_t)


def image_ids(x: Float[Tensor, "B C H W"], scale: float = 1) -> Tensor:
    """Coordinates (frame, row, column, place in text) of each cell, (N, 4)."""
    axes = [torch.arange(count, device=x.device) for count in (1, *x.shape[2:], 1)]
    ids = torch.cartesian_prod(*axes)
    return ids if scale == 1 else ids * scale


def text_ids(length: int, device: torch.device) -> Tensor:
    """The same coordinates of the tokens of a text, (L, 4)."""
    ids = torch.zeros(length, 4, dtype=torch.int64, device=device)
    ids[:, 3] = torch.arange(length, device=device)
    return ids

"""A sampler node for ComfyUI: the noise mask as a schedule of its own for every token.

A noise mask says how much of each place is to change: 1 all, 0 nothing. Some video models give each
of their tokens a time of its own, mask·σ: of LTX-Video and Wan 2.2 TI2V, ComfyUI's model classes
do. ComfyUI's samplers still move the whole latent along one σ, and blend it with the original at
every step. This one starts every token at its own noise, mask·σ_0, and moves it along its own
schedule, mask·σ_k, so that what the network is told of a token's time is true:

    x_i = (1 − m_i·σ_0)·latent + m_i·σ_0·noise,    x_i += m_i·(σ_(k+1) − σ_k)·v_i,

with v = (x − denoised)/σ, the network's velocity from data to noise, as guidance combined it. The
second order is Adams–Bashforth's: v + h/(2h')·(v − v'), with step h and h', v' of the step before.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import comfy.model_base
import comfy.model_sampling
import comfy.samplers
import torch
from torch import Tensor

MAX_GROWTH = 1 + 2**0.5
"""From one step to the next, as far as a velocity's change is followed."""


class TokenTimeSampler:
    """The node: gives a SAMPLER, for SamplerCustom and SamplerCustomAdvanced."""

    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"
    CATEGORY = "sampling/custom_sampling/samplers"
    DESCRIPTION = "Every token follows a schedule of its own: the noise mask times sigma."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 — ComfyUI's name
        """Its inputs, as ComfyUI reads them."""
        return {"required": {"order": ("INT", {"default": 2, "min": 1, "max": 2})}}

    def make(self, order: int) -> tuple[Any]:
        """The sampler. order: 1 is Euler, 2 is Adams–Bashforth."""
        return (comfy.samplers.KSAMPLER(sample, {"order": order}),)


@torch.no_grad()
def sample(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,  # noqa: ARG001 — ComfyUI's callback draws the bar
    order: int = 2,
) -> Tensor:
    """A sampler function of ComfyUI.

    model(x, sigma, **extra_args) is the denoised latent; it has `noise` and `latent_image`. sigmas:
    from noise to 0. Raises ValueError for a model that is no flow, or, with a mask, one whose
    tokens have no times of their own.
    """
    options = dict(extra_args or {})
    network = model.inner_model.inner_model
    mask = options.pop("denoise_mask", None)
    check(network, mask is not None)
    mask = torch.ones_like(x[:, :1]) if mask is None else by_token(mask, network)
    x = model.latent_image + mask * sigmas[0] * (model.noise - model.latent_image)
    ones, before = x.new_ones(len(x)), None
    for k, (now, then) in enumerate(pairwise(sigmas)):
        # the mask is left out, by which ComfyUI would blend; the network has it as a conditioning
        denoised = model(x, now * ones, denoise_mask=None, **options)
        if callback is not None:
            callback({"i": k, "x": x, "sigma": now, "sigma_hat": now, "denoised": denoised})
        v, step = (x - denoised) / now, then - now
        slope = v
        if order == 2 and before is not None:
            growth = min(float(step / before[1]), MAX_GROWTH)
            slope = v + growth / 2 * (v - before[0])
        x = x + mask * step * slope
        before = v, step
    return x


def by_token(mask: Tensor, network: Any) -> Tensor:
    """The mask with one value for each token: that of the token's first place."""
    sides = getattr(network.diffusion_model, "patch_size", 1)
    sides = (sides,) if isinstance(sides, int) else tuple(sides)
    for axis, side in zip(range(-len(sides), 0), sides, strict=True):
        size = mask.shape[axis]
        first = torch.arange(size, device=mask.device) // side * side
        mask = mask.index_select(axis, first)
    return mask


def check(network: Any, masked: bool) -> None:
    """Raises ValueError for a model that this sampler would give wrong images of."""
    name = type(network).__name__
    if not isinstance(network.model_sampling, comfy.model_sampling.CONST):
        raise ValueError(f"{name} is no flow model: choose another sampler")
    own = type(network).process_timestep
    if masked and own is comfy.model_base.BaseModel.process_timestep:
        raise ValueError(
            f"{name} gives its tokens no times of their own: take the noise mask off, or choose "
            "LTX-Video or Wan 2.2 TI2V"
        )


NODE_CLASS_MAPPINGS = {"PatchForcingTokenTimeSampler": TokenTimeSampler}
NODE_DISPLAY_NAME_MAPPINGS = {"PatchForcingTokenTimeSampler": "Token-time sampler (Patch Forcing)"}

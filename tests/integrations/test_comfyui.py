"""The node for ComfyUI, against a stub of the interface that its custom nodes are written to.

The stub is written from how that interface is documented: KSAMPLER hands a sampler function the
wrapped model, whose call blends by `denoise_mask`; a model class turns a mask into times.
"""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

FILE = Path(__file__).parent.parent.parent / "integrations/comfyui/__init__.py"
SIGMAS = torch.tensor([1.0, 0.7, 0.3, 0.0])


class BaseModel:
    """What model classes extend: one time for all."""

    def process_timestep(self, timestep, **_):
        return timestep


class CONST:
    """The parametrisation of flows: denoised = x − σ·v."""


class KSAMPLER:
    def __init__(self, sampler_function, extra_options=None):
        self.function, self.options = sampler_function, extra_options or {}

    def sample(self, wrapped, sigmas, noise, latent_image, denoise_mask=None):
        wrapped.noise, wrapped.latent_image = noise, latent_image
        wrapped.inner_model.mask = denoise_mask  # as conditioning, before sampling
        x = sigmas[0] * noise + (1 - sigmas[0]) * latent_image
        extra_args = {"denoise_mask": denoise_mask, "model_options": {}, "seed": 0}
        return self.function(wrapped, x, sigmas, extra_args=extra_args, **self.options)


class Wrapped:
    """The model as a sampler function sees it. Guidance stands between."""

    def __init__(self, network):
        self.inner_model = SimpleNamespace(inner_model=network, mask=None)
        self.times = []

    def __call__(self, x, sigma, denoise_mask=None, **_):
        if denoise_mask is not None:
            x = x * denoise_mask + self.latent_image * (1 - denoise_mask)
        network, mask = self.inner_model.inner_model, self.inner_model.mask
        shaped = sigma.view(-1, *(1 for _ in x.shape[1:]))
        t = network.process_timestep(shaped.expand_as(x), denoise_mask=mask)
        self.times.append(t)
        out = x - shaped * network.velocity(x, t)
        if denoise_mask is not None:
            out = out * denoise_mask + self.latent_image * (1 - denoise_mask)
        return out


class Tokens(BaseModel):
    """Data are all 0.25 ± 0.5: the exact velocity of a Gaussian at each place's own time."""

    def __init__(self, spread=0.5):
        self.model_sampling, self.spread = CONST(), spread
        self.diffusion_model = SimpleNamespace(patch_size=(1, 2, 2))

    def process_timestep(self, timestep, denoise_mask=None, **_):
        if denoise_mask is None:
            return timestep
        places = denoise_mask[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)
        return timestep * places

    def velocity(self, x, s):
        data = 1 - s
        variance = (data * self.spread) ** 2 + s**2
        gain = (s - data * self.spread**2) / variance.clamp(min=1e-9)
        return -0.25 + gain * (x - data * 0.25)


class Frames(Tokens):
    """A flow model whose class knows no times of tokens."""

    process_timestep = BaseModel.process_timestep


@pytest.fixture
def node(monkeypatch):
    parts = {
        "comfy": ModuleType("comfy"),
        "comfy.samplers": SimpleNamespace(KSAMPLER=KSAMPLER),
        "comfy.model_base": SimpleNamespace(BaseModel=BaseModel),
        "comfy.model_sampling": SimpleNamespace(CONST=CONST),
    }
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, name, part)
        if "." in name:
            setattr(parts["comfy"], name.partition(".")[2], part)
    spec = importlib.util.spec_from_file_location("comfy_node", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(node, network, mask=None, sigmas=SIGMAS, order=1):
    kind = node.NODE_CLASS_MAPPINGS["PatchForcingTokenTimeSampler"]
    (sampler,) = getattr(kind(), kind.FUNCTION)(order)
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, 2, 4, 4, generator=random)
    latent = torch.randn(2, 3, 2, 4, 4, generator=random)
    wrapped = Wrapped(network)
    return sampler.sample(wrapped, sigmas, noise, latent, mask), wrapped


def test_the_node_says_what_comfyui_asks_of_it(node):
    for name, kind in node.NODE_CLASS_MAPPINGS.items():
        assert name in node.NODE_DISPLAY_NAME_MAPPINGS
        assert kind.RETURN_TYPES == ("SAMPLER",)
        (entry,) = kind.INPUT_TYPES()["required"].values()
        assert entry == ("INT", {"default": 2, "min": 1, "max": 2})
    assert len(FILE.read_text().splitlines()) < 150


def test_without_a_mask_it_is_euler(node):
    network = Tokens()
    made, wrapped = run(node, network)
    x = wrapped.noise
    for now, then in pairwise(SIGMAS):
        x = x + (then - now) * network.velocity(x, now.expand_as(x))
    torch.testing.assert_close(made, x)


def test_every_token_follows_its_own_schedule(node):
    mask = torch.tensor([0.0, 0.5, 1.0, 0.2]).view(2, 2).repeat_interleave(2, 0)
    mask = mask.repeat_interleave(2, 1).expand(2, 1, 2, 4, 4)
    network = Tokens()
    made, wrapped = run(node, network, mask)
    x = wrapped.latent_image + mask * (wrapped.noise - wrapped.latent_image)
    for now, then in pairwise(SIGMAS):
        x = x + mask * (then - now) * network.velocity(x, mask * now)
    torch.testing.assert_close(made, x)
    kept = (mask == 0).expand_as(made)
    assert torch.equal(made[kept], wrapped.latent_image[kept])
    for now, times in zip(SIGMAS, wrapped.times, strict=False):
        assert torch.equal(times, (mask * now).expand_as(times))


def test_a_token_has_one_value_of_the_mask(node):
    mask = torch.rand(2, 1, 2, 4, 4)
    made, wrapped = run(node, Tokens(), mask)
    pooled = mask[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)
    again, _ = run(node, Tokens(), pooled)
    assert torch.equal(made, again)
    assert torch.equal(wrapped.times[0], pooled.expand_as(made))


def test_the_second_order_ends_nearer_to_the_exact_flow(node):
    # the flow of a Gaussian ends at mean + spread·noise
    network = Tokens()
    errors = []
    for order in (1, 2):
        made, wrapped = run(node, network, sigmas=torch.linspace(1, 0, 13), order=order)
        errors.append((made - 0.25 - 0.5 * wrapped.noise).abs().mean())
    assert errors[1] < errors[0] / 3


def test_a_model_it_would_be_wrong_for_is_refused(node):
    network = Tokens()
    network.model_sampling = object()
    with pytest.raises(ValueError, match="Tokens is no flow model"):
        run(node, network)
    with pytest.raises(ValueError, match="Frames gives its tokens no times of their own"):
        run(node, Frames(), torch.ones(2, 1, 2, 4, 4))
    run(node, Frames())

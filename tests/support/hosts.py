"""Models of diffusers, tiny and with random weights, each with its adapter and its own call.

`own` is written as diffusers' pipelines call the model, with one time an image: what an adapter is
held against.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import patch_forcing as pf
from patch_forcing import hosts

TEXTS, LENGTH, WIDTH = 3, 3, 6
"""Texts, their tokens, and the width of these."""


def of_diffusers(name: str, *options: str) -> Any:
    """That class with these options; a test is skipped where this release of it has none."""
    import diffusers

    kind = getattr(diffusers, name, None)
    if kind is None or not set(options) <= inspect.signature(kind).parameters.keys():
        pytest.skip(f"diffusers {diffusers.__version__} has no such {name}")
    return kind


class Tiny(NamedTuple):
    """own: (x, t (B,), rows of texts) → data minus noise, by the model's own call.

    shape: (C, H, W) of an image.
    """

    host: hosts.Host
    own: Callable[[Tensor, Tensor, Tensor], Tensor]
    shape: tuple[int, int, int]

    def inputs(self, batch: int = 2) -> tuple[Tensor, Tensor]:
        """Images, and a row for each."""
        return torch.randn(batch, *self.shape), torch.arange(batch) % (TEXTS - 1) + 1

    @property
    def num_patches(self) -> int:
        _, height, width = self.shape
        return height * width // self.host.patch_size**2


def ltx() -> Tiny:
    """Two frames of 2×3 cells."""
    from diffusers import LTXVideoTransformer3DModel

    model = LTXVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=2,
        caption_channels=WIDTH,
    )
    mask = torch.ones(TEXTS, LENGTH, dtype=torch.int64)
    mask[0, 1:] = 0
    texts = {"encoder_hidden_states": _embeddings(), "encoder_attention_mask": mask}

    def own(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        tokens = x.flatten(2).mT
        output = model(
            hidden_states=tokens,
            encoder_hidden_states=texts["encoder_hidden_states"][rows],
            timestep=1000 * (1 - t),
            encoder_attention_mask=mask[rows],
            num_frames=2,
            height=2,
            width=3,
        ).sample
        return -output.mT.reshape(x.shape)

    return Tiny(hosts.LTXVideoHost(model.eval(), 2, texts, null=0), own, (4, 4, 3))


def wan() -> Tiny:
    """Two frames of 2×3 patches of side 2."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=WIDTH,
        freq_dim=16,
        ffn_dim=16,
        num_layers=2,
        rope_max_seq_len=32,
    )
    texts = {"encoder_hidden_states": _embeddings()}

    def own(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        video = x.unflatten(2, (2, 4))
        embedded = texts["encoder_hidden_states"][rows]
        return -model(video, 1000 * (1 - t), embedded).sample.flatten(2, 3)

    return Tiny(hosts.WanHost(model.eval(), 2, texts, null=0), own, (4, 8, 6))


def ideogram4() -> Tiny:
    """3×4 cells; the second text is shorter."""
    model = of_diffusers("Ideogram4Transformer2DModel")(
        in_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=16,
        adaln_dim=8,
        llm_features_dim=WIDTH,
        mrope_section=(4, 2, 2),
    )
    texts = ideogram_texts(LENGTH, 3, 4)

    def own(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        padding = x.new_zeros(len(x), LENGTH, 4)
        output = model(
            hidden_states=torch.cat([padding, x.flatten(2).mT], dim=1),
            timestep=t,
            **{name: text[rows] for name, text in texts.items()},
        ).sample
        return output[:, LENGTH:].mT.reshape(x.shape)

    return Tiny(hosts.Ideogram4Host(model.eval(), texts), own, (4, 3, 4))


def ideogram_texts(length: int, height: int, width: int) -> dict[str, Tensor]:
    """What `Ideogram4Pipeline.encode_prompt` returns of prompts of 3, 2 and 3 tokens."""
    cells = height * width
    embedded = torch.zeros(TEXTS, length + cells, WIDTH)
    embedded[:, :length] = _embeddings()
    positions = torch.zeros(TEXTS, length + cells, 3, dtype=torch.int64)
    positions[:, length:] = torch.cartesian_prod(*map(torch.arange, (1, height, width))) + 65536
    segments = torch.full((TEXTS, length + cells), -1)
    roles = torch.zeros(TEXTS, length + cells, dtype=torch.int64)
    for row, count in enumerate((3, 2, 3)):
        start = length - count
        embedded[row, :start] = 0
        positions[row, start:length] = torch.arange(count)[:, None]
        segments[row, start:] = 1
        roles[row, start:length], roles[row, length:] = 3, 2
    return {
        "encoder_hidden_states": embedded,
        "position_ids": positions,
        "segment_ids": segments,
        "indicator": roles,
    }


def flux2(distilled: bool = False) -> Tiny:
    """3×4 cells. distilled: with guidance among the model's inputs."""
    model = of_diffusers("Flux2Transformer2DModel", "guidance_embeds")(
        in_channels=4,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=distilled,
    )
    texts = {"encoder_hidden_states": _embeddings()}
    if distilled:
        texts["guidance"] = torch.tensor([1.0, 2.5, 4.0])

    def own(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        output = model(
            hidden_states=x.flatten(2).mT,
            timestep=1 - t,
            img_ids=torch.cartesian_prod(*map(torch.arange, (1, 3, 4, 1))),
            txt_ids=torch.cartesian_prod(*map(torch.arange, (1, 1, 1, LENGTH))),
            **{name: text[rows] for name, text in texts.items()},
        ).sample
        return -output.mT.reshape(x.shape)

    return Tiny(hosts.Flux2Host(model.eval(), texts, null=0), own, (4, 3, 4))


def flux2_distilled() -> Tiny:
    """The same, with guidance among its inputs."""
    return flux2(distilled=True)


def flux3_model(**options: Any) -> nn.Module:
    """Tiny."""
    return of_diffusers("Flux3Transformer2DModel")(
        in_channels=4,
        cond_in_channels=4,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        timestep_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        **options,
    ).eval()


def flux3() -> Tiny:
    """3×4 cells."""
    model = flux3_model()
    texts = {"encoder_hidden_states": _embeddings()}

    def own(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        scale = torch.tensor([1, 0.5, 0.5, 1])
        output = model(
            hidden_states=x.flatten(2).mT,
            encoder_hidden_states=texts["encoder_hidden_states"][rows],
            timestep=1 - t,
            img_ids=torch.cartesian_prod(*map(torch.arange, (1, 3, 4, 1))) * scale,
            txt_ids=torch.cartesian_prod(*map(torch.arange, (1, 1, 1, LENGTH))).float(),
        ).sample
        return -output.mT.reshape(x.shape)

    return Tiny(hosts.Flux3Host(model, texts, null=0), own, (4, 3, 4))


def without_attention(model: nn.Module) -> None:
    """Values of all attention are 0, so that no token sees another."""
    with torch.no_grad():
        for name, layer in model.named_modules():
            kind = name.rpartition(".")[2]
            if kind in ("to_v", "add_v_proj"):
                layer.weight.zero_()
            elif kind == "to_qkv_mlp_proj":  # queries, keys and values come first
                width = layer.in_features
                layer.weight[2 * width : 3 * width] = 0


class Densely:
    """A field that always gives the model a time for each patch, though they be equal."""

    def __init__(self, field: pf.VelocityField):
        self.field, self.patch_size = field, field.patch_size

    def __call__(self, x_t: Tensor, t: pf.PatchTime, **options: Any) -> Any:
        return self.field(x_t, pf.PatchTime.dense(t.to_dense()), **options)


def _embeddings() -> Tensor:
    return torch.randn(TEXTS, LENGTH, WIDTH)


TINY = (ltx, wan, ideogram4, flux2, flux2_distilled, flux3)

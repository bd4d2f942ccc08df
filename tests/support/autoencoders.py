"""diffusers' autoencoders in miniature, with random weights, in folders."""

from pathlib import Path

import torch

import patch_forcing as pf
from patch_forcing.codecs.autoencoder import Posterior
from patch_forcing.models.latent_space import LatentSpace
from tests.support.exact import tiny_dit


def _blocks(kind: str, count: int) -> tuple[str, ...]:
    return (f"{kind}2D",) * count


def small_kl(folder: Path, seed: int = 0, **changes) -> Path:
    """Stable Diffusion's class, f8c4."""
    from diffusers import AutoencoderKL

    return _save(AutoencoderKL, folder, seed, **{**_kl(4), **changes})


def small_flux2(folder: Path, seed: int = 0) -> Path:
    """FLUX.2's class, f8c32, with statistics that are not those of no training."""
    from diffusers import AutoencoderKLFlux2

    torch.manual_seed(seed)
    network = AutoencoderKLFlux2(**_kl(32))
    network.bn.running_mean.normal_()
    network.bn.running_var.uniform_(0.5, 2)
    network.save_pretrained(folder)
    return folder


def small_deep_compression(folder: Path, seed: int = 0) -> Path:
    """f32c8."""
    from diffusers import AutoencoderDC

    sizes = {
        "latent_channels": 8,
        "attention_head_dim": 4,
        "encoder_block_out_channels": (8,) * 6,
        "decoder_block_out_channels": (8,) * 6,
        "encoder_layers_per_block": (1,) * 6,
        "decoder_layers_per_block": (1,) * 6,
        "encoder_qkv_multiscales": ((),) * 6,
        "decoder_qkv_multiscales": ((),) * 6,
        "scaling_factor": 0.41407,
    }
    return _save(AutoencoderDC, folder, seed, **sizes)


def small_tiny(folder: Path, seed: int = 0) -> Path:
    """f8c4."""
    from diffusers import AutoencoderTiny

    sizes = {
        "encoder_block_out_channels": (4,) * 4,
        "decoder_block_out_channels": (4,) * 4,
        "num_encoder_blocks": (1,) * 4,
        "num_decoder_blocks": (1,) * 4,
    }
    return _save(AutoencoderTiny, folder, seed, **sizes)


def _kl(channels: int) -> dict:
    return {
        "down_block_types": _blocks("DownEncoderBlock", 4),
        "up_block_types": _blocks("UpDecoderBlock", 4),
        "block_out_channels": (4,) * 4,
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "latent_channels": channels,
        "sample_size": 32,
    }


def _save(kind, folder: Path, seed: int, **sizes) -> Path:
    torch.manual_seed(seed)
    kind(**sizes).save_pretrained(folder)
    return folder


def small_taef2(file: Path, seed: int = 0, width: int = 8, channels: int = 4) -> Path:
    """TAEF2's layers, f8c4, in one file; norms are not those of no training."""
    from safetensors.torch import save_file

    from patch_forcing.codecs.taef2 import TinyAutoencoder

    torch.manual_seed(seed)
    network = TinyAutoencoder(width, channels)
    for name, weights in network.named_parameters():
        if ".pool.1." in name:
            torch.nn.init.uniform_(weights, 0.5, 1.5)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.half() for name, t in network.state_dict().items()}, file)
    return file


class Averages:
    """An autoencoder whose latents are the means of squares of 4×4 pixels."""

    space = LatentSpace("averages", "Averages", "", channels=3, factor=4)

    def encode(self, images: torch.Tensor) -> Posterior:
        return Posterior(torch.nn.functional.avg_pool2d(images, 4), None)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(z, scale_factor=4)


def averaging_pipe() -> pf.Pipeline:
    """A tiny network of its latents, 8×8 in patches of 2: images of 32×32 pixels."""
    model = tiny_dit()
    model.data_info = pf.DataInfo.of_latents(Averages.space)
    return pf.Pipeline("tiny", Path("nowhere"), model, autoencoder=Averages())

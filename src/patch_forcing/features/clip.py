"""CLIP as a feature network: images and texts in one space, where their angle says how they fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.features.encoder_folders import load_transformers, preprocessing, read_config
from patch_forcing.features.module_encoder import ModuleEncoder

CLIP_FILES = ("*.json", "model.safetensors", "merges.txt", "vocab.txt")
"""What a folder of the Hub is asked for: the tokenizer is needed too."""
_CHUNK = 64
"""Texts at once."""


class ClipNetwork(ModuleEncoder):
    """Embeddings (B, E) of images and of texts, as CLIP projects them (Radford et al. 2021)."""

    clip: Any
    tokenizer: Any

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n E"]:
        """Of texts, on the CPU; what is longer than the network reads is cut."""
        unique = list(dict.fromkeys(texts))
        parts = [
            self._embedded(unique[first : first + _CHUNK])
            for first in range(0, len(unique), _CHUNK)
        ]
        places = {text: place for place, text in enumerate(unique)}
        return torch.cat(parts)[[places[text] for text in texts]]

    def _embedded(self, texts: list[str]) -> Float[Tensor, "n E"]:
        read = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.clip.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        device = next(self.module.parameters()).device
        output = self.clip.text_model(
            input_ids=read["input_ids"].to(device),
            attention_mask=read["attention_mask"].to(device),
        )
        embedded: Tensor = self.clip.text_projection(output.pooler_output)
        return embedded.float().cpu()


def is_clip(folder: Path) -> bool:
    """Whether the folder holds CLIP, both halves of it."""
    try:
        return read_config(str(folder), folder).get("model_type") == "clip"
    except UserError:
        return False


def clip_network(place: str, folder: Path) -> ClipNetwork:
    """CLIP of transformers; place: what the user calls it.

    Raises UserError if the folder does not hold one, with its tokenizer.
    """
    network, name = load_transformers(place, folder)
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except ImportError:
        raise UserError(f"{place} needs transformers: {install_line('alignment')}") from None
    except Exception as error:  # each part of it has errors of its own
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"{place}: its tokenizer cannot be read ({why}): copy it from where the weights are"
        ) from None
    side = network.config.vision_config.image_size

    def embed(images: Tensor) -> Tensor:
        pooled = network.vision_model(pixel_values=images).pooler_output
        embedded: Tensor = network.visual_projection(pooled)
        return embedded

    mean, std = preprocessing(place, folder)
    clip = ClipNetwork(
        network, f"{name} embeddings", size=(side, side), mean=mean, std=std, pool=embed
    )
    clip.clip, clip.tokenizer = network, tokenizer
    return clip

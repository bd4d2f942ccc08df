"""Real text encoders of random weights, small enough for tests, in folders as the Hub has them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from patch_forcing.text.word_vectors import WordVectors

WORDS = ("<pad>", "</s>", "<unk>", "a", "red", "blue", "cat", "dog", "on", "mat", "two", "猫")
WIDTH = 16


def small_tokenizer() -> Tokenizer:
    """A word is a token; </s> ends a text."""
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def small_vectors(seed: int = 0) -> WordVectors:
    """A table of a vector for each of WORDS."""
    table = torch.randn(len(WORDS), 6, generator=torch.Generator().manual_seed(seed)).half()
    return WordVectors("small", table, small_tokenizer().to_str())


def write_encoder(folder: Path, kind: str, seed: int = 0) -> Path:
    """A folder of a small t5, clip, siglip, qwen3, qwen3-vl or gemma, with its tokenizer."""
    import transformers

    tokenizer = small_tokenizer()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=8 if kind in ("clip", "siglip") else 10**30,
    ).save_pretrained(folder)
    small: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": WIDTH,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
    }
    language = {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    models: dict[str, Any] = {
        "t5": lambda: transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=len(WORDS), d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2
            )
        ),
        "clip": lambda: transformers.CLIPTextModel(
            transformers.CLIPTextConfig(**small, max_position_embeddings=8)
        ),
        "siglip": lambda: transformers.SiglipTextModel(
            transformers.SiglipTextConfig(**small, max_position_embeddings=8)
        ),
        "qwen3": lambda: transformers.Qwen3Model(transformers.Qwen3Config(**small, **language)),
        "qwen3-vl": lambda: transformers.Qwen3VLModel(
            transformers.Qwen3VLConfig(
                text_config={
                    **small,
                    **language,
                    "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]},
                },
                vision_config={
                    "depth": 1,
                    "hidden_size": 8,
                    "intermediate_size": 8,
                    "num_heads": 1,
                    "out_hidden_size": WIDTH,
                    "deepstack_visual_indexes": [],
                },
            )
        ),
        "gemma": lambda: transformers.GemmaModel(transformers.GemmaConfig(**small, **language)),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models[kind]().save_pretrained(folder)
    return folder

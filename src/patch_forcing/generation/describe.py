"""What a model is, in a few words for people: on the command line and on its card."""

from patch_forcing.generation.recommended import choose
from patch_forcing.models.dit import PatchDiT


def model_facts(model: PatchDiT) -> dict[str, str]:
    """Its images, patches and sizes, and whether it predicts difficulty."""
    config, space = model.config, model.data_info.autoencoder
    height, width = config.image_size
    kind = "pixels" if space is None else f"latents of {space.name}"
    channels = f"{config.in_channels} channel{'s' * (config.in_channels != 1)}"
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    return {
        "images": f"{height}×{width} {kind}, {channels}",
        "patches": f"{config.num_patches} of {config.patch_size}×{config.patch_size}",
        "network": f"{config.depth} blocks of width {config.hidden_size} and "
        f"{config.num_heads} heads, {millions:.1f} million weights",
        "difficulty": "predicted" if config.predict_difficulty else "not predicted",
    }


def sampled_by(model: PatchDiT, name: str) -> str:
    """The sampler, its steps and the evaluations these take, where nobody chooses.

    name: what messages call the model.
    """
    sampling = choose(model, name, {}, {}).request.resolve(model, name)
    steps = len(sampling.time_grid) - 1
    nfe, own = (sampling.evaluations(model.config, guided) for guided in (True, False))
    count = f"{steps} step{'s' * (steps != 1)}, {nfe:.4g} evaluation{'s' * (nfe != 1)} an image"
    by_guidance = f", {nfe - own:.4g} of them for guidance" if nfe != own else ""
    return f"by {sampling.name}, {count}{by_guidance}"


def takes_texts(model: PatchDiT) -> bool:
    """Whether its images are asked for by a text."""
    return model.config.condition.partition(":")[0] in ("text", "bytes")

"""Training recipes by name, with what each needs and reaches."""

from dataclasses import replace
from typing import Literal

from patch_forcing.core.errors import unknown_name
from patch_forcing.data.sources import (
    Digits,
    EmojiSource,
    EmojiTextSource,
    FolderSource,
    HubSource,
    LatentsSource,
    ShardsSource,
)
from patch_forcing.models.config import Recommended
from patch_forcing.runs.named_recipe import KnownSizes, KnownTexts, NamedRecipe, aligned
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.training.options import OptimizerConfig, TextConfig

_IMAGES = Recipe(
    data=FolderSource(),
    network=Network(patch_size=None, hidden_size=256, depth=8, num_heads=4),
    optimizer=OptimizerConfig(lr=1e-3, warmup_steps=100, betas=(0.9, 0.99)),
    recommended=Recommended(guidance_scale=2.0, guidance_interval=(0.1, 0.8)),
    timesteps="ltg:levels=8",
    steps=2000,
    batch_size=32,
    ema_decay=0.995,
    checkpoint_every=250,
    log_every=25,
    sample_every=250,
)
_LARGER = (
    "on a GPU try --steps 20000 --batch-size 256 --network.depth 12 --network.hidden-size 384 "
    "--network.num-heads 6"
)
_IMAGES_REACH = f"what the images allow; not measured; {_LARGER}"

_IMAGENET_SIZES = {  # hidden size, depth, heads; the paper's FID-50k: SiT, then PF by sampler
    "b": ((768, 12, 12), "33.0", ("27.9", "26.0", "24.2")),
    "l": ((1024, 24, 16), "18.8", ("14.7", "13.9", "13.0")),
    "xl": ((1152, 28, 16), "17.2", ("12.9", "11.5", "9.8")),
}


def _imagenet(method: Literal["sit", "pft"], size: str) -> NamedRecipe:
    """ImageNet-256 in latent space as the paper trains it; `sit` is its baseline."""
    (hidden_size, depth, num_heads), sit, by_sampler = _IMAGENET_SIZES[size]
    if method == "sit":
        fid = f"{sit} (Euler)"
    else:
        fid = "{} (Euler), {} (dual-loop), {} (look-ahead)".format(*by_sampler)
    return NamedRecipe(
        Recipe(
            data=LatentsSource(),
            network=Network(2, hidden_size, depth, num_heads, predict_difficulty=method == "pft"),
            timesteps="ltg" if method == "pft" else "shared-uniform",
            precision="bf16",
            compile=True,
            log_every=100,
        ),
        needs="--data.path DIR: latents of ImageNet, made by patch-forcing encode with "
        "sd-vae-ft-ema (docs/imagenet.md); GPUs for days; hours and memory: --dry-run",
        reaches=f"FID-50k {fid}, unguided, at equal evaluations: the paper's; not run here",
        sizes=KnownSizes((4, 32, 32), num_classes=1000),
    )


def _small_natural(data: FolderSource | LatentsSource, patch_size: int) -> Recipe:
    """A small data set of photographs in 256 tokens, as ImageNet-256 has them."""
    return Recipe(
        data=data,
        network=Network(patch_size, hidden_size=384, depth=12, num_heads=6),
        optimizer=OptimizerConfig("muon", lr=1e-3, warmup_steps=200),
        timesteps="ltg:levels=8",
        steps=5500,
        batch_size=512,
        ema_decay=0.999,
        precision="bf16",
        compile=True,
        checkpoint_every=500,
    )


EMOJI = Recommended(
    conditions="face-smiling,food-sweet,animal-bird,country-flag,transport-ground,plant-flower,"
    "cat-face,musical-instrument,food-fruit,animal-marine,clothing,heart,transport-water,"
    "sky & weather,drink,hand-fingers-closed",
    guidance_scale=3.0,
    guidance_interval=(0.1, 0.8),
)

EMOJI_TEXT = Recommended(
    conditions="\n".join(
        (
            "a red apple on a blue background",
            "an owl on a purple background",
            "a rocket on a black background",
            "a castle on an orange background",
            "three guitars on a yellow background",
            "two butterflies on a green background",
            "four strawberries on a white background",
            "three bicycles on a grey background",
            "a dog left of a pizza on a pink background",
            "a lion right of a palm tree on a blue background",
            "a helicopter above a sailboat on a green background",
            "a crown above a penguin on a red background",
            "a cupcake below a candle on a purple background",
        )
    ),
    guidance_scale=3.0,
    guidance_interval=(0.1, 0.8),
)

RECIPES = {
    "digits": NamedRecipe(
        Recipe(
            data=Digits(),
            network=Network(patch_size=2, hidden_size=96, depth=4, num_heads=3),
            optimizer=OptimizerConfig(lr=3e-3, warmup_steps=50, betas=(0.9, 0.99)),
            steps=700,
            batch_size=128,
            ema_decay=0.99,
            checkpoint_every=100,
            log_every=20,
            sample_every=100,
        ),
        needs="two CPU cores, 2 minutes, nothing to download",
        reaches="98 % of samples classified as the requested digit, 100 % with guidance 2",
    ),
    "emoji-64": NamedRecipe(
        Recipe(
            data=EmojiSource(),
            network=Network(patch_size=8, hidden_size=320, depth=10, num_heads=5),
            optimizer=OptimizerConfig(
                "muon", lr=2e-3, warmup_steps=500, decay_share=0.4, weight_decay=0.05
            ),
            recommended=EMOJI,
            timesteps="ltg:levels=8",
            steps=36_000,
            batch_size=512,
            ema_decay=0.9995,
            precision="bf16",
            compile=True,
            checkpoint_every=5000,
            log_every=100,
            sample_every=2500,
        ),
        needs="one H200 for a quarter of an hour; the atlas: patch-forcing data emoji",
        reaches="FD 23.2; 96 % of samples classified as the requested class (Euler, "
        "50 evaluations, guidance 3 at t 0.1 … 0.8)",
    ),
    "emoji-64-smoke": NamedRecipe(
        Recipe(
            data=EmojiSource(),
            network=Network(patch_size=16, hidden_size=64, depth=2, num_heads=2),
            optimizer=OptimizerConfig("muon", lr=2e-3, warmup_steps=5),
            timesteps="ltg:levels=8",
            steps=30,
            batch_size=16,
            ema_decay=0.9,
            checkpoint_every=10,
            log_every=5,
            sample_every=10,
        ),
        needs="two CPU cores for seconds; the atlas: patch-forcing data emoji",
        reaches="nothing: it shows that emoji-64 would run",
    ),
    "emoji-text": NamedRecipe(
        Recipe(
            data=EmojiTextSource(),
            network=Network(
                patch_size=8,
                hidden_size=320,
                depth=8,
                num_heads=5,
                condition="text",
                position="rope",
                condition_size=128,
            ),
            optimizer=OptimizerConfig(
                "muon", lr=2e-3, warmup_steps=300, decay_share=0.4, weight_decay=0.05
            ),
            text=TextConfig(length=96),
            recommended=EMOJI_TEXT,
            # what is where is decided before t = 0.1, where LTG as published hardly trains
            timesteps="ltg:levels=8,loc=-0.3,scale=1.5",
            steps=20_000,
            batch_size=256,
            ema_decay=0.999,
            precision="bf16",
            compile=True,
            checkpoint_every=2000,
            log_every=100,
            sample_every=2000,
        ),
        needs="one H200 for 18 minutes; the atlas: patch-forcing data emoji",
        reaches="of prompts never trained on, 99 % of things and colours, 95 % of counts, 97 % of "
        "relations, as a judge of real scenes reads them (docs/results/text.md)",
    ),
    "cifar10": NamedRecipe(
        replace(_small_natural(FolderSource(), patch_size=2), sample_every=1000),
        needs="--data.path DIR: CIFAR-10's training images, a folder for each class "
        "(docs/natural-images.md); a GPU: some ten minutes of an H200",
        reaches="FD 10.9 to held-out images in features of EfficientNet-Lite0 (Euler, 48 "
        "evaluations); 64 % of samples read as their class, of held-out images 80 %; one seed, on "
        "JPEG copies",
        sizes=KnownSizes((3, 32, 32), num_classes=10),
    ),
    "imagenette128-latent": NamedRecipe(
        _small_natural(LatentsSource(), patch_size=1),
        needs="--data.path DIR: latents of Imagenette, made by patch-forcing encode with TAEF2 "
        "(docs/natural-images.md); a GPU: some ten minutes of an H200",
        reaches="not measured",
        sizes=KnownSizes((32, 16, 16), num_classes=10),
    ),
    "folder": NamedRecipe(
        replace(_IMAGES, data=FolderSource(held_out=None)),
        needs="--data.path DIR: images, or subfolders of them for each class; two CPU cores for "
        "20 minutes from the bundled model",
        reaches="of twelve classes of drawings 70 % of samples read as what they are meant to be, "
        f"in 20 minutes on two cores (docs/first-hour.md); {_LARGER}",
        adapts=True,
    ),
    "shards": NamedRecipe(
        replace(_IMAGES, data=ShardsSource()),
        needs="--data.path PATH: tar files in WebDataset's form, or URLs of them, which need "
        "pip install -e '.[shards]'; else as folder",
        reaches=_IMAGES_REACH,
        adapts=True,
    ),
    "hub": NamedRecipe(
        replace(_IMAGES, data=HubSource()),
        needs="--data.path OWNER/NAME: images on the Hugging Face Hub, or a folder that datasets "
        "reads; pip install -e '.[datasets]'; else as folder",
        reaches=_IMAGES_REACH,
        adapts=True,
    ),
    "t2i-256": NamedRecipe(
        Recipe(
            data=LatentsSource(condition="caption"),
            network=Network(
                patch_size=2,
                hidden_size=1536,
                depth=28,
                num_heads=16,
                condition="text",
                position="rope",
                condition_size=384,
            ),
            text=TextConfig(encoder="Qwen/Qwen3-VL-Embedding-2B", length=256, bf16=True),
            recommended=Recommended(guidance_scale=4.0),
            precision="bf16",
            compile=True,
            log_every=100,
        ),
        needs="--data.path DIR: latents of pictures with captions, made by patch-forcing encode "
        "with flux2; --text.cache DIR for embeddings; GPUs for days (docs/text-to-image.md)",
        reaches="not run here: the sizes are the paper's, which gives no numbers",
        sizes=KnownTexts((32, 32, 32), num_classes=0, text_condition="text:width=2048,length=256"),
    ),
    "imagenet256-sit-b": _imagenet("sit", "b"),
    "imagenet256-sit-l": _imagenet("sit", "l"),
    "imagenet256-sit-xl": _imagenet("sit", "xl"),
    "imagenet256-pft-b": _imagenet("pft", "b"),
    "imagenet256-pft-l": _imagenet("pft", "l"),
    "imagenet256-pft-xl": _imagenet("pft", "xl"),
}

RECIPES["emoji-64-repa"] = aligned(
    RECIPES["emoji-64"],
    "emoji",
    "for the encoder nothing: it is bundled",
    weight=0.02,  # more costs distance at the end of training: docs/results/repa.md
)
for _name in [name for name in RECIPES if name.startswith("imagenet256-")]:
    RECIPES[f"{_name}-repa"] = aligned(
        RECIPES[_name],
        "dinov2-b",
        "--alignment.cache DIR: DINOv2-B's features, from encode IMAGES --features dinov2-b "
        "--latents DIR",
    )


def find_recipe(name: str) -> NamedRecipe:
    """The recipe of that name. Raises UserError naming the nearest one."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]

"""Training recipes: everything a run depends on, by name, and what each needs and reaches."""

from dataclasses import dataclass, field, replace
from typing import Literal

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import TIMESTEPS, TimestepSampler
from patch_forcing.data.batch import Captioned, DataSource, TrainingData
from patch_forcing.data.digits import Digits
from patch_forcing.data.emoji import EmojiSource
from patch_forcing.data.folders import FolderSource
from patch_forcing.data.hub import HubSource
from patch_forcing.data.latents import LatentsSource
from patch_forcing.data.shards import ShardsSource
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.recompute import Recompute
from patch_forcing.training.alignment import AlignmentConfig
from patch_forcing.training.finite import PATIENCE
from patch_forcing.training.optim import OptimizerConfig


@dataclass(frozen=True)
class Network:
    """Sizes of the PatchDiT; what depends on the data is read off the data."""

    patch_size: int | None
    """Side of a patch, in pixels or latent cells; None: one that suits the data's size."""
    hidden_size: int
    """Token width D."""
    depth: int
    """Number of blocks."""
    num_heads: int
    """Attention heads."""
    predict_difficulty: bool = True
    """Whether the output has a channel for the log-variance; a plain SiT has none."""

    def config(self, data: TrainingData) -> PatchDiTConfig:
        """All sizes, for this data. Raises UserError if they do not fit together, or to it."""
        if isinstance(data, Captioned) and data.captioned:
            raise UserError(
                f"{data.place} comes with captions, which no network here takes yet: add "
                "--data.condition none, or class where there are classes"
            )
        channels, height, width = data.shape
        return PatchDiTConfig(
            input_size=(height, width),
            in_channels=channels,
            num_classes=data.num_classes,
            patch_size=fitting_patch(height, width) if self.patch_size is None else self.patch_size,
            hidden_size=self.hidden_size,
            depth=self.depth,
            num_heads=self.num_heads,
            predict_difficulty=self.predict_difficulty,
        )

    def build(self, data: TrainingData) -> PatchDiT:
        """A network for this data, freshly initialised."""
        return PatchDiT(self.config(data), data.info)


def fitting_patch(height: int, width: int) -> int:
    """The largest patch side up to 8 that tiles the image with 7 or more patches a side, or 1.

    64 pixels: 8; 32: 4; 28: 4. Not above 8: a token of this library's small networks, which
    predict noise too, has no room for more pixels.
    """
    sides = range(8, 1, -1)
    tiling = (p for p in sides if height % p == width % p == 0 and min(height, width) >= 7 * p)
    return next(tiling, 1)


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on."""

    data: DataSource
    network: Network
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    timesteps: str = "ltg"
    """Training distribution of per-patch times, NAME or NAME:option=value,option=value: ltg, tg,
    shared-uniform, shared-logit-normal, independent-uniform, mean-controlled."""
    steps: int = 400_000
    """Optimizer steps in all."""
    batch_size: int = 256
    """Samples a step, over all GPUs."""
    accumulate: int = 1
    """Parts in which a GPU goes through its share of a batch: the same step in less memory."""
    nll_weight: float = 0.01
    """Weight of the difficulty head's likelihood."""
    label_dropout: float = 0.1
    """Share of labels replaced by the null label, for guidance."""
    ema_decay: float = 0.9999
    """Decay of the averaged weights, which are what is sampled."""
    snapshot_every: int | None = None
    """Steps between snapshots of two more averages, from which `patch-forcing ema` makes one of any
    length after training. None: 16 in the run; 0: neither averages nor snapshots are kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the network computes in; weights, loss and average are always fp32."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """Of several GPUs, each holds the whole model (DDP), or its share of weights, gradients,
    optimizer and average (FSDP2): slower, for models that outgrow a GPU."""
    compile: bool = False
    """Compile the training step: half a minute at the start, a few times faster on a GPU."""
    recompute_activations: Recompute = "none"
    """What of each block the backward pass computes again instead of keeping it. cheap: all but
    products and attention, half the memory for little time. all: everything, from what goes in; a
    third more work, far less memory."""
    time_nodes: int = 16
    """Where more times occur in an image, conditions are computed at so many nodes of [0, 1] and
    interpolated, to within fp32's rounding; 0: computed at each time."""
    seed: int = 0
    """Noise, times, order and initial weights all follow from it."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints; the last step always has one."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    sample_every: int = 0
    """Steps between sheets of samples with their difficulty, of the averaged weights; 0: none."""
    max_failed_steps: int = PATIENCE
    """So many steps in a row whose loss or gradient is not finite stop the run; fewer are skipped,
    and counted."""
    watchdog: float = 600.0
    """Seconds for which a rank may keep others waiting; then all end, and it is named with the
    place where it hangs."""
    deterministic: bool = False
    """Refuse operations whose result can change from run to run."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "checkpoint_every",
            "log_every",
            "max_failed_steps",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: choose 1 or more")
        for name in ("steps", "batch_size"):
            if getattr(self, name) > 2**31:
                raise UserError(f"{name}={getattr(self, name)} is out of range: choose up to 2^31")
        if self.snapshot_every is not None and self.snapshot_every < 0:
            raise UserError(
                f"snapshot_every={self.snapshot_every} is out of range: choose 1 or more, 0 for "
                "none"
            )
        if self.sample_every < 0:
            raise UserError(f"sample_every={self.sample_every} is out of range: choose 0 or more")
        if self.batch_size % self.accumulate:
            raise UserError(
                f"batch_size={self.batch_size} does not split into accumulate={self.accumulate} "
                f"equal parts: choose a multiple of {self.accumulate}, or another --accumulate"
            )
        if not 0 <= self.nll_weight < float("inf"):
            raise UserError(f"nll_weight={self.nll_weight} is out of range: choose 0 or more")
        if not 1 <= self.watchdog <= 3600:
            raise UserError(f"watchdog={self.watchdog} is out of range: choose 1 to 3600 seconds")
        if self.time_nodes != 0 and not 2 <= self.time_nodes <= 64:
            raise UserError(
                f"time_nodes={self.time_nodes} is out of range: choose 0 for none, or 2 to 64"
            )
        for name in ("label_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"{name}={getattr(self, name)} is out of range: choose 0 or more, below 1"
                )
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed={self.seed} is out of range: choose 0 to 2^63 - 1")
        self.timestep_sampler()
        self.alignment.block(self.network.depth)
        if self.parallel == "shard" and self.alignment.encoder is not None:
            raise UserError(
                f"parallel=shard with alignment.encoder={self.alignment.encoder}: an alignment's "
                "network is not sharded: leave one of the two out"
            )

    def snapshot_interval(self) -> int:
        """Steps between snapshots; 0: there are none."""
        return max(1, self.steps // 16) if self.snapshot_every is None else self.snapshot_every

    def timestep_sampler(self) -> TimestepSampler:
        """The distribution that `timesteps` names."""
        return build("timesteps", TIMESTEPS, self.timesteps)

    def computed_times(self, num_patches: int) -> int:
        """At how many times the network computes conditions, for each image of a step."""
        levels = self.timestep_sampler()(1, num_patches).num_levels
        return min(levels, self.time_nodes) if self.time_nodes else levels


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of the library, with what it needs and what it reaches."""

    recipe: Recipe
    needs: str
    reaches: str


def aligned(
    named: NamedRecipe,
    encoder: str,
    needs: str,
    reaches: str = "not measured",
    weight: float = AlignmentConfig.weight,
) -> NamedRecipe:
    """The same recipe with alignment to `encoder` (REPA), for a name that ends in -repa.

    needs, reaches: what the encoder adds to what the recipe needs, and what it makes of it.
    weight: of the alignment, which is to be held against the recipe's velocity loss.
    """
    recipe = replace(named.recipe, alignment=AlignmentConfig(encoder, weight))
    return NamedRecipe(recipe, f"{named.needs}; {needs}", reaches)


_IMAGES = Recipe(
    data=FolderSource(),
    network=Network(patch_size=None, hidden_size=256, depth=8, num_heads=4),
    optimizer=OptimizerConfig(lr=1e-3, warmup_steps=100, betas=(0.9, 0.99)),
    timesteps="ltg:levels=8",
    steps=2000,
    batch_size=32,
    ema_decay=0.995,
    checkpoint_every=250,
    log_every=25,
    sample_every=250,
)
_IMAGES_REACH = (
    "what the images allow; not measured; on a GPU try --steps 20000 --batch-size 256 "
    "--network.depth 12 --network.hidden-size 384 --network.num-heads 6"
)

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
        reaches="98 % of samples read as the digit asked for, 100 % with guidance 2",
    ),
    "emoji-64": NamedRecipe(
        Recipe(
            data=EmojiSource(),
            network=Network(patch_size=8, hidden_size=320, depth=10, num_heads=5),
            optimizer=OptimizerConfig(
                "muon", lr=2e-3, warmup_steps=500, decay_share=0.4, weight_decay=0.05
            ),
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
        reaches="FD 24.4; 95 % of samples read as what was asked for (Euler, 50 evaluations, "
        "guidance 3 at t 0.1 … 0.8)",
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
    "folder": NamedRecipe(
        _IMAGES,
        needs="--data.path DIR: images, or one subfolder of them for each class; two CPU cores for "
        "half an hour at 64 pixels",
        reaches=_IMAGES_REACH,
    ),
    "shards": NamedRecipe(
        replace(_IMAGES, data=ShardsSource()),
        needs="--data.path PATH: tar files in WebDataset's form, or URLs of them, which need "
        "pip install 'patch-forcing[shards]'; else as folder",
        reaches=_IMAGES_REACH,
    ),
    "hub": NamedRecipe(
        replace(_IMAGES, data=HubSource()),
        needs="--data.path OWNER/NAME: images on the Hugging Face Hub, or a folder that datasets "
        "reads; pip install 'patch-forcing[datasets]'; else as folder",
        reaches=_IMAGES_REACH,
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
    weight=0.02,  # the best of 0.02, 0.1 and 0.5: docs/results/repa.md
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

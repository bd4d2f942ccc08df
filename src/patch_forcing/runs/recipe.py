"""A recipe: everything that a training run depends on. Nothing here needs torch."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.core.registry import build
from patch_forcing.core.timestep_options import TIMESTEP_OPTIONS
from patch_forcing.data.source import (
    Captioned,
    DataSource,
    GivesTexts,
    SampleSizes,
    SeveralSizes,
)
from patch_forcing.models.config import PatchDiTConfig, Recommended, SamplingInfo
from patch_forcing.models.options import Recompute
from patch_forcing.training.options import (
    PATIENCE,
    AlignmentConfig,
    OptimizerConfig,
    TextConfig,
    TrainedPart,
)

SCRATCH = "none"
"""In place of the model that a run starts from: weights drawn anew."""


@dataclass(frozen=True)
class Network:
    """Sizes of the PatchDiT; what depends on the data is read off the data."""

    patch_size: int | None
    """Side of a patch, in pixels or latent cells. Default: one that suits the data's size."""
    hidden_size: int
    """Token width D."""
    depth: int
    """Number of blocks."""
    num_heads: int
    """Attention heads."""
    predict_difficulty: bool = True
    """Whether the output has a channel for the log-variance; a plain SiT has none."""

    condition: Literal["class", "text"] = "class"
    """What images are conditioned on: classes, if there are some, or texts, by their captions."""
    position: Literal["sincos", "rope"] = "sincos"
    """Positions of patches: fixed, or rotary, with which a model takes other sizes too."""
    condition_size: int | None = None
    """Width of the embeddings of time and condition; a smaller one saves weights. Default:
    hidden_size."""

    def config(self, data: SampleSizes) -> PatchDiTConfig:
        """All sizes, for this data. Raises UserError if they do not fit together, or to it."""
        condition = data.text_condition if isinstance(data, GivesTexts) else "class"
        if condition == "class" and isinstance(data, Captioned) and data.captioned:
            raise UserError(
                f"{data.place} comes with captions: add --network.condition text to train on them, "
                "or --data.condition none, or class where there are classes"
            )
        channels, height, width = data.shape
        patch = fitting_patch(height, width) if self.patch_size is None else self.patch_size
        if isinstance(data, SeveralSizes):
            self._check_sizes(data, patch)
        return PatchDiTConfig(
            input_size=(height, width),
            in_channels=channels,
            num_classes=data.num_classes,
            patch_size=patch,
            hidden_size=self.hidden_size,
            depth=self.depth,
            num_heads=self.num_heads,
            predict_difficulty=self.predict_difficulty,
            condition=condition,
            position=self.position,
            condition_size=self.condition_size,
        )

    def _check_sizes(self, data: SeveralSizes, patch: int) -> None:
        if self.position != "rope":
            raise UserError(
                "data.buckets with fixed positions, which fit one size: add --network.position rope"
            )
        for height, width in data.sizes:
            if height % patch or width % patch:
                raise UserError(
                    f"data.buckets makes images of {height}×{width}, which patches of {patch} do "
                    "not tile: choose a multiple of --network.patch-size, or another patch size"
                )


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
    text: TextConfig = field(default_factory=TextConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    recommended: Recommended = field(default_factory=Recommended)
    steps: int = 400_000
    """Optimizer steps in all."""
    batch_size: int = 256
    """Samples a step, over all GPUs."""
    sample_every: int = 0
    """Steps between sheets of samples with their difficulty, of the averaged weights; 0: none."""
    timesteps: str = "ltg"
    """Training distribution of per-patch times, NAME or NAME:option=value,option=value: ltg, tg,
    shared-uniform, shared-logit-normal, independent-uniform, mean-controlled."""
    accumulate: int = 1
    """Parts in which a GPU goes through its share of a batch: the same step in less memory."""
    nll_weight: float = 0.01
    """Weight of the difficulty head's likelihood."""
    train_only: TrainedPart = "all"
    """Which weights are trained. difficulty: the head of a model that --init-from names, by AdamW
    without weight decay; all others stay as they are, to the bit, and need no backward pass."""
    label_dropout: float = 0.1
    """Share of labels replaced by the null label, for guidance."""
    ema_decay: float = 0.9999
    """Decay of the averaged weights, which are what is sampled."""
    snapshot_every: int | None = None
    """Steps between snapshots of two more averages, from which `patch-forcing ema` makes one of any
    length after training. Default: 16 in the run, and none of a head alone; 0: neither averages nor
    snapshots are kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the network computes in; weights, loss and average are always fp32."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """Of several GPUs, each holds the whole model (DDP), or its share of weights, gradients,
    optimizer and average (FSDP2): slower, for models that outgrow a GPU."""
    compile: bool = False
    """Compile the training step: half a minute at the start, a few times faster on a GPU."""
    recompute_activations: Recompute = "none"
    """What of each block the backward pass computes again instead of keeping it. gelu: the outputs
    of GELU, a fifth of the memory; without compile the same as cheap. cheap: all but products and
    attention, half the memory for little time. all: everything, from what goes in; a third more
    work, far less memory."""
    time_nodes: int = 16
    """Where more times occur in an image, conditions are computed at so many nodes of [0, 1] and
    interpolated, to within fp32's rounding; 0: computed at each time."""
    seed: int = 0
    """Noise, times, order and initial weights all follow from it."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints; the last step always has one."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    max_failed_steps: int = PATIENCE
    """So many steps in a row whose loss or gradient is not finite stop the run; fewer are skipped,
    and counted."""
    watchdog: float = 600.0
    """Seconds for which a rank may keep others waiting; then all end, and it is named with the
    place where it hangs."""
    deterministic: bool = False
    """Refuse operations whose result can change from run to run."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            check_range(name, getattr(self, name), 1, 2**31, whole=True)
        for name in ("accumulate", "checkpoint_every", "log_every", "max_failed_steps"):
            check_range(name, getattr(self, name), 1, whole=True)
        if self.snapshot_every is not None:
            check_range("snapshot_every", self.snapshot_every, 0, whole=True, mend="; 0 is none")
        check_range("sample_every", self.sample_every, 0, whole=True, mend="; 0 is none")
        check_range("nll_weight", self.nll_weight, 0)
        check_range("watchdog", self.watchdog, 1, 3600, mend=" seconds")
        if self.time_nodes != 0:
            check_range("time_nodes", self.time_nodes, 2, 64, whole=True, mend="; 0 is none")
        check_range("label_dropout", self.label_dropout, 0, below=1)
        check_range("ema_decay", self.ema_decay, 0, below=1)
        check_range("seed", self.seed, 0, 2**63 - 1, whole=True)
        if self.batch_size % self.accumulate:
            raise UserError(
                f"batch_size={self.batch_size} does not split into accumulate={self.accumulate} "
                f"equal parts: choose a multiple of {self.accumulate}, or another --accumulate"
            )
        build("timesteps", TIMESTEP_OPTIONS, self.timesteps)
        if self.text != TextConfig() and self.network.condition != "text":
            raise UserError(
                f"text.encoder={self.text.encoder}, or what else is said of texts, without "
                "captions to read: add --network.condition text"
            )
        self.alignment.block(self.network.depth)
        if self.parallel == "shard" and self.alignment.encoder is not None:
            raise UserError(
                f"parallel=shard with alignment.encoder={self.alignment.encoder}: an alignment's "
                "network is not sharded: leave one of the two out"
            )
        self._check_trained_part()

    def _check_trained_part(self) -> None:
        if self.train_only not in get_args(TrainedPart):
            raise unknown_name("train_only", str(self.train_only), get_args(TrainedPart))
        if self.train_only == "all":
            return
        mends = {
            "network.predict_difficulty=False": (
                not self.network.predict_difficulty,
                "the network has no such head: leave one of the two out",
            ),
            "nll_weight=0": (
                self.nll_weight == 0,
                "which is all that teaches the head: give another weight",
            ),
            f"alignment.encoder={self.alignment.encoder}": (
                self.alignment.encoder is not None,
                "which trains other weights: leave one of the two out",
            ),
            "parallel=shard": (
                self.parallel == "shard",
                "but a head needs no sharding: leave --parallel out",
            ),
        }
        for what, (given, mend) in mends.items():
            if given:
                raise UserError(f"train_only={self.train_only} with {what}, {mend}")

    def sampling_info(self, data: SampleSizes) -> SamplingInfo:
        """What the model recommends; no guidance where it learns no difference to be guided by."""
        texts = data.shown_texts if isinstance(data, GivesTexts) else ()
        conditioned = data.num_classes > 0 or isinstance(data, GivesTexts)
        guided = conditioned and self.label_dropout > 0
        advice = self.recommended if guided else self.recommended.without_guidance()
        if texts and advice.conditions is None:
            advice = replace(advice, conditions="\n".join(texts))
        return SamplingInfo(recommended=advice)

    def snapshot_interval(self) -> int:
        """Steps between snapshots; 0: there are none."""
        if self.snapshot_every is not None:
            return self.snapshot_every
        return max(1, self.steps // 16) if self.train_only == "all" else 0

"""What the benchmark of natural images trains: data sets, times, and a model of each seed."""

from dataclasses import dataclass, replace

from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.training.options import AlignmentConfig, OptimizerConfig

SIT, LTG, GROUPED = "shared-uniform", "ltg", "ltg:levels=8"
HEADLINE = (SIT, LTG, GROUPED)
OTHERS = (
    "shared-logit-normal",
    "independent-uniform",
    "mean-controlled:sharpness=4",
    "tg",
    "ltg:levels=2",
    "ltg:levels=32",
)
NAMES = {
    SIT: "shared uniform (SiT)",
    "shared-logit-normal": "shared logit-normal",
    "independent-uniform": "independent uniform",
    "mean-controlled:sharpness=4": "mean-controlled (SRM)",
    "tg": "TG",
    LTG: "LTG",
    "ltg:levels=2": "LTG, K = 2",
    GROUPED: "LTG, K = 8",
    "ltg:levels=32": "LTG, K = 32",
}
"""Of training times, for readers."""


@dataclass(frozen=True)
class DataSet:
    """Images in folders of classes, and the recipe that trains on them.

    held_out: the folder of the images that no model sees; the others are in `train`.
    """

    name: str
    recipe: str
    size: int
    held_out: str

    @property
    def latent(self) -> bool:
        """Whether models see latents."""
        return isinstance(RECIPES[self.recipe].recipe.data, LatentsSource)


SETS = {
    "cifar10": DataSet("CIFAR-10", "cifar10", 32, "test"),
    "imagenette": DataSet("Imagenette, latents", "imagenette128-latent", 128, "val"),
}
SMALL = Network(patch_size=None, hidden_size=256, depth=8, num_heads=4)
"""A third of the recipe's work, for long trainings."""
TOY = Network(patch_size=None, hidden_size=24, depth=1, num_heads=2)
SIZES = {"recipe": None, "small": SMALL, "toy": TOY}
TOY_STEPS, TOY_BATCH = 4, 8
REPA_ENCODER = "efficientnet-lite0"


@dataclass(frozen=True)
class Model:
    """One training. What is None is the recipe's.

    size: a key of SIZES. repa: weight of alignment with EfficientNet-Lite0.
    """

    data: str
    timesteps: str
    seed: int
    size: str = "recipe"
    steps: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    repa: float | None = None

    @property
    def name(self) -> str:
        """For the terminal."""
        steps = "" if self.steps is None else f"-{self.steps}"
        return self.run + steps

    @property
    def run(self) -> str:
        """The folder's name: more steps of the same training go on in it."""
        long = "long" if self.steps is not None else None
        more = (self.size, long, self.optimizer, self.lr, self.repa and f"repa{self.repa:g}")
        changes = [str(part) for part in more if part not in (None, "recipe")]
        parts = [self.data, self.timesteps.translate(str.maketrans(":=", "--")), *changes]
        return "-".join([*parts, str(self.seed)])

    def recipe(self, path: str, gpu: bool, features: str | None = None) -> Recipe:
        """What it is trained by. path: of the images or latents; features: a cache of them."""
        base = RECIPES[SETS[self.data].recipe].recipe
        network = SIZES[self.size]
        if network is None:
            network = base.network
        else:
            network = replace(network, patch_size=base.network.patch_size)
        changed = {"name": self.optimizer, "lr": self.lr}
        optimizer: OptimizerConfig = replace(
            base.optimizer, **{key: value for key, value in changed.items() if value is not None}
        )
        steps, toy = self.steps or base.steps, self.size == "toy"
        if toy:
            steps = self.steps or TOY_STEPS
            network = replace(network, patch_size=4 * (base.network.patch_size or 1))
        alignment = AlignmentConfig()
        if self.repa:
            alignment = AlignmentConfig(REPA_ENCODER, self.repa, projector_dim=512, cache=features)
        assert isinstance(base.data, FolderSource | LatentsSource)
        return replace(
            base,
            data=replace(base.data, path=path),
            network=network,
            optimizer=optimizer,
            alignment=alignment,
            timesteps=self.timesteps,
            steps=steps,
            batch_size=TOY_BATCH if toy else base.batch_size,
            seed=self.seed,
            precision="bf16" if gpu else "fp32",
            compile=gpu,
            sample_every=0,
            snapshot_every=0,
            checkpoint_every=min(base.checkpoint_every, steps),
            log_every=min(base.log_every, steps),
        )

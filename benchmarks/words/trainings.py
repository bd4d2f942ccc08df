"""What the benchmark of words trains: a distribution of times, a seed, and else all the same."""

from dataclasses import dataclass, replace

from benchmarks.words.data import WordSource
from benchmarks.words.spelling import CAPTION_BYTES, caption, words
from patch_forcing.models.config import Recommended
from patch_forcing.runs.recipe import Network, Recipe
from patch_forcing.runs.recipes import RECIPES
from patch_forcing.training.options import TextConfig

TIMESTEPS = ("shared-uniform", "ltg", "ltg:levels=8", "independent-uniform")
STEPS = {"line": 8000, "square": 6000, "smoke": 2}
"""By the size of images; the smoke test trains a tiny network on lines."""
GUIDANCE, INTERVAL = 3.0, (0.1, 0.8)
"""As the recipe emoji-text recommends it."""
_TINY = Network(8, 32, 2, 2, condition="text", position="rope", condition_size=16)


@dataclass(frozen=True)
class Model:
    """One training. size: of images, or smoke."""

    size: str
    timesteps: str
    seed: int
    steps: int

    @property
    def name(self) -> str:
        """Also the folder's."""
        times = self.timesteps.translate(str.maketrans(":=", "--"))
        return f"{self.size}-{times}-{self.seed}-{self.steps}"

    @property
    def images(self) -> str:
        """The size of its images."""
        return "line" if self.size == "smoke" else self.size

    def recipe(self, device: str) -> Recipe:
        """That of emoji-text, on words: its network, optimizer, batch and average."""
        base, gpu = RECIPES["emoji-text"].recipe, device != "cpu"
        shown = "\n".join(map(caption, [*words()[:8], *words(unseen=True)[:8]]))
        recipe = replace(
            base,
            data=WordSource(self.images),
            text=TextConfig(length=CAPTION_BYTES),
            recommended=Recommended(shown, guidance_scale=GUIDANCE, guidance_interval=INTERVAL),
            timesteps=self.timesteps,
            steps=self.steps,
            seed=self.seed,
            precision="bf16" if gpu else "fp32",
            compile=gpu,
            checkpoint_every=2000,
            snapshot_every=0,
            sample_every=0,
        )
        if self.size == "smoke":
            recipe = replace(recipe, network=_TINY, batch_size=8, log_every=1)
        return recipe

"""A recipe of the library with what is known of it beforehand."""

from dataclasses import dataclass, replace

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.runs.recipe import Recipe
from patch_forcing.training.options import AlignmentConfig


@dataclass(frozen=True)
class KnownSizes:
    """Sizes of samples (C, H, W) and the number of classes, as `SampleSizes` has them."""

    shape: tuple[int, int, int]
    num_classes: int


@dataclass(frozen=True)
class KnownTexts(KnownSizes):
    """The same of data with captions, as an encoder makes conditions of them."""

    text_condition: str
    shown_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of the library, with what it needs and what it reaches."""

    recipe: Recipe
    needs: str
    reaches: str
    sizes: KnownSizes | None = None
    """Of the data, where the recipe fixes them, known before the data are there."""
    adapts: bool = False
    """Whether what the user leaves open is chosen for the images and the machine (runs/plan.py)."""

    def check_minutes(self, minutes: float, recipe: Recipe, *, several: bool) -> None:
        """Raises UserError for a time that steps cannot follow from.

        recipe: this one, as the user changed it. several: whether processes train together.
        """
        check_range("--minutes", minutes, above=0)
        if several:  # each would measure other seconds
            raise UserError(f"--minutes {minutes:g} with several processes: give --steps")
        if recipe.steps != self.recipe.steps:
            raise UserError(
                f"--minutes {minutes:g} with --steps {recipe.steps}: leave one of the two out"
            )


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
    return replace(named, recipe=recipe, needs=f"{named.needs}; {needs}", reaches=reaches)

"""Models of this library in diffusers: its pipeline, its folders, its way of loading.

    import patch_forcing.diffusers

That import makes two classes known to diffusers, which has no registry for them. It finds the class
of a component by the module that `model_index.json` names, if that is imported. Of a pipeline, and
of a model alone, it finds the class by `_class_name`, as an attribute of the package `diffusers`.
So two attributes are added there. Their names have dots, as `_class_name` has them here: they can
hide nothing, and an error about them says what to import.
"""

from patch_forcing.core.extras import install_line

try:
    import diffusers

    # diffusers looks in the module of a component for this base class, to know how it is loaded
    from diffusers import ModelMixin
except ImportError:
    raise ImportError(
        f"patch_forcing.diffusers needs diffusers: {install_line('diffusers')}"
    ) from None

from patch_forcing.diffusers.pipeline import PatchForcingPipeline, PatchForcingPipelineOutput
from patch_forcing.diffusers.transformer import (
    PatchForcingTransformer2DModel,
    PatchForcingTransformer2DOutput,
)

__all__ = [
    "ModelMixin",
    "PatchForcingPipeline",
    "PatchForcingPipelineOutput",
    "PatchForcingTransformer2DModel",
    "PatchForcingTransformer2DOutput",
]

for _class in (PatchForcingPipeline, PatchForcingTransformer2DModel):
    setattr(diffusers, _class.stored_name(), _class)

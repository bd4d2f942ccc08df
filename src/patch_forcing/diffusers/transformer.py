"""The network as a model of diffusers: `config.json` and safetensors in its layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils import BaseOutput, is_accelerate_available
from diffusers.utils.accelerate_utils import apply_forward_hook
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.time import PatchTime
from patch_forcing.diffusers.folder import check_code, check_component
from patch_forcing.diffusers.stored import MODULE, Stored
from patch_forcing.models.config import DataInfo, PatchDiTConfig, SamplingInfo
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import check_tensors


@dataclass
class PatchForcingTransformer2DOutput(BaseOutput):
    """sample: the velocity (B, C, H, W), data minus noise. logvar: its log-variance (B, 1, H, W);
    None where the network predicts none.
    """

    sample: Tensor
    logvar: Tensor | None = None


class PatchForcingTransformer2DModel(Stored, ModelMixin, ConfigMixin):
    """A `PatchDiT`, as `dit`, and what goes with its weights.

    Sizes: those of `PatchDiTConfig`. data, sampling: what its numbers mean as images, and how it is
    best sampled, as model folders hold them (`DataInfo`, `SamplingInfo`).
    Raises UserError for values out of range, or that do not fit together.
    """

    @register_to_config
    def __init__(
        self,
        input_size: int | Sequence[int],
        patch_size: int = 2,
        in_channels: int = 4,
        hidden_size: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        num_classes: int = 1000,
        predict_difficulty: bool = True,
        condition: str = "class",
        position: str = "sincos",
        condition_size: int | None = None,
        data: Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        sizes = PatchDiTConfig(
            input_size if isinstance(input_size, int) else (input_size[0], input_size[1]),
            patch_size,
            in_channels,
            hidden_size,
            depth,
            num_heads,
            num_classes,
            predict_difficulty,
            condition,
            position,
            condition_size,
        )
        self.dit = PatchDiT(
            sizes,
            None if data is None else DataInfo.read(data),
            None if sampling is None else SamplingInfo.read(sampling),
        )

    @classmethod
    def of(cls, dit: PatchDiT) -> "PatchForcingTransformer2DModel":
        """That network as a model of diffusers; they share the weights."""
        with torch.device("meta"):  # the network built here is thrown away
            model = cls(
                **dit.config.stored(),
                data=dit.data_info.stored(),
                sampling=dit.sampling_info.stored(),
            )
        model.dit = dit
        return model.train(dit.training)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Any:
        """As of any model of diffusers, but of safetensors alone, and every tensor has to be there.

        Raises UserError for weights that are missing, damaged, or of another network, for pickles,
        and for what asks to run code.
        """
        place = str(pretrained_model_name_or_path)
        folder = Path(place) / (options.get("subfolder") or "")
        check_code(place, options)
        if folder.is_dir():
            check_component(folder, cls.stored_name())
        wants_info = options.pop("output_loading_info", False)
        options |= {"use_safetensors": True, "output_loading_info": True}
        # unless asked for, no advice on what else could be installed
        options.setdefault("low_cpu_mem_usage", is_accelerate_available())
        try:
            model, info = super().from_pretrained(place, **options)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:300]
            raise UserError(f"{folder} cannot be loaded: {why}: copy or save it again") from None
        for what, has in (("missing", "lacks the tensor"), ("unexpected", "holds another tensor,")):
            for name in info[f"{what}_keys"]:
                raise UserError(f"{folder} {has} {name!r}: copy or save it again")
        try:
            check_tensors(model.state_dict(), model.state_dict(), "copy or save it again")
        except UserError as error:
            raise UserError(f"{folder}: {error}") from None
        return (model, info) if wants_info else model

    def forward(
        self,
        hidden_states: Float[Tensor, "B C H W"],
        timestep: PatchTime | Float[Tensor, " B"] | Float[Tensor, "B N"],
        class_labels: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        return_dict: bool = True,
    ) -> PatchForcingTransformer2DOutput | tuple[Tensor, Tensor | None]:
        """The velocity at hidden_states, x_t.

        timestep: flow time in [0, 1], 0 is noise: one for each image, or for each patch.
        class_labels, or encoder_hidden_states: the condition, of the kind that the config names;
        without them the null condition.
        """
        condition = class_labels if encoder_hidden_states is None else encoder_hidden_states
        output = self.dit(hidden_states, timestep, condition)
        if not return_dict:
            return output.velocity, output.logvar
        return PatchForcingTransformer2DOutput(output.velocity, output.logvar)

    @apply_forward_hook
    def ready(self) -> PatchDiT:
        """The network, on the device that offloading computes on."""
        return self.dit


PatchForcingTransformer2DModel.__module__ = MODULE

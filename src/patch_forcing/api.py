"""What `import patch_forcing as pf` offers: the public names, each from its home."""

from patch_forcing.core import timesteps
from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.errors import UserError
from patch_forcing.core.losses import LossTerms
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patches import spread
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.data.torch_dataset import DatasetData
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.result import PipelineResult
from patch_forcing.models.config import DataInfo, PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.loading import load_model
from patch_forcing.models.presets import preset
from patch_forcing.runs.snapshots import reconstruct_ema
from patch_forcing.runs.start import train
from patch_forcing.sampling import samplers
from patch_forcing.sampling.field import VelocityField
from patch_forcing.sampling.function_field import FunctionField
from patch_forcing.sampling.guidance import Autoguidance, ClassifierFreeGuidance
from patch_forcing.sampling.noisier import NoisierGuidance
from patch_forcing.scoring.evaluation import Evaluation
from patch_forcing.scoring.start import evaluate
from patch_forcing.training.objective import PatchForcingObjective

__all__ = [
    "Autoguidance",
    "ClassifierFreeGuidance",
    "CountedGenerator",
    "DataInfo",
    "DatasetData",
    "Evaluation",
    "FunctionField",
    "LinearPath",
    "LossTerms",
    "ModelOutput",
    "NoisierGuidance",
    "PatchDiT",
    "PatchDiTConfig",
    "PatchForcingObjective",
    "PatchTime",
    "Pipeline",
    "PipelineResult",
    "UserError",
    "VelocityField",
    "difficulty",
    "evaluate",
    "load",
    "load_model",
    "preset",
    "reconstruct_ema",
    "samplers",
    "spread",
    "timesteps",
    "train",
]

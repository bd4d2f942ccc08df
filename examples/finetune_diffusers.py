"""Fine-tune a model on your own images with accelerate, and save it as a pipeline of diffusers.

    pip install 'patch-forcing[diffusers,datasets]'
    accelerate launch examples/finetune_diffusers.py --model emoji-64 --data photos --out tuned

--data is a folder of images, with a subfolder for each class or with none, or a data set of the
Hub; the model is one of classes. Those that it knows by name keep their weights.
`patch-forcing train` does more: it resumes exactly, shards, and watches. This script is for a loop
that you want to change.
"""

import argparse
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import load_dataset
from PIL import ImageOps
from torch.utils.data import DataLoader
from tqdm import tqdm

import patch_forcing as pf
from patch_forcing.diffusers import PatchForcingPipeline, PatchForcingTransformer2DModel
from patch_forcing.models.warm_start import warm_start
from patch_forcing.training.ema import ema_share, update_ema


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="bundled name, folder, or Hub id")
    parser.add_argument("--data", required=True, help="folder of images, or data set of the Hub")
    parser.add_argument("--out", required=True, help="folder of the pipeline")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32, help="images a step and process")
    parser.add_argument("--gradient-accumulation-steps", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--ema-decay", type=float, default=0.999)
    parser.add_argument("--drop-condition", type=float, default=0.1)
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def load_pipeline(name: str) -> PatchForcingPipeline:
    """A pipeline of diffusers, or a model of this library."""
    if (Path(name) / "model_index.json").is_file():
        return PatchForcingPipeline.from_pretrained(name)
    return PatchForcingPipeline.from_patch_forcing(name)


def load_images(data: str) -> Any:
    """The training split of a folder, or of a data set of the Hub."""
    if Path(data).is_dir():
        return load_dataset("imagefolder", data_dir=data, split="train")
    return load_dataset(data, split="train")


def make_loader(images: Any, own: pf.Pipeline, options: argparse.Namespace) -> DataLoader:
    """Batches of pixels (B, C, H, W), uint8, and of classes (B,), or None without classes."""
    channels, height, width = own.image_shape
    mode = {1: "L", 3: "RGB"}[channels]

    def collate(rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        fitted = [ImageOps.fit(row["image"].convert(mode), (width, height)) for row in rows]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in fitted]))
        pixels = pixels.view(len(rows), height, width, channels).permute(0, 3, 1, 2)
        labels = [row["label"] for row in rows] if "label" in images.features else None
        return pixels, None if labels is None else torch.tensor(labels)

    return DataLoader(
        images,
        options.batch_size,
        shuffle=True,
        drop_last=len(images) >= options.batch_size,
        num_workers=options.workers,
        collate_fn=collate,
    )


def with_classes(dit: pf.PatchDiT, images: Any) -> pf.PatchDiT:
    """The network with the classes of the images. Raises UserError if it knows no classes."""
    if dit.config.condition != "class":
        raise pf.UserError(f"a model of {dit.config.condition}: give --model one of classes")
    label = images.features.get("label")
    names = () if label is None else tuple(label.names)
    config = replace(dit.config, num_classes=len(names))
    fresh = pf.PatchDiT(config, replace(dit.data_info, class_names=names))
    fresh.load_state_dict(warm_start(dit.description(), fresh).weights)
    return fresh


def train(options: argparse.Namespace) -> PatchForcingPipeline:
    """The fine-tuned pipeline, which the first process saves."""
    accelerator = Accelerator(
        mixed_precision=options.mixed_precision,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
    )
    set_seed(options.seed)  # the same new classes in every process
    images, pipe = load_images(options.data), load_pipeline(options.model)
    dit = with_classes(pipe.transformer.dit, images).to(accelerator.device)
    average = deepcopy(dit)
    pipe.to(accelerator.device)
    own = pipe.to_patch_forcing()  # encodes: pixels stay, latents are the autoencoder's
    objective = pf.PatchForcingObjective(
        pf.LinearPath(dit.patch_size), pf.timesteps.LogitNormalTruncatedGaussian()
    )
    optimizer = torch.optim.AdamW(dit.parameters(), lr=options.learning_rate, weight_decay=0.0)
    loader = make_loader(images, own, options)
    model, optimizer, loader = accelerator.prepare(dit.train(), optimizer, loader)
    set_seed(options.seed, device_specific=True)  # each process its own noise
    step, bar = 0, tqdm(total=options.steps, disable=not accelerator.is_main_process)
    while step < options.steps:
        for pixels, labels in loader:
            if step == options.steps:
                break
            with accelerator.accumulate(model):
                if labels is not None:
                    dropped = torch.rand(len(labels), device=labels.device) < options.drop_condition
                    labels = dit.drop_condition(labels, dropped)
                loss = objective(model, own.encode(pixels), labels)
                accelerator.backward(loss.total)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(dit.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                step += 1
                share = ema_share(step, options.ema_decay)
                update_ema(average.parameters(), dit.parameters(), share)
                bar.update()
                bar.set_postfix(loss=f"{loss.total.item():.4f}")
    pipe.transformer = PatchForcingTransformer2DModel.of(average.eval())
    if accelerator.is_main_process:
        pipe.save_pretrained(options.out)
    accelerator.end_training()
    return pipe


if __name__ == "__main__":
    train(read_options())

"""A small classifier of a data set's own classes, whose features are a second measure.

    python -m benchmarks.natural.classifier --data cifar10 --images DIR --out FILE.safetensors

DIR holds train/CLASS/… and the folder of held-out images. The network is the residual one of the
emoji features, trained here from nothing on the training images, shifted and mirrored. Its accuracy
on held-out images is printed, and stored in the file.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.learning import learn
from benchmarks.common.options import command_line
from benchmarks.common.record import Row, provenance
from benchmarks.emoji.features import logits_of
from benchmarks.natural.real import RealImages
from benchmarks.natural.settings import SETS
from patch_forcing.core.errors import UserError
from patch_forcing.features.emoji import EmojiNet
from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.io.atomic import atomic_file

EPOCHS, BATCH, RATE = 60, 256, 3e-3
SHIFT = 8
"""A part of the side: so far images are shifted."""
_ABOUT = "about"


def trained(real: RealImages, classes: int, epochs: int, device: str) -> EmojiNet:
    """The network, on so many passes over the images."""
    torch.manual_seed(0)
    batch_size = min(BATCH, len(real.labels))
    pixels, labels = real.pixels.to(device), real.labels.to(device)

    def batch(_: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(labels), (batch_size,), device=device)
        return shifted(pixels[chosen].float() / 127.5 - 1), labels[chosen]

    return learn(
        EmojiNet(classes),
        batch,
        epochs * len(labels) // batch_size,
        device,
        logits=logits_of,
        rate=RATE,
        weight_decay=0.05,
        smoothing=0.1,
        average_decay=0.995,
    )


def shifted(x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B C S S"]:
    """Each image moved at random, its edge reflected, and half of them mirrored."""
    count, side = len(x), x.shape[-1]
    reach = side // SHIFT
    wide = F.pad(x, (reach,) * 4, mode="reflect")
    first = torch.randint(2 * reach + 1, (2, count, 1), device=x.device)
    rows, columns = first + torch.arange(side, device=x.device)  # (B, S) each
    columns = torch.where(torch.rand(count, 1, device=x.device) < 0.5, columns.flip(1), columns)
    image = torch.arange(count, device=x.device)[:, None, None]
    return wide.movedim(1, 3)[image, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def save(net: EmojiNet, file: Path, about: Row) -> None:
    """Weights in fp16, with what is known of them."""
    tensors = {
        name: (weights.half() if weights.is_floating_point() else weights).cpu().contiguous()
        for name, weights in net.state_dict().items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as aside:
        save_file(tensors, aside, metadata={_ABOUT: json.dumps(about)})


def load_classifier(file: Path, name: str) -> tuple[ModuleEncoder, Row]:
    """The feature network, and what is known of it. name: of its data.

    Raises UserError if the file is of other data.
    """
    with safe_open(file, "pt") as opened:
        about: Row = json.loads(opened.metadata()[_ABOUT])
    if about["data"] != name:
        raise UserError(f"{file} is a classifier of {about['data']}, not of {name}: name another")
    weights = {
        key: value.float() if value.is_floating_point() else value
        for key, value in load_file(file).items()
    }
    net = EmojiNet(len(weights["head.bias"]))
    net.load_state_dict(weights)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    size = (about["size"], about["size"])
    return ModuleEncoder(net, f"classifier-{name} {digest}", size=size, pool=net), about


def make_classifier(
    name: str, train: RealImages, held_out: RealImages, file: Path, epochs: int, device: str
) -> None:
    """Learn, round to fp16, save; and count mistakes on held-out images."""
    started = time.perf_counter()
    net = trained(train, len(train.class_names), epochs, device)
    for weights in net.state_dict().values():
        if weights.is_floating_point():
            weights.copy_(weights.half())
    seen = [named(net, part, device) for part in held_out.pixels.split(500)]
    accuracy = float((torch.cat(seen) == held_out.labels).float().mean())
    about = {
        **provenance(__file__, device),
        "data": name,
        "size": train.pixels.shape[-1],
        "epochs": epochs,
        "images": len(train.labels),
        "held_out": len(held_out.labels),
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - started, 1),
    }
    save(net, file, about)
    print(f"classifier of {name}: {accuracy:.1%} of held-out images named right", flush=True)


@torch.no_grad()
def named(net: EmojiNet, pixels: UInt8[Tensor, "M 3 S S"], device: str) -> Tensor:
    """The class that it takes each image for."""
    return logits_of(net, pixels.to(device).float() / 127.5 - 1).argmax(dim=1).cpu()


def main() -> None:
    """Make one."""
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=SETS, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options: argparse.Namespace = parser.parse_args()
    one = SETS[options.data]
    train = RealImages.of(options.images / "train", one.size)
    held_out = RealImages.of(options.images / one.held_out, one.size)
    make_classifier(options.data, train, held_out, options.out, options.epochs, options.device)


if __name__ == "__main__":
    main()

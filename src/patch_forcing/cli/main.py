"""`patch-forcing COMMAND …`: finds the command; errors end in one line and exit status 2."""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from patch_forcing.cli.streams import keep_streams
from patch_forcing.core.errors import UserError, is_out_of_memory, unknown_name

COMMANDS = {
    "demo": "images, difficulty maps and a film from the bundled model",
    "train": "train a named recipe; the same command again resumes",
    "resume": "go on with a training, whatever it was begun with",
    "plot": "the curves of one or several trainings in one picture",
    "info": "what a model or a run is: classes, sizes, recommended sampling, progress",
    "sample": "images from a bundled, trained or exported model",
    "edit": "repaint parts of an image, each as much as a mask says",
    "studio": "a page in the browser: sample, watch, paint, compare",
    "ema": "averaged weights of other lengths, after training",
    "convert": "published checkpoints (PFT, SiT, Self-Flow, DiT) to model folders, and back",
    "push": "a model to the Hugging Face Hub, with a model card",
    "bench": "how good and how fast samplers of a model are on this machine",
    "encode": "images to latents, which imagenet256 recipes train on",
    "evaluate": "how good samples are: distances with intervals; compare; difficulty",
    "data": "build a data set (emoji), or check images: a folder, shards, the Hub",
    "doctor": "versions, devices, optional parts: what works here, and how to get the rest",
}
"""Each is the function of that name, in the module of that name beside this one."""


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "usage: patch-forcing COMMAND [OPTIONS]\n\n"
        "Image generation in which every patch of the image has its own clock.\n\n"
        f"commands:\n{rows}\n\n"
        "patch-forcing COMMAND --help shows a command's options and their defaults.\n"
        "New here? patch-forcing demo"
    )


def run(args: Sequence[str]) -> None:
    """Run the command that `args` name. Raises UserError for a mistake of the user's."""
    if not args or args[0] in ("-h", "--help"):
        print(_help())
    elif args[0] == "--version":
        from patch_forcing import __version__

        print(f"patch-forcing {__version__}")
    elif args[0] in COMMANDS:
        # imported when it is needed: help and mistakes are answered before torch is loaded
        command = getattr(import_module(f"patch_forcing.cli.{args[0]}"), args[0])
        command(args[1:])
    else:
        raise unknown_name("command", args[0], COMMANDS)


def main() -> None:
    """The entry point: exit status 0, 2 for a user's mistake, 130 after Ctrl-C.

    Training ends with 130 after SIGTERM and SIGUSR1 too.
    """
    # Before torch is loaded: threads that wait (GNU OpenMP) spin for some microseconds, not for
    # milliseconds, which would starve each other as soon as another program is busy.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Pillow's remarks on a file come with the file's name, where they matter
    warnings.filterwarnings("ignore", module="PIL")
    keep_streams()
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
        _exit(0)
    except UserError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt as stop:
        _fail(str(stop) or "stopped by Ctrl-C: nothing more was written", 130)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}: choose another place, or make room", 2)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail(
            "out of memory: lower --batch-size or the network's sizes, or train with more "
            "--accumulate",
            2,
        )


def _fail(message: str, status: int) -> None:
    print(f"patch-forcing: {' '.join(message.split())}", file=sys.stderr)
    _exit(status)


def _exit(status: int) -> None:
    if "RANK" in os.environ:
        # one of several that train together: at its end, torch's threads may abort the process
        # (std::terminate, seen once in ten), and torchrun would report that instead
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()

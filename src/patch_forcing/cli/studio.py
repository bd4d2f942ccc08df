"""`patch-forcing studio [MODEL …]`."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated

from tyro.conf import Positional, arg

from patch_forcing.cli.options import DeviceName, parse, parse_device
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.extras import install_line
from patch_forcing.generation.find import bundled_names, check_model

FIRST_PORT, PORTS = 7860, 100
_MODELS = "Bundled names, run folders, model folders or Hub ids. Default: the bundled models."


@dataclass(frozen=True)
class Options:
    """What `studio` takes."""

    models: Positional[Annotated[tuple[str, ...], arg(metavar="MODEL", help=_MODELS)]] = ()
    port: int | None = None
    """Where the page is. Default: the first free port from 7860 on."""
    host: str = "127.0.0.1"
    """Who can open the page: 127.0.0.1, this machine alone; 0.0.0.0, everybody on the network."""
    open: bool = False
    """Also open the page in a browser."""
    device: DeviceName = None


def studio(args: Sequence[str]) -> None:
    """Run the command."""
    options = parse(
        Options,
        args,
        prog="patch-forcing studio",
        description="A page in the browser: sample, watch the times and the difficulty of patches, "
        "paint what may change, compare samplers.",
        example="patch-forcing studio emoji-64",
    )
    models = list(dict.fromkeys(options.models)) or _bundled()
    for model in models:
        check_model(model)
    if options.port is not None:
        check_range("--port", options.port, 1, 65535)
    port = free_port(options.host, options.port)
    if find_spec("gradio") is None:
        raise UserError(
            f"the studio needs Gradio, which is not installed: {install_line('studio')}"
        )
    device = parse_device(options.device)
    from patch_forcing.studio.serve import serve

    serve(models, device, options.host, port, options.open)


def free_port(host: str, port: int | None) -> int:
    """That port, or else the first that is free. Raises UserError if it is in use, or cannot be."""
    for number in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[
                0
            ]
            with socket.socket(family, kind) as there:
                there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                there.bind(address)
                return number
        except socket.gaierror:
            raise UserError(f"--host {host} is unknown: give an address, such as 0.0.0.0") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(
                    f"--host {host} is not an address of this machine: give 127.0.0.1 or 0.0.0.0"
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise UserError(
                    f"--port {number} cannot be used ({error.strerror}): choose one above 1023"
                ) from None
    if port is None:
        raise UserError(
            f"all ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are in use: give --port"
        )
    raise UserError(f"--port {port} is in use by another program: choose another, or leave it out")


def _bundled() -> list[str]:
    """The bundled models; first the one whose first picture comes soonest."""
    return sorted(bundled_names(), key=lambda name: (name != "emoji-64", name == "digits"))

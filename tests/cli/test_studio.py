"""`patch-forcing studio` up to where it opens the page."""

import socket
from importlib.util import find_spec

import pytest

from patch_forcing.cli.studio import FIRST_PORT, _bundled, free_port


def test_a_port_in_use_is_one_line_and_without_one_the_next_is_taken(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(f"studio digits --port {port}", f"--port {port} is in use by another program")
        assert free_port("127.0.0.1", None) >= FIRST_PORT
    assert free_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_refused(refused):
    refused("studio digits --host 192.0.2.1", "not an address of this machine")


@pytest.mark.skipif(find_spec("gradio") is not None, reason="Gradio is installed")
def test_without_gradio_a_line_says_how_to_get_it(refused):
    refused("studio digits", "the studio needs Gradio, which is not installed: pip install")


def test_the_studio_offers_all_bundled_models_the_quickest_first():
    assert _bundled() == ["emoji-64", "emoji-text", "digits"]

"""The page as a server of this machine. It needs Gradio."""

import os
import time
from collections.abc import Sequence

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before it is imported: it says so then

import gradio as gr

from patch_forcing.studio.desk import Studio
from patch_forcing.studio.layout import asset
from patch_forcing.studio.page import build

FONTS = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
MAX_FILE = "64mb"
"""Of images that are loaded."""


def _theme() -> gr.themes.Base:
    """Plain labels, and fonts that every machine has."""
    theme = gr.themes.Soft(font=FONTS, font_mono=MONO)
    return theme.set(
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_info_text_color="*neutral_500",
        body_text_color_subdued="*neutral_600",
    )


def launch(studio: Studio, host: str, port: int, *, show: bool = False) -> gr.Blocks:
    """Serves the page until it is closed, from threads of its own, and returns it.

    Nothing is asked of any other machine: fonts are the browser's own. show: open a browser.
    """
    page = build(studio)
    page.launch(
        server_name=host,
        server_port=port,
        inbrowser=show,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        max_file_size=MAX_FILE,
        theme=_theme(),
        css=asset("style.css"),
    )
    return page


def serve(models: Sequence[str], device: str, host: str, port: int, show: bool) -> None:
    """Serves the page until Ctrl-C."""
    page = launch(Studio(models, device), host, port, show=show)
    print(f"studio of {', '.join(models)}: {page.local_url} (Ctrl-C ends it)", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("closed")
    finally:
        page.close(verbose=False)

"""References that are no plain folder: shards of WebDataset, and data sets of the Hub or a disk."""

from patch_forcing.data.layout import Layout
from patch_forcing.scoring.folder_images import LayoutImages
from patch_forcing.scoring.images import Size
from patch_forcing.scoring.places import HUB, hub_source, in_our_words


def data_set(name: str, size: Size | None) -> LayoutImages:
    """Its images, fitted to that height and width. Raises UserError if they cannot be had."""
    with in_our_words():
        return LayoutImages(_layout(name), name, size)


def _layout(name: str) -> Layout:
    if not name.startswith(HUB):
        from patch_forcing.data.shards import find_shards

        return find_shards(name)
    from patch_forcing.data.hub import hub_layout, load_rows

    source = hub_source(name)
    source.check()
    return hub_layout(source, load_rows(source))

"""Reading every image of a data set for the command line."""

from pathlib import Path

import torch
from PIL import Image

from patch_forcing.data.captions import texts_of
from patch_forcing.data.check import check_images
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.layout import Layout
from patch_forcing.data.notes import printable
from patch_forcing.data.overview import in_turn
from patch_forcing.generation.gallery import save_sheet
from patch_forcing.text.normal import short
from patch_forcing.views.images import to_pil
from patch_forcing.views.progress import progress_bar


def read_all(data: ImageData) -> list[tuple[int, int]]:
    """Widths and heights of the images that can be read; the others are named."""
    sizes = []
    with progress_bar(None, total=data.num_samples, unit="image") as bar:
        for number, size in enumerate(check_images(data.layout)):
            bar.update()
            if isinstance(size, tuple):
                sizes.append(size)
                continue
            with bar.external_write_mode():
                print(f"bad: {data.layout.place(number)}: {size}", flush=True)
    return sizes


def draw_some(data: ImageData, file: Path) -> Path:
    """The sheet of some images, with their classes, captions or names below."""
    images, names, layout = [], [], data.layout
    for number in in_turn(layout):
        picture = data.picture(number)
        if picture is None:
            continue
        images.append(to_pil(((picture + 1) * 127.5).round().to(torch.uint8)))
        names.append(printable(_name(layout, number)))
        if len(images) == 16:
            break
    file.parent.mkdir(parents=True, exist_ok=True)
    side = max(max(image.size) for image in images)
    save_sheet([_on_square(image, side) for image in images], names, file)
    return file


def _on_square(image: Image.Image, side: int) -> Image.Image:
    """In the middle of white, for a sheet of images of several sizes."""
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _name(layout: Layout, number: int) -> str:
    if layout.class_names:
        return layout.class_names[layout.labels[number]]
    texts = texts_of(layout.captions[number]) if layout.captioned else ()
    return short(texts[0], 30) if texts else Path(layout.names[number]).name

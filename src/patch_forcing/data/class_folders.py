"""Which folder names the class of an image, where folders lie in folders."""

from collections.abc import Iterable, Sequence

from patch_forcing.core.errors import UserError
from patch_forcing.data.notes import listed, printable
from patch_forcing.data.splits import splits_among
from patch_forcing.data.tree import Tree, parent


def class_folder(image: str, depth: int) -> str:
    """The class of an image by its path: the first `depth` folders of it, or those that it has."""
    return "/".join(image.split("/")[:-1][:depth])


def class_folders(images: Iterable[str], depth: int) -> list[str]:
    """The folders that name the images' classes; none unless every image lies in one."""
    if not depth:
        return []
    images = list(images)
    folders = sorted({class_folder(image, depth) for image in images})
    return folders if all(image.count("/") >= depth for image in images) else []


def check_depth(tree: Tree, depth: int) -> None:
    """Raises UserError if an image lies above the folders that name classes.

    Images that all lie right in the root have no classes, which is right for the first level.
    """
    levels = {image.count("/") for image in tree.images}
    if depth == 0 or min(levels) >= depth or (depth == 1 and levels == {0}):
        return
    above = next(image for image in tree.images if image.count("/") < depth)
    place = printable(str(tree.root / above))
    without = "--data.depth 0 (all without classes)"
    if min(levels) == 0 < max(levels):
        folder = next(image for image in tree.images if "/" in image).partition("/")[0]
        raise UserError(
            f"{place} lies beside folders of images, such as {printable(folder)}: put it into the "
            f"folder of a class, or add {without}"
        )
    deepest = max(levels)
    if deepest < depth:
        where = f"{deepest} folder{'s' * (deepest > 1)} deep at most" if deepest else "in no folder"
        less = f"choose --data.depth {deepest}" if deepest > 1 else "leave it out"
        raise UserError(
            f"data.depth={depth}, but images of {tree.root} lie {where}, such as {place}: {less}"
        )
    raise UserError(
        f"{place} lies above level {depth}, whose folders are the classes (data.depth={depth}): "
        f"put it into one of them, or choose --data.depth {min(levels)}, or {without}"
    )


def deeper_classes(images: Sequence[str], depth: int) -> str:
    """What the next level of folders would make of the images, in words; empty if there is none."""
    inner = sorted({parent(image) for image in images if image.count("/") > depth})
    if not inner:
        return ""
    names = {folder.split("/")[depth] for folder in inner}
    if len(splits := splits_among(sorted(names))) > 1:
        return f"{listed(splits)} within {class_folder(inner[0], depth)} are taken together"
    next_level = class_folders(images, depth + 1)
    if len(next_level) == len(class_folders(images, depth)):
        return ""
    folders = f"folders such as {printable(inner[0])} belong to {class_folder(inner[0], depth)}"
    if not next_level:
        return folders
    return f"{folders}: --data.depth {depth + 1} makes {len(next_level)} classes of them, 0 none"

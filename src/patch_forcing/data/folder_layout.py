"""Which images a folder holds, and what their classes and captions are.

Either all lie in the folder itself, or all lie in subfolders, one for each class, however deep in
them. Files beside an image may hold its label or caption. Or a metadata.jsonl or its like names the
images, wherever below its folder they lie. Where more than one reading is possible, none is
guessed.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import ENOUGH_ANNOTATED, Annotation, conditions
from patch_forcing.data.beside import ROLES, Beside, files_beside
from patch_forcing.data.class_folders import (
    check_depth,
    class_folder,
    class_folders,
    deeper_classes,
)
from patch_forcing.data.image_kinds import ENDINGS
from patch_forcing.data.image_options import Condition, check_folder, other_recipe
from patch_forcing.data.layout import Layout
from patch_forcing.data.metadata import Described, read_tables, tables_around
from patch_forcing.data.notes import Notes, joined, listed, source
from patch_forcing.data.own_outputs import SAMPLES
from patch_forcing.data.sidecars import Role
from patch_forcing.data.splits import doubtful, splits_among
from patch_forcing.data.tree import Tree, parent, scan

_CONTAINERS = frozenset((
    "images", "image", "imgs", "img", "pictures", "photos", "files", "data", "jpg", "jpeg", "png",
    "jpegimages", "masks", "mask", "labels", "annotations",
))  # fmt: skip
"""Names of folders that sort files by what they are, not by what they show."""


def find_images(root: Path, condition: Condition | None = None, depth: int = 1) -> Layout:
    """The images of a folder, in an order that does not depend on the file system.

    A name with an image's ending is one, whatever lies there, and so is a file that begins as one.
    Our own outputs, hidden files, other files and links that lead back are left aside.
    condition: what goes with them; None is what is there, classes before captions.
    depth: how many folders below `root`, one in the other, name a class; 0: folders name none.
    Raises UserError saying what lies there if it is not arranged so.
    """
    check_folder(root)
    tree = scan(root)
    own = tree.outputs.get("", SAMPLES)
    if own != SAMPLES:
        raise UserError(f"{root} holds {own} of patch-forcing: give a folder of images")
    described, unread = read_tables(tree)
    if not tree.images and described is None:
        note = tree.aside()
        mend = other_recipe(root) or f" of {', '.join(ENDINGS)}{f'; {note}' if note else ''}"
        raise UserError(f"{root} holds no images: give a folder{mend}")
    top = [name for name in tree.top_folders if tree.holds_images(name)]
    _check_splits(root, top, described)
    classes = class_folders(tree.images, depth)
    if described is not None and described.says_nothing and len(classes) > 1:
        # so the folders may be classes
        unread += [f"{table.file} (no field label, text or the like)" for table in described.tables]
        described = None
    if described is not None:
        return _described(tree, described, condition, unread, classes, depth)
    return _arranged(tree, condition, unread, top, depth)


def _described(
    tree: Tree,
    described: Described,
    condition: Condition | None,
    unread: list[str],
    folders: list[str],
    depth: int,
) -> Layout:
    """The images that tables name. folders: those that would be classes without them."""
    rows, doubts, tables = list(described.rows.values()), list[str](), described.tables
    labels, captions = Counter[str](), Counter[str]()
    for table in tables:
        labels.update(table.labels)
        captions.update(table.captions)
    places = listed([table.file for table in tables], 3)
    by = [f"{listed(names, 3)} of {places}" if names else "" for names in (labels, captions)]
    if len(folders) > 1 and not labels and not any(table.unlabelled for table in tables):
        if condition == "class":
            named = zip(rows, described.rows, strict=True)
            rows = [row._replace(label=class_folder(name, depth)) for row, name in named]
            by[0] = "folder"
        else:
            doubts.append(f"folders {listed(folders)} are no classes (--data.condition class)")
    if len(splits := splits_among(folders)) > 1:
        doubts.append(f"{listed(splits)} are taken together")
    known = conditions(rows, condition, str(tree.root))
    mend = " (call labels label, captions text)" if described.says_nothing else ""
    unread += [f"fields {fields}{mend}" for fields in described.fields_aside]
    others = files_beside(tree).kinds_of(None, *ROLES)
    unread += [f"{others} (of images that {places} describes)"] if others else []
    notes = Notes(
        source(str(tree.root), known, *by),
        tree.aside(table.file for table in tables),
        joined(unread),
        joined(doubts),
    )
    stamp = repr(rows).encode()
    return Layout(tree.root, tuple(described.rows), *known, annotations=stamp, notes=notes)


def _arranged(
    tree: Tree, condition: Condition | None, unread: list[str], folders: list[str], depth: int
) -> Layout:
    """The images as they lie in folders, or in none, with what lies beside each of them."""
    root, here = tree.root, tree.folders[""].images
    if condition not in ("none", "caption"):
        check_depth(tree, depth)
    beside = files_beside(tree)
    rows, roles, by_folder = _rows(beside, condition, 0 if here else depth)
    known = conditions(rows, condition, str(root))
    stamp = ""
    if known.condition == "caption":
        stamp = repr([row.caption for row in rows])
    elif known.condition == "class" and not by_folder:
        stamp = repr([row[:2] for row in rows])
    labels = "folder" if by_folder else _by(beside, roles, "label", rows)
    if condition != "none":
        unread += _unread(beside, roles, by_folder)
    if known.condition == "none" and here and condition is None:
        unread += tables_around(root)
    notes = Notes(
        source(str(root), known, labels, _by(beside, roles, "caption", rows)),
        tree.aside(beside.files(roles)),
        joined(unread),
        joined(_doubts(tree, folders, depth) if by_folder and known.condition == "class" else []),
    )
    return Layout(root, tuple(tree.images), *known, annotations=stamp.encode(), notes=notes)


def _rows(
    beside: Beside, condition: Condition | None, depth: int
) -> tuple[list[Annotation], Sequence[Role], bool]:
    """What is known of each image, by files of which roles, and whether folders are the classes."""
    images = beside.images
    if condition == "none":
        return [Annotation()] * len(images), (), depth > 0
    if condition == "caption" or not depth:
        rows = beside.read()
        annotated = any(row != Annotation() for row in rows)
        return rows, ROLES if annotated else (), depth > 0
    if beside.has("label", "json"):
        rows = beside.read(("label", "json"))
        if sum(row.label is not None for row in rows) >= ENOUGH_ANNOTATED * len(rows):
            return rows, ("label", "json"), False
    return [Annotation(class_folder(image, depth)) for image in images], (), True


def _by(beside: Beside, roles: Sequence[Role], role: Role, rows: Sequence[Annotation]) -> str:
    """Which files beside the images give labels, or captions; also if they are not taken."""
    of_role = beside.kinds_of(role)
    given = [row.label if role == "label" else row.caption for row in rows]
    if role not in roles or any(value is not None for value in given):
        return of_role or beside.kinds_of("json") * ("json" in roles)
    return ""


def _unread(beside: Beside, roles: Sequence[Role], by_folder: bool) -> list[str]:
    """Files beside the images that may say something of them, and are not read."""
    others, notes = beside.kinds_of(None), list(beside.apart)
    if others:
        notes.append(f"{others} (.txt, .caption, .cls and .json are read)")
    if "json" not in roles and beside.has("json", "label"):
        why = "no field label, caption or the like"
        if by_folder:
            why = "too few have a label"
            why += "; for captions add --data.condition caption" * beside.has("json")
        notes.append(f"{beside.kinds_of('json', 'label')} ({why})")
    return notes


def _doubts(tree: Tree, folders: list[str], depth: int) -> list[str]:
    """Which of the folders, taken for classes, may be none, and what else they may be.

    folders: right below the root.
    """
    root, deeper = tree.root, deeper_classes(tree.images, depth)
    if len(folders) == 1 and depth == 1:
        inner = os.path.commonpath([parent(image) for image in tree.images])
        return [f"{folders[0]} is the only class: give {root / inner} if it is none"]
    if all(name.lower() in _CONTAINERS for name in folders):
        return [
            f"{listed(folders)} are taken for classes: give {root / folders[0]} if they are none"
        ]
    if all(re.fullmatch(r"0\d{3,}", name) for name in folders):
        return [f"{listed(folders, 3)} may be parts, no classes: --data.condition none, or caption"]
    doubts = [
        f"{name} is taken for a class: give {root / name} if it is a split"
        for name in doubtful(folders)
    ]
    return doubts + ([deeper] if deeper else [])


def _check_splits(root: Path, folders: list[str], described: Described | None) -> None:
    """Raises UserError if folders are splits; but a table may name the images of all of them."""
    splits = splits_among(folders)
    tables = described.tables if described is not None else ()
    if not splits or any(not parent(table.file) for table in tables):
        return
    if tables and len(folders) == 1:
        return
    others = [name for name in folders if name not in splits]
    mend = f", or rename what is a class, as {listed(others)} may be" if others else ""
    what, which = ("splits", "one of them") if len(splits) > 1 else ("split", "it")
    raise UserError(
        f"{root} holds the {what} {listed(splits)}, no classes: give {which}, "
        f"--data.path {root / splits[0]}{mend}"
    )

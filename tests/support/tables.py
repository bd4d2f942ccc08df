"""Labels and captions of four images, and how files write them."""

import json

NAMES = [f"{i:03d}.png" for i in range(4)]
CLASSES = ["cat", "owl", "cat", "owl"]
TEXTS = [f"a {name}" for name in CLASSES]
ROWS = [{"file_name": n, "label": c} for n, c in zip(NAMES, CLASSES, strict=True)]
CAPTIONED = [{"file_name": n, "text": t} for n, t in zip(NAMES, TEXTS, strict=True)]


def lines(rows):
    return "\n".join(map(json.dumps, rows))


def table(head, values, separator=","):
    rows = [separator.join(row) for row in zip(NAMES, values, strict=True)]
    return "\n".join([head, *rows])

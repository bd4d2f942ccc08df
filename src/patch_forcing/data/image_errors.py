"""Why an image could not be read, and whether another try may help."""

import errno

from PIL import Image, UnidentifiedImageError

_LASTING = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that would be the same a moment later; any other, such as a server's, may pass."""


def may_pass(error: Exception) -> bool:
    """Whether the system failed, not Pillow, whose errors have no number."""
    number = error.errno if isinstance(error, OSError) else None
    return number is not None and number not in _LASTING


def why_unreadable(error: Exception) -> str:
    """A few words that are the same for the same file, wherever and whenever it is read."""
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known kind, or its header is damaged"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels: perhaps a decompression bomb"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = " ".join(str(error).split())
    return reason if isinstance(error, OSError) and reason else f"{type(error).__name__}: {reason}"

"""Whether a JPEG file holds all of its image.

The decoder invents what is missing: a download that broke off may be filled up with zeros, and they
are drawn. Other formats have checksums or lengths that their decoders compare.
"""

import re

_END, _START, _SCAN, _ALONE = 0xD9, 0xD8, 0xDA, 0x01
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Inside a scan, 0xFF is followed by 0, or begins a restart marker; fill bytes may precede one."""


def jpeg_ends(data: bytes) -> bool:
    """Whether the end marker of the first image follows its scans, whatever is behind it.

    Segments are stepped over, and with them previews that have end markers of their own.
    """
    place, scanned = 2, False
    while marker := _MARKER.search(data, place):
        kind, place = data[marker.end() - 1], marker.end()
        if kind == _END:
            return scanned
        if kind == _START:  # another image begins, and this one has not ended
            return False
        if kind != _ALONE:
            place += int.from_bytes(data[place : place + 2])
            scanned = scanned or kind == _SCAN
    return False

"""Which autoencoder a file of weights is: a hash of what makes latents."""

import hashlib
import json
import mmap
from pathlib import Path

_OF_DECODERS = ("decoder.", "post_quant_conv.")


def weights_hash(head: str, weights: Path) -> str:
    """16 digits of a SHA-256 of what makes latents: another decoder for the same ones shares it.

    So does a copy, though its tensors be written in another order. head: what else makes latents.
    weights: a safetensors file.
    """
    digest = hashlib.sha256(head.encode())
    with (
        weights.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        length = int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8 : 8 + length]))
        for name in sorted(header.keys() - {"__metadata__"}):
            if name.startswith(_OF_DECODERS):
                continue
            row = header[name]
            first, last = (8 + length + offset for offset in row["data_offsets"])
            digest.update(f"{name} {row['dtype']} {row['shape']}".encode())
            digest.update(data[first:last])
    return digest.hexdigest()[:16]

"""Attention's kernels as the assembler left them: is a register read that nothing has written?

python -m tests.scripts.attention_registers    # needs no GPU, but Triton and its NVIDIA tools

ptxas 12.8 loses a copy of a uniform register in loops of one turn; for models/test_attention.py.
"""

import json
import math
import re
import subprocess
import tempfile
from itertools import product
from pathlib import Path

SHAPES = [*product((128, 192, 256, 1024), (3, 16), (64, 72)), (128, 5, 88), (256, 2, 104)]
"""Tokens, heads, width of a head."""
_LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+\s+)?(\S+)\s(.*?);")
_REGISTER = re.compile(r"\bUR(\d+)\b")


def unwritten(code: str) -> list[int]:
    """Of a disassembled kernel: uniform registers that are read somewhere and written nowhere."""
    written, read = set[int](), set[int]()
    for what, arguments in _LINE.findall(code):
        target, *others = (part.strip() for part in arguments.split(","))
        if first := re.fullmatch(r"UR(\d+)", target):
            number = int(first[1])
            written |= {number, number + 1} if "64" in what or "WIDE" in what else {number}
        else:
            others.append(target)
        read |= {int(number) for number in _REGISTER.findall(",".join(others))}
    return sorted(read - written)


def faults(shape: tuple[int, int, int]) -> dict[str, list[int]]:
    """By kernel, for Hopper."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from patch_forcing.models import attention_kernels as kernels

    count, heads, width = shape
    first, rest = kernels.parts(width)
    sizes = {"N": count, "H": heads, "W": width, "W1": first, "W2": rest, "SCALE": width**-0.5}
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    registers = {}
    for kernel, tiles in (
        (kernels._forward, kernels.FORWARD),
        (kernels._backward_keys, kernels.KEYS),
        (kernels._backward_queries, kernels.QUERIES),
    ):
        blocks = {"BLOCK_Q": tiles.queries, "BLOCK_KV": tiles.keys}
        constants = sizes | {name: math.gcd(count, most) for name, most in blocks.items()}
        names = kernel.arg_names
        kinds = {
            name: "constexpr" if name in constants else "*fp32" if name in SUMS else "*bf16"
            for name in names
        }
        places = {(names.index(name),): value for name, value in constants.items()}
        aligned = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(names)
            if name not in constants
        }
        made = triton.compile(
            ASTSource(kernel, kinds, places, aligned),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": tiles.warps, "num_stages": tiles.stages},
        )
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(made.asm["cubin"])
            file.flush()
            disassembled = subprocess.run(
                [tools / "nvdisasm", "-c", file.name], capture_output=True, text=True, check=True
            )
        registers[kernel.__name__] = unwritten(disassembled.stdout)
    return registers


SUMS = ("lse", "inner")

if __name__ == "__main__":
    print(json.dumps([faults(shape) for shape in SHAPES]))

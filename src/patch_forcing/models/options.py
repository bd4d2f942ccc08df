"""What a network computes in, and again: the values of options, without torch."""

from typing import Literal

Precision = Literal["fp32", "bf16", "fp8"]
"""What a network computes in when it is used; fp8: NVIDIA GPUs from Ada on, with torchao."""
Recompute = Literal["none", "gelu", "cheap", "all"]
"""Nothing that takes time; the outputs of GELU; all but products and attention; or all, from what
went in, which is a third more work (Chen et al. 2016).

Compiled, nothing that takes time are norms and what tokens take of the modulation's rows: computed
again within the kernels that need them, they are neither written nor read (docs/results/speed.md
counts it). Left alone, torch keeps them. GELU's output is the widest tensor of a block, and comes
from one as wide that is kept for GELU's gradient; it has to be written again for the product that
reads it. Not compiled, `gelu` is `cheap`: torch then keeps whatever is not computed again."""

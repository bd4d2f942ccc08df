"""Functions compiled whole by torch's compiler, with the settings that pay for our networks."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from patch_forcing.core.errors import UserError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_MAX_ROW = 2048
"""Rows of up to so many numbers a norm holds at once; torch's own limit is 1,024, and XL's have
1,152: read once, norms forward take 11.9 instead of 14.4 ms of a training step (H100)."""

_MAX_GRAPHS = 1024
"""Graphs of one function in one process. torch stops at 8, over all callers. Five trainings one
after the other would exceed that, and so would samplers, guidance and batch sizes together."""


def compiled(function: Callable[_P, _R], *, dynamic: bool | None = False) -> Callable[_P, _R]:
    """One graph for each shape that occurs; a function that cannot be one raises torch's error.

    dynamic: None has sizes that torch._dynamo.mark_dynamic names vary within one graph.
    """

    # A backend of its own: what two callers compile is not mixed up.
    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        # slow to import
        from torch._inductor.choices import InductorChoices
        from torch._inductor.compile_fx import compile_fx
        from torch._inductor.runtime.hints import ReductionHint
        from torch._inductor.virtualized import V

        class Choices(InductorChoices):
            @staticmethod
            def should_use_persistent_reduction(features: Any, cooperative: bool) -> bool:
                inner = features.get_reduction_hint() == ReductionHint.INNER
                rows = not cooperative and (inner or _reads_rows(features))
                if rows and V.graph.sizevars.statically_known_leq(
                    features.reduction_numel, _MAX_ROW
                ):
                    return True
                return InductorChoices.should_use_persistent_reduction(features, cooperative)

        with V.set_choices_handler(Choices()), _no_word_of_checkpoints():
            return compile_fx(graph, inputs)

    options: dict[str, Any] = {"fullgraph": True, "dynamic": dynamic, "backend": backend}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:  # torch 2.13
        options["recompile_limit"] = _MAX_GRAPHS
    else:
        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
        config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, _MAX_GRAPHS)
    return torch.compile(function, **options)


def check_compiler(device: torch.device | str, without: str = "leave out --compile") -> None:
    """Compiles a tiny function, so that a machine which cannot is known before any work begins.

    without: how to do without compiling. Raises UserError saying what is missing.
    """
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler  # makes its cache's folder

        if torch.device(device).type == "cpu":
            get_cpp_compiler()  # what was compiled before is found again without one
        compiled(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # torch's, its compilers', and those of the system
        why = _reason(error)
        lacks = "compiler" in why.lower() or "Python.h" in why
        mend = "install g++ and Python's headers (apt install g++ python3-dev), or " * lacks
        raise UserError(f"nothing can be compiled here ({why}): {mend}{without}") from None


def _reason(error: BaseException) -> str:
    """The line of a failed compilation that says what it lacks."""
    error = getattr(error, "inner_exception", error)  # of a backend's
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line.lower()]
    return f"{type(error).__name__}: {' '.join([*wrong, *lines, ''][:1])[:200]}"


@contextmanager
def _no_word_of_checkpoints() -> Iterator[None]:
    """Whoever chooses what is computed again is warned of in-place operations, which ours lack."""

    def others(record: logging.LogRecord) -> bool:
        return "context_fn is passed to torch.utils.checkpoint" not in record.getMessage()

    log = logging.getLogger("torch._higher_order_ops.wrap")
    log.addFilter(others)
    try:
        yield
    finally:
        log.removeFilter(others)


def _reads_rows(features: Any) -> bool:
    """Whether a reduction of inductor's that gathers, too, which its hint does not see through,
    reads whole rows, one number after the other.
    """
    whole = features.numel * features.reduction_numel
    reads = [read for node in features.reduction_nodes() for read in node.read_writes.reads]
    return any(read.is_contiguous() and read.get_numel() == whole for read in reads)


def compiled_in_training(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function for calls with gradients; without, it runs as it is.

    Whoever samples from a model in training has other shapes, and would compile graphs of them.
    """
    whole = compiled(function)

    @wraps(function)
    def either(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return (whole if torch.is_grad_enabled() else function)(*args, **kwargs)

    return either

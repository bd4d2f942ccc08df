"""A machine without a C++ compiler."""

from pathlib import Path

import pytest


def hide_compilers(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    """Until the test ends, programs are looked for in that folder alone."""
    from torch._inductor import cpp_builder

    monkeypatch.setenv("PATH", str(empty))
    # it remembers what it found before
    search = cpp_builder.cpp_compiler_search.__wrapped__
    monkeypatch.setattr(cpp_builder, "cpp_compiler_search", search)

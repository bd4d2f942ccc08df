"""Functions compiled whole."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.compiling import _reason, check_compiler, compiled
from tests.support.compilers import hide_compilers


def test_what_cannot_be_one_graph_is_an_error():
    def waits(x):
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(waits)(torch.ones(3))


def test_one_caller_leaves_room_for_the_next(monkeypatch):
    # graphs are counted before inductor makes anything of them, which takes it many seconds
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", lambda graph, _: graph.forward)

    def doubled(xs):
        return [x * 2 for x in xs]

    ones = torch.ones(2)
    with torch._dynamo.config.patch(recompile_limit=2):  # torch's own: 8, over all callers
        for _ in range(2):
            of_one_caller = compiled(doubled)
            for count in (1, 2):
                assert torch.stack(of_one_caller([ones] * count)).equal(torch.full((count, 2), 2.0))


def test_without_a_compiler_it_is_said_what_to_install(tmp_path, monkeypatch):
    hide_compilers(monkeypatch, tmp_path)
    with pytest.raises(pf.UserError) as error:
        check_compiler("cpu")
    assert str(error.value).startswith(
        "nothing can be compiled here (InvalidCxxCompiler: No working C++ compiler found"
    )
    assert str(error.value).endswith(
        "): install g++ and Python's headers (apt install g++ python3-dev), or leave out --compile"
    )


def test_of_a_failed_compilation_the_line_that_says_why_is_shown():
    output = "In file included\nx.cpp:1:10: fatal error: Python.h: No such file\n  1 | #include"
    failed = torch._inductor.exc.CppCompileError(["g++", "x.cpp"], output)
    line = "CppCompileError: x.cpp:1:10: fatal error: Python.h: No such file"
    assert _reason(failed) == line
    assert _reason(torch._inductor.exc.InductorError(failed, None)) == line
    assert (
        _reason(OSError(13, "Permission denied")) == "PermissionError: [Errno 13] Permission denied"
    )

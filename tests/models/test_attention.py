"""Attention of training: torch's on a CPU; kernels of our own are as exact as torch's."""

import json
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from patch_forcing.models.attention import attention
from tests.scripts.attention_registers import unwritten
from tests.support.scripts import run_script


def test_on_a_cpu_it_is_torchs():
    qkv = torch.randn(2, 64, 3, 2, 8, requires_grad=True)
    q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
    assert attention(qkv).equal(F.scaled_dot_product_attention(q, k, v).transpose(1, 2))


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_the_kernels_are_as_exact_as_torchs_attention(device):
    # in a process of its own: the interpreter is chosen when the kernels are imported
    interpreted = {"TRITON_INTERPRET": "1"} if device == "cpu" else {}
    printed = run_script("attention_parity", device, **interpreted)
    for shape in json.loads(printed):
        for own, its in shape:  # out, then gradients of queries, keys, values
            assert own <= 1.5 * its, shape


@pytest.mark.gpu
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_a_whole_network_learns_by_the_kernels_as_by_torchs_attention():
    errors = json.loads(run_script("attention_parity", "network"))
    assert any(own != its for own, its in errors)  # it did run by them
    for own, its in errors:
        assert own <= 1.5 * its + 1e-9


def test_a_register_that_nothing_wrote_is_found():
    code = """
        /*0000*/                   ULDC.64 UR8, c[0x0][0x218] ;
        /*0010*/              @!P0 UMOV UR4, URZ ;
        /*0020*/                   UIADD3 UR6, UP0, UR{}, 0x20, URZ ;
        /*0030*/                   UIADD3.X UR7, UR4, -0x3ffffff0, URZ, UP0, !UPT ;
        /*1cd0*/                   HGMMA.64x16x16.F32.BF16 R88, R120, gdesc[UR6].tnspB, R88 ;
        /*1ce0*/                   STS.128 [R10+UR9], R40 ;
    """
    assert unwritten(code.format(8)) == []
    assert unwritten(code.format(24)) == [24]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_the_assembler_loses_no_register_of_the_kernels():
    # in a process of its own: Triton may have been imported to interpret
    shapes = json.loads(run_script("attention_registers"))
    assert all(not registers for shape in shapes for registers in shape.values())

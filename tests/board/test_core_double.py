"""Arithmetic on doubles, which the board computes itself: one instruction each, literal results."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import pytest

from gdbflash.board.debug import HaltReason
from tests.support.boardcode import CPACR, Board, running_board
from tests.support.thumb import assemble

OPERATIONS = {
    # name: (instruction, d0 before, d1, d2, d0 after)
    "add": ("vadd.f64 d0, d1, d2", 0.0, 1.5, 2.25, 3.75),
    "sub": ("vsub.f64 d0, d1, d2", 0.0, 1.5, 2.25, -0.75),
    "mul": ("vmul.f64 d0, d1, d2", 0.0, 1.5, -2.0, -3.0),
    "nmul": ("vnmul.f64 d0, d1, d2", 0.0, 1.5, -2.0, 3.0),
    "mla": ("vmla.f64 d0, d1, d2", 1.0, 1.5, 2.0, 4.0),
    "mls": ("vmls.f64 d0, d1, d2", 1.0, 1.5, 2.0, -2.0),
    "nmla": ("vnmla.f64 d0, d1, d2", 1.0, 1.5, 2.0, -4.0),
    "nmls": ("vnmls.f64 d0, d1, d2", 1.0, 1.5, 2.0, 2.0),
    "div": ("vdiv.f64 d0, d1, d2", 0.0, 1.0, 3.0, 1.0 / 3.0),
    "div_zero": ("vdiv.f64 d0, d1, d2", 0.0, -1.0, 0.0, -math.inf),
    "fma": ("vfma.f64 d0, d1, d2", -1.0, 1.0 + 2.0**-52, 1.0 - 2.0**-52, -(2.0**-104)),
    "fms": ("vfms.f64 d0, d1, d2", 10.0, 3.0, 2.0, 4.0),
    "fnma": ("vfnma.f64 d0, d1, d2", 10.0, 3.0, 2.0, -16.0),
    "fnms": ("vfnms.f64 d0, d1, d2", 10.0, 3.0, 2.0, -4.0),
    "immediate": ("vmov.f64 d0, #-0.3125", 0.0, 0.0, 0.0, -0.3125),
    "move": ("vmov.f64 d0, d1", 0.0, 1.25, 0.0, 1.25),
    "abs": ("vabs.f64 d0, d1", 0.0, -1.25, 0.0, 1.25),
    "neg": ("vneg.f64 d0, d1", 0.0, -1.25, 0.0, 1.25),
    "sqrt": ("vsqrt.f64 d0, d1", 0.0, 2.0, 0.0, math.sqrt(2.0)),
    "rintz": ("vrintz.f64 d0, d1", 0.0, -2.7, 0.0, -2.0),
    "rinta": ("vrinta.f64 d0, d1", 0.0, 2.5, 0.0, 3.0),
    "rintn": ("vrintn.f64 d0, d1", 0.0, 2.5, 0.0, 2.0),
    "rintp": ("vrintp.f64 d0, d1", 0.0, 2.1, 0.0, 3.0),
    "rintm": ("vrintm.f64 d0, d1", 0.0, -2.1, 0.0, -3.0),
    "maxnm": ("vmaxnm.f64 d0, d1, d2", 0.0, math.nan, 2.0, 2.0),
    "minnm": ("vminnm.f64 d0, d1, d2", 0.0, 5.0, 2.0, 2.0),
    "select": ("cmp r0, r0 \n vseleq.f64 d0, d1, d2", 0.0, 5.0, 2.0, 5.0),
    "select_not": ("cmp r0, r0 \n vselgt.f64 d0, d1, d2", 0.0, 5.0, 2.0, 2.0),
    "signed": ("vmov s8, r1 \n vcvt.f64.s32 d0, s8", 0.0, 0.0, 0.0, -7.0),
    "unsigned": ("vmov s8, r1 \n vcvt.f64.u32 d0, s8", 0.0, 0.0, 0.0, 4294967289.0),
    "widen": ("vmov.f32 s9, #1.5 \n vcvt.f64.f32 d0, s9", 0.0, 0.0, 0.0, 1.5),
    "fixed": ("vcvt.f64.s32 d0, d0, #4", struct.unpack("<d", b"\xf8\xff\xff\xff\0\0\0\0")[0], 0.0, 0.0, -0.5),
}
INTEGERS = {
    # name: (instruction, d1, r0 after)
    "to_signed": ("vcvt.s32.f64 s0, d1", -2.9, 0xFFFFFFFE),
    "to_unsigned": ("vcvt.u32.f64 s0, d1", 3e9, 3000000000),
    "saturated": ("vcvt.s32.f64 s0, d1", 1e300, 0x7FFFFFFF),
    "negative_unsigned": ("vcvt.u32.f64 s0, d1", -1.0, 0),
    "rounded": ("vcvtr.s32.f64 s0, d1", 2.5, 2),
    "away": ("vcvta.s32.f64 s0, d1", 2.5, 3),
    "narrowed": ("vcvt.f32.f64 s0, d1", 0.1, 0x3DCCCCCD),
    "too_large": ("vcvt.f32.f64 s0, d1", -1e300, 0xFF800000),
    "less": ("vcmp.f64 d1, #0.0 \n vmrs apsr_nzcv, fpscr \n vmrs r2, fpscr \n vmov s0, r2", -1.0, 0x80000000),
    "unordered": ("vcmp.f64 d1, d1 \n vmrs r2, fpscr \n vmov s0, r2", math.nan, 0x30000000),
}

THUMB = assemble(
    **{name: f"{operation[0]} \n bkpt #0" for name, operation in OPERATIONS.items()},
    **{name: f"{operation[0]} \n vmov r0, s0 \n bkpt #0" for name, operation in INTEGERS.items()},
)


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    with running_board() as board:
        yield board


def put_double(board: Board, number: int, value: float) -> None:
    low, high = struct.unpack("<II", struct.pack("<d", value))
    board.write_register(f"s{2 * number}", low)
    board.write_register(f"s{2 * number + 1}", high)


def load(board: Board, name: str) -> None:
    board.load(THUMB[name], r1=0xFFFFFFF9)
    board.put(CPACR, 0x00F00000)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(board: Board, name: str) -> None:
    load(board, name)
    for number, value in enumerate(OPERATIONS[name][1:4]):
        put_double(board, number, value)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 0
    assert struct.unpack("<d", struct.pack("<II", *board.registers("s0", "s1")))[0] == OPERATIONS[name][4]
    assert board.read_register("control") == 4


@pytest.mark.parametrize("name", INTEGERS)
def test_conversions_and_comparisons(board: Board, name: str) -> None:
    load(board, name)
    put_double(board, 1, INTEGERS[name][1])
    assert board.go() is HaltReason.BREAKPOINT
    assert (board.exception(), board.read_register("r0")) == (0, INTEGERS[name][2])


def test_without_cpacr_they_fault(board: Board) -> None:
    board.load(THUMB["add"])
    board.go()
    assert (board.exception(), board.word(0xE000ED28)) == (3, 1 << 19)

"""Which instructions the board looks at, by their encodings as the assembler makes them."""

from __future__ import annotations

import pytest

from gdbflash.board.cpu.decode import Instruction, Kind, decode, is_wide, it_state, next_state, passes
from tests.support.thumb import assemble

WORDS, ACCESS = Kind.WORDS, Kind.ACCESS
EXPECTED: dict[str, Instruction | None] = {
    "wfi": Instruction(Kind.WAIT_INTERRUPT, 2),
    "wfe": Instruction(Kind.WAIT_EVENT, 2),
    "yield": Instruction(Kind.YIELD, 2),
    "nop": None,
    "sev": None,
    "wfi.w": Instruction(Kind.WAIT_INTERRUPT, 4),
    "nop.w": None,
    "isb": Instruction(Kind.BARRIER, 4),
    "dsb": None,
    "dmb": None,
    "itt eq \n nopeq \n nopeq": Instruction(Kind.IT, 2),
    "cpsie i": Instruction(Kind.UNMASK, 2),
    "cpsie f": Instruction(Kind.UNMASK, 2),
    "cpsid i": None,
    "msr primask, r1": Instruction(Kind.UNMASK, 4),
    "msr basepri, r1": Instruction(Kind.UNMASK, 4),
    "msr basepri_max, r1": Instruction(Kind.UNMASK, 4),
    "msr faultmask, r1": Instruction(Kind.UNMASK, 4),
    "msr psp, r1": None,
    "msr apsr_nzcvq, r1": None,
    "mrs r3, control": Instruction(Kind.READ_SPECIAL, 4, register=3, special="control"),
    "mrs r4, basepri_max": Instruction(Kind.READ_SPECIAL, 4, register=4, special="basepri"),
    "mrs r3, primask": None,
    "ldm r3!, {r0, r1}": Instruction(WORDS, 2, register=3),
    "stm r4!, {r0, r1}": Instruction(WORDS, 2, register=4),
    "ldmdb r8!, {r0, r1}": Instruction(WORDS, 4, register=8),
    "push {r0, r4}": None,
    "pop.w {r4, r11, pc}": None,
    "ldrd r0, r1, [r2, #16]!": Instruction(WORDS, 4, register=2),
    "strd r0, r1, [r2], #-8": Instruction(WORDS, 4, register=2),
    "ldrd r0, r1, [sp, #8]": None,
    "ldrex r0, [r5, #4]": Instruction(WORDS, 4, register=5),
    "strex r0, r1, [r6]": Instruction(WORDS, 4, register=6),
    "ldrexh r0, [r7]": Instruction(WORDS, 4, register=7, size=2),
    "strexb r0, r1, [r7]": None,
    "tbb [r0, r1]": None,
    "tbh [r0, r1, lsl #1]": None,
    "ldr r0, [r1, #4]": Instruction(ACCESS, 2, register=1, offset=4),
    "str r0, [r1, r2]": Instruction(ACCESS, 2, register=1, index=2),
    "ldrb r0, [r1, r2]": None,
    "ldrsh r0, [r1, r2]": Instruction(ACCESS, 2, register=1, size=2, index=2),
    "strh r0, [r1, #6]": Instruction(ACCESS, 2, register=1, size=2, offset=6),
    "strb r0, [r1, #6]": None,
    "ldr.w r0, [r1, #0xffc]": Instruction(ACCESS, 4, register=1, offset=0xFFC),
    "ldr r0, [r1, #-4]": Instruction(ACCESS, 4, register=1, offset=-4),
    "ldr r0, [r1, #-4]!": Instruction(ACCESS, 4, register=1, offset=-4),
    "str r0, [r1], #4": Instruction(ACCESS, 4, register=1),
    "strh.w r0, [r1, r9, lsl #3]": Instruction(ACCESS, 4, register=1, size=2, index=9, shift=3),
    "ldrsh.w r0, [r1, #0x102]": Instruction(ACCESS, 4, register=1, size=2, offset=0x102),
    "ldrt r0, [r1, #8]": Instruction(ACCESS, 4, register=1, offset=8),
    "ldrb.w r0, [r1, #5]": None,
    "pld [r1, #8]": None,
    "udiv r0, r1, r7": Instruction(Kind.DIVIDE, 4, register=7),
    "sdiv r0, r1, r8": Instruction(Kind.DIVIDE, 4, register=8),
    "umull r0, r1, r2, r3": None,
    "vldr s0, [r3, #4]": Instruction(Kind.FLOAT, 4, register=3),
    "vstm r4!, {d0, d1}": Instruction(Kind.FLOAT, 4, register=4),
    "vpush {d8}": Instruction(Kind.FLOAT, 4, size=1),
    "vmov r0, r1, d3": Instruction(Kind.FLOAT, 4, size=1),
    "vadd.f32 s0, s1, s2": Instruction(Kind.FLOAT, 4, size=1),
    "vmrs r0, fpscr": Instruction(Kind.FLOAT, 4, size=1),
    "vadd.f64 d0, d1, d2": Instruction(Kind.DOUBLE, 4),
    "vcvt.f64.f32 d0, s3": Instruction(Kind.DOUBLE, 4),
    "vcvt.f32.f64 s0, d3": Instruction(Kind.DOUBLE, 4),
    "vseleq.f64 d0, d1, d2": Instruction(Kind.DOUBLE, 4),
    "vmov d3, r0, r1": Instruction(Kind.FLOAT, 4, size=1),
    "add r0, r1, r2": None,
    "add.w r0, r1, r2": None,
    "bl .": None,
    "movw r0, #0xffff": None,
}
CODE = assemble(**{f"code{number}": text for number, text in enumerate(EXPECTED)})


@pytest.mark.parametrize(("number", "text"), list(enumerate(EXPECTED)), ids=list(EXPECTED))
def test_instructions(number: int, text: str) -> None:
    code = CODE[f"code{number}"]
    first, second = int.from_bytes(code[:2], "little"), int.from_bytes(code[2:4], "little")
    assert decode(first, second) == EXPECTED[text]


def test_wide_instructions_are_told_by_their_first_halfword() -> None:
    assert [is_wide(word) for word in (0xE7FF, 0xE800, 0xF000, 0x0000)] == [False, True, True, False]


def test_it_state_advances_as_the_manual_says() -> None:
    states = [0x03]  # ITTTE EQ
    while states[-1]:
        states.append(next_state(states[-1]))
    assert states == [0x03, 0x06, 0x0C, 0x18, 0]
    assert [state >> 4 for state in states[:4]] == [0, 0, 0, 1]
    assert it_state(0x67000000) == 0x03
    assert it_state(0x61001800) == 0x18


@pytest.mark.parametrize(
    ("flags", "true"),
    [
        (0x0, {1, 3, 5, 7, 9, 10, 12, 14}),
        (0x4, {0, 3, 5, 7, 9, 10, 13, 14}),
        (0x2, {1, 2, 5, 7, 8, 10, 12, 14}),
        (0x8, {1, 3, 4, 7, 9, 11, 13, 14}),
        (0x9, {1, 3, 4, 6, 9, 10, 12, 14}),
        (0x6, {0, 2, 5, 7, 9, 10, 13, 14}),
    ],
)
def test_conditions(flags: int, true: set[int]) -> None:
    assert {condition for condition in range(15) if passes(condition, flags << 28)} == true

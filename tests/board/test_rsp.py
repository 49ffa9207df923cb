"""What each packet means, with literal packets and a board without a machine."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.packets import frame
from gdbflash.board.faces.personality import BOARD
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.rsplink import Link, LinkConditions
from gdbflash.board.faces.rspsession import Session
from tests.support.rsp_double import RamBoard, RawClient, tcp_pair

FLOATING = {"fpscr", *(f"s{number}" for number in range(32))}


@pytest.fixture
def board() -> RamBoard:
    return RamBoard()


@pytest.fixture
def client(board: RamBoard) -> Iterator[RawClient]:
    with RspServer(board) as server, RawClient(server.port) as client:
        client.no_ack()
        yield client


def described(client: RawClient) -> ET.Element:
    text, offset = b"", 0
    while True:
        piece = client.ask(b"qXfer:features:read:target.xml:%x,100" % offset)
        text += piece[1:]
        offset += len(piece) - 1
        if piece[:1] == b"l":
            return ET.fromstring(text.decode())


def test_the_handshake(client: RawClient) -> None:
    assert client.ask(b"qSupported:multiprocess+;swbreak+") == (
        b"PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;"
        b"swbreak+;hwbreak+;vContSupported+;binary-upload+"
    )
    assert client.ask(b"vMustReplyEmpty") == b""
    assert client.ask(b"vCont?") == b"vCont;c;C;s;S;t"
    assert client.ask(b"?") == b"T05thread:1;"
    assert client.ask(b"!") == b"OK"
    assert client.ask(b"Hg0") == b"OK"
    assert client.ask(b"Hc-1") == b"OK"
    assert client.ask(b"Hg2") == b"E02"
    assert client.ask(b"T1") == b"OK"
    assert client.ask(b"T2") == b"E02"
    assert client.ask(b"qC") == b"QC1"
    assert client.ask(b"qfThreadInfo") == b"m1"
    assert client.ask(b"qsThreadInfo") == b"l"
    assert client.ask(b"qAttached") == b"1"
    assert client.ask(b"qSymbol::") == b"OK"
    assert client.ask(b"qTStatus") == b""
    assert client.ask(b"QNonStop:0") == b""
    assert client.ask(b"y") == b""
    assert client.ask(b"") == b""


def test_the_description_numbers_the_registers_as_gdb_knows_them(client: RawClient) -> None:
    registers = {reg.get("name"): reg for reg in described(client).iter("reg")}
    numbers = {name: int(reg.get("regnum", "")) for name, reg in registers.items()}
    assert [numbers[name] for name in ("r0", "r12", "sp", "lr", "pc", "xpsr")] == [0, 12, 13, 14, 15, 25]
    assert [numbers[name] for name in ("msp", "psp", "primask", "basepri", "faultmask", "control")] == [*range(26, 32)]
    assert [numbers[name] for name in ("d0", "d15", "fpscr")] == [32, 47, 48]
    assert len(set(numbers.values())) == len(numbers) == 17 + 6 + 17
    assert [feature.get("name") for feature in described(client).iter("feature")] == [
        "org.gnu.gdb.arm.m-profile",
        "org.gnu.gdb.arm.m-system",
        "org.gnu.gdb.arm.vfp",
    ]


def test_documents_that_do_not_exist_are_not_supported(client: RawClient) -> None:
    assert client.ask(b"qXfer:features:read:other.xml:0,100") == b""
    assert client.ask(b"qXfer:threads:read::0,100") == b""
    assert client.ask(b"qXfer:features:read:target.xml:100000,10") == b"l"
    assert client.ask(b"qXfer:features:read:target.xml:0") == b"E02"


def test_g_gives_registers_by_number(client: RawClient, board: RamBoard) -> None:
    board.registers["r0"] = 0x12345678
    board.registers["xpsr"] = 0x01000000
    board.registers["control"] = 4
    values = bytes.fromhex(client.ask(b"g").decode())
    assert len(values) == (17 + 6) * 4
    assert values[:4] == b"\x78\x56\x34\x12"
    assert values[64:68] == b"\x00\x00\x00\x01"
    assert values[88:] == b"\x04\x00\x00\x00"


def test_registers_one_by_one(client: RawClient, board: RamBoard) -> None:
    assert client.ask(b"P0=78563412") == b"OK"
    assert board.registers["r0"] == 0x12345678
    assert client.ask(b"p0") == b"78563412"
    assert client.ask(b"P19=00000001") == b"OK"
    assert board.registers["xpsr"] == 0x01000000
    assert client.ask(b"P20=4433221188776655") == b"OK"
    assert (board.registers["s0"], board.registers["s1"]) == (0x11223344, 0x55667788)
    assert client.ask(b"p20") == b"4433221188776655"
    for bad in (b"p10", b"p31", b"p", b"p-1", b"P0=", b"P0=7856341", b"P0=7856341200", b"P0", b"P10=00000000"):
        assert client.ask(bad) == b"E02"


def test_g_and_big_g_agree(client: RawClient, board: RamBoard) -> None:
    values = client.ask(b"g")
    before = dict(board.registers)
    board.registers = {name: 0 if name not in FLOATING else value for name, value in before.items()}
    assert client.ask(b"G" + values) == b"OK"
    assert board.registers == before
    assert client.ask(b"G78563412" + b"00000000" * 15) == b"OK"
    assert (board.registers["r0"], board.registers["pc"], board.registers["xpsr"]) == (0x12345678, 0, before["xpsr"])


@pytest.mark.parametrize("packet", [b"g", b"G00000000", b"p0", b"P0=00000000"])
def test_registers_of_a_running_core_are_refused(client: RawClient, board: RamBoard, packet: bytes) -> None:
    board.stop(None)
    assert client.ask(packet) == b"E03"


@pytest.mark.parametrize(
    ("packet", "reply"),
    [
        (b"m24000000,4", b"00010203"),
        (b"m24000001,3", b"010203"),
        (b"m24000000,0", b""),
        (b"m2407ffff,1", b"ff"),
        (b"m2407ffff,2", b"E01"),
        (b"m24080000,1", b"E01"),
        (b"mfffffffc,4", b"E01"),
        (b"mfffffffc,5", b"E01"),
        (b"m124000000,4", b"E02"),
        (b"m24000000", b"E02"),
        (b"m,4", b"E02"),
        (b"m24000000,-4", b"E02"),
        (b"m2400_0000,4", b"E02"),
        (b"m 24000000,4", b"E02"),
        (b"m\xff,\xff", b"E02"),
    ],
)
def test_reading_memory(client: RawClient, packet: bytes, reply: bytes) -> None:
    assert client.ask(packet) == reply


def test_a_read_gives_at_most_what_a_packet_holds(client: RawClient, board: RamBoard) -> None:
    reply = client.ask(b"m24000000,10000")
    assert bytes.fromhex(reply.decode()) == bytes(board.ram[:0x2000])


def test_reading_memory_as_bytes(client: RawClient, board: RamBoard) -> None:
    board.ram[:5] = b"#$}*a"
    assert client.ask(b"x24000000,5") == b"b}\x03}\x04}]}\na"
    assert client.ask(b"x24000004,1") == b"ba"
    assert client.ask(b"x24000000,0") == b"b"
    assert client.ask(b"x2407ffff,2") == b"E01"
    assert client.ask(b"x24000000") == b"E02"


@pytest.mark.parametrize(
    ("packet", "reply", "after"),
    [
        (b"M24000001,2:aaBB", b"OK", b"\x00\xaa\xbb\x03"),
        (b"M24000000,0:", b"OK", b"\x00\x01\x02\x03"),
        (b"M24000000,2:aa", b"E02", b"\x00\x01\x02\x03"),
        (b"M24000000,1:a", b"E02", b"\x00\x01\x02\x03"),
        (b"M24000000,1:zz", b"E02", b"\x00\x01\x02\x03"),
        (b"M24000000,1", b"E02", b"\x00\x01\x02\x03"),
        (b"X24000000,4:}\x03}\x04}]}\n", b"OK", b"#$}*"),
        (b"X24000001,2:\x03:", b"OK", b"\x00\x03:\x03"),
        (b"X24000000,0:", b"OK", b"\x00\x01\x02\x03"),
        (b"X24000000,3:ab", b"E02", b"\x00\x01\x02\x03"),
        (b"X2407fffe,3:abc", b"E01", b"\x00\x01\x02\x03"),
        (b"Xffffffff,2:ab", b"E01", b"\x00\x01\x02\x03"),
    ],
)
def test_writing_memory(client: RawClient, board: RamBoard, packet: bytes, reply: bytes, after: bytes) -> None:
    assert client.ask(packet) == reply
    assert bytes(board.ram[:4]) == after
    assert bytes(board.ram[-2:]) == b"\xfe\xff"


def test_a_packet_larger_than_announced_is_refused(client: RawClient, board: RamBoard) -> None:
    room = 0x4000 - len(b"X24000000,3fef:")
    assert client.ask(b"X24000000,%x:" % room + b"x" * room) == b"OK"
    assert bytes(board.ram[: room + 1]) == b"x" * room + bytes((room & 0xFF,))
    assert client.ask(b"X24000000,%x:" % (room + 1) + b"y" * (room + 1)) == b"E02"
    assert board.ram[0] == ord("x")


def crc_bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_crc_is_gdbs_own(client: RawClient, board: RamBoard) -> None:
    # CRC-32/MPEG-2 of "123456789", as in the catalogues of CRC parameters.
    board.ram[0x100:0x109] = b"123456789"
    assert client.ask(b"qCRC:24000100,9") == b"C0376e6e7"
    assert client.ask(b"qCRC:24000100,0") == b"Cffffffff"
    board.ram[:0x10001] = b"\0" * 0x10001  # over the border of the pieces that it is worked out in
    assert client.ask(b"qCRC:24000000,10001") == b"C%08x" % crc_bit_by_bit(b"\0" * 0x10001)
    assert client.ask(b"qCRC:24000000,80001") == b"E01"
    assert client.ask(b"qCRC:24000000") == b"E02"


def test_a_software_breakpoint_is_in_ram_and_hidden(client: RawClient, board: RamBoard) -> None:
    assert client.ask(b"Z0,24000010,2") == b"OK"
    assert client.ask(b"Z0,24000010,2") == b"OK"
    assert bytes(board.ram[0x0E:0x14]) == b"\x0e\x0f\x00\xbe\x12\x13"
    assert client.ask(b"m2400000e,6") == b"0e0f10111213"
    assert client.ask(b"m24000011,1") == b"11"
    assert client.ask(b"M24000011,2:aabb") == b"OK"
    assert bytes(board.ram[0x0E:0x14]) == b"\x0e\x0f\x00\xbe\xbb\x13"
    assert client.ask(b"m2400000e,6") == b"0e0f10aabb13"
    assert client.ask(b"z0,24000010,2") == b"OK"
    assert client.ask(b"z0,24000010,2") == b"OK"
    assert bytes(board.ram[0x0E:0x14]) == b"\x0e\x0f\x10\xaa\xbb\x13"
    assert board.breakpoints == set()


def test_a_crc_does_not_see_breakpoints(client: RawClient) -> None:
    before = client.ask(b"qCRC:24000000,100")
    assert client.ask(b"Z0,24000010,2") == b"OK"
    assert client.ask(b"qCRC:24000000,100") == before


def test_a_breakpoint_that_the_program_overwrote_is_not_put_back(client: RawClient, board: RamBoard) -> None:
    assert client.ask(b"Z0,24000010,2") == b"OK"
    board.ram[0x10:0x12] = b"\x77\x88"
    assert client.ask(b"z0,24000010,2") == b"OK"
    assert bytes(board.ram[0x10:0x12]) == b"\x77\x88"


@pytest.mark.parametrize("address", [b"8000100", b"90000000", b"24080001"])
def test_where_there_is_no_ram_a_comparator_is_taken(client: RawClient, board: RamBoard, address: bytes) -> None:
    assert client.ask(b"Z0,%b,2" % address) == b"OK"
    assert board.breakpoints == {int(address, 16) & ~1}
    assert client.ask(b"z0,%b,2" % address) == b"OK"
    assert board.breakpoints == set()


def test_hardware_points(client: RawClient, board: RamBoard) -> None:
    for kind in (b"1", b"2", b"3", b"4"):
        assert client.ask(b"Z%b,24000011,4" % kind) == b"OK"
    assert board.breakpoints == {0x24000010}
    assert board.watchpoints == {(0x24000011, 4, "w"), (0x24000011, 4, "r"), (0x24000011, 4, "rw")}
    assert bytes(board.ram[0x10:0x12]) == b"\x10\x11"
    for kind in (b"1", b"2", b"3", b"4"):
        assert client.ask(b"z%b,24000011,4" % kind) == b"OK"
    assert (board.breakpoints, board.watchpoints) == (set(), set())
    assert client.ask(b"Z5,24000011,4") == b""
    assert client.ask(b"Z0") == b"E02"


@pytest.mark.parametrize(
    ("reason", "reply"),
    [
        (HaltReason.BREAKPOINT, b"T05thread:1;"),
        (HaltReason.VECTOR_CATCH, b"T05thread:1;"),
        (HaltReason.REQUEST, b"T02thread:1;"),
        (HaltReason.LOCKUP, b"T0bthread:1;"),
        (HaltReason.WATCHPOINT, b"T05thread:1;"),
    ],
)
@pytest.mark.parametrize("packet", [b"c", b"C05", b"vCont;c", b"vCont;c:1", b"vCont;C05:1;c"])
def test_continuing_ends_with_the_reason(
    client: RawClient, board: RamBoard, packet: bytes, reason: HaltReason, reply: bytes
) -> None:
    board.stop_at_once = reason
    assert client.ask(packet) == reply
    assert client.ask(b"?") == reply
    assert board.calls == ["halt", "resume"]


def test_gdb_is_told_of_its_own_breakpoints_if_it_wants_to_know(client: RawClient, board: RamBoard) -> None:
    board.stop_at_once = HaltReason.BREAKPOINT
    board.registers["pc"] = 0x24000010
    client.ask(b"Z0,24000010,2")
    assert client.ask(b"c") == b"T05thread:1;"
    client.ask(b"qSupported:swbreak+;hwbreak+")
    assert client.ask(b"c") == b"T05swbreak:;thread:1;"
    client.ask(b"z0,24000010,2")
    client.ask(b"Z1,24000010,2")
    assert client.ask(b"c") == b"T05hwbreak:;thread:1;"
    client.ask(b"z1,24000010,2")
    assert client.ask(b"c") == b"T05thread:1;"


@pytest.mark.parametrize(("kind", "name"), [(b"2", b"watch"), (b"3", b"rwatch"), (b"4", b"awatch")])
def test_a_watchpoint_is_named(client: RawClient, board: RamBoard, kind: bytes, name: bytes) -> None:
    board.stop_at_once = HaltReason.WATCHPOINT
    client.ask(b"Z%b,24000040,4" % kind)
    assert client.ask(b"c") == b"T05%b:24000040;thread:1;" % name


@pytest.mark.parametrize("packet", [b"s", b"S05", b"vCont;s", b"vCont;s:1;c", b"vCont;S05:1"])
def test_stepping(client: RawClient, board: RamBoard, packet: bytes) -> None:
    pc = board.registers["pc"]
    assert client.ask(packet) == b"T05thread:1;"
    assert board.calls == ["halt", "step"]
    assert board.registers["pc"] == pc + 2


def test_running_from_an_address(client: RawClient, board: RamBoard) -> None:
    board.stop_at_once = HaltReason.BREAKPOINT
    assert client.ask(b"c24000100") == b"T05thread:1;"
    assert board.registers["pc"] == 0x24000100
    assert client.ask(b"s24000200") == b"T05thread:1;"
    assert board.registers["pc"] == 0x24000202
    assert client.ask(b"cxyz") == b"E02"
    assert client.ask(b"vCont;t") == b"T05thread:1;"
    assert client.ask(b"vCont;x") == b"E02"


def test_an_interrupt_stops_the_core(client: RawClient, board: RamBoard) -> None:
    client.send(b"$c#63")
    client.send(b"\x03")
    assert client.packet() == b"T02thread:1;"
    assert board.calls == ["halt", "resume", "halt"]


def test_an_interrupt_right_behind_the_continue_is_not_lost(client: RawClient, board: RamBoard) -> None:
    for _ in range(50):
        client.send(frame(b"vCont;c") + b"\x03")
        assert client.packet() == b"T02thread:1;"
    assert board.calls == ["halt", *["resume", "halt"] * 50]


def test_an_interrupt_that_crosses_a_stop_does_not_hit_the_next_run(client: RawClient, board: RamBoard) -> None:
    board.stop_at_once = HaltReason.BREAKPOINT
    client.send(frame(b"c") + b"\x03" + frame(b"?") + frame(b"c"))
    assert [client.packet() for _ in range(3)] == [b"T05thread:1;"] * 3
    assert board.calls == ["halt", "resume", "resume"]


def test_packets_wait_until_the_core_has_stopped(client: RawClient, board: RamBoard) -> None:
    client.send(frame(b"c") + frame(b"m24000000,1") + b"\x03" + frame(b"m24000001,1"))
    assert [client.packet() for _ in range(3)] == [b"T02thread:1;", b"00", b"01"]
    assert board.calls == ["halt", "resume", "halt"]


def test_a_core_that_a_monitor_command_let_run(client: RawClient, board: RamBoard) -> None:
    assert client.monitor("reset run") == ("", b"OK")
    assert board.halted is None
    assert client.ask(b"m24000000,1") == b"00"
    assert client.ask(b"g") == b"E03"
    client.send(b"\x03")
    assert client.packet() == b"T02thread:1;"
    assert client.monitor("resume") == ("", b"OK")
    client.send(b"$c#63\x03")
    assert client.packet() == b"T02thread:1;"
    assert board.calls == ["halt", "reset run", "halt", "resume", "halt"]


@pytest.mark.parametrize(
    ("line", "reply", "calls"),
    [
        ("reset", ("", b"OK"), ["reset run"]),
        ("reset run", ("", b"OK"), ["reset run"]),
        ("reset halt", ("", b"OK"), ["reset halt"]),
        ("  reset   halt ", ("", b"OK"), ["reset halt"]),
        ("halt", ("", b"OK"), ["halt"]),
        ("version", ("gdbflash virtual board, STM32H750 with W25Q128\n", b"OK"), []),
        ("reset hal", ('unknown command "reset hal"; "monitor help" lists the commands\n', b"E01"), []),
        ("{line}", ('unknown command "{line}"; "monitor help" lists the commands\n', b"E01"), []),
        ("", ('unknown command ""; "monitor help" lists the commands\n', b"E01"), []),
    ],
)
def test_monitor_commands(
    client: RawClient, board: RamBoard, line: str, reply: tuple[str, bytes], calls: list[str]
) -> None:
    assert client.monitor(line) == reply
    assert board.calls == ["halt", *calls]


def test_monitor_lines_may_be_anything(client: RawClient) -> None:
    assert client.ask(b"qRcmd,7") == b"E02"
    assert client.ask(b"qRcmd,zz") == b"E02"
    client.send(frame(b"qRcmd,ff"))
    assert client.packet()[:1] == b"O"
    assert client.packet() == b"E01"
    assert "reset halt" in client.monitor("help")[0]


def test_detaching_lets_go_of_everything(client: RawClient, board: RamBoard) -> None:
    client.ask(b"Z0,24000010,2")
    client.ask(b"Z1,8000000,2")
    client.ask(b"Z2,24000020,4")
    assert client.ask(b"D") == b"OK"
    assert board.halted is None
    assert bytes(board.ram[0x10:0x12]) == b"\x10\x11"
    assert (board.breakpoints, board.watchpoints) == (set(), set())


def test_restart_attach_and_run(client: RawClient, board: RamBoard) -> None:
    board.stop(HaltReason.BREAKPOINT)
    client.send(frame(b"R00"))
    assert client.ask(b"vAttach;1") == b"T05thread:1;"
    assert client.ask(b"vRun;") == b"T05thread:1;"
    assert client.ask(b"vKill;1") == b"OK"
    assert board.calls == ["halt", "reset halt", "halt", "reset halt"]


def test_one_client_after_the_other() -> None:
    board = RamBoard()
    with RspServer(board) as server:
        with RawClient(server.port) as first:
            first.ask(b"Z0,24000010,2")
            first.send(b"$c#63")
            assert first.exactly(1) == b"+"
        with RawClient(server.port) as second:
            assert second.ask(b"?") == b"T02thread:1;"
            assert bytes(board.ram[0x10:0x12]) == b"\x10\x11"
            with RawClient(server.port) as third:
                second.send(b"$k#6b")
                assert second.exactly(1) == b"+"
                assert second.at_end()
                assert third.ask(b"qC") == b"QC1"
        assert server.packets["qC"] == 1


def test_a_bug_in_the_board_comes_out_where_it_is_looked_for(board: RamBoard) -> None:
    def broken(*, halt: bool) -> None:
        raise ZeroDivisionError(halt)

    server = RspServer(board)
    board.reset = broken  # type: ignore[method-assign]
    server.start()
    with RawClient(server.port) as client:
        client.send(frame(b"vRun;"))
        assert client.exactly(1) == b"+"
        assert client.at_end()
    with pytest.raises(ZeroDivisionError):
        server.close()


def test_the_port_can_be_chosen_and_is_free_afterwards() -> None:
    with RspServer(RamBoard()) as server:
        port = server.port
        with pytest.raises(OSError, match="in use"):
            RspServer(RamBoard(), port=port)
    with RspServer(RamBoard(), port=port) as server, RawClient(port) as client:
        assert client.ask(b"qC") == b"QC1"


@settings(max_examples=300)
@given(st.sampled_from(b"!?CDGHMPQRSTXZcgkmpqsvxz"), st.text("0123456789abcdef,:;=-+ Zqvct\xff").map(str.encode))
def test_no_packet_is_more_than_malformed(letter: int, body: bytes) -> None:
    board = RamBoard()
    board.stop_at_once = HaltReason.BREAKPOINT
    here, there = tcp_pair()
    with here, there:
        reply = Session(board, Link(here, LinkConditions()), BOARD).answer(bytes((letter,)) + body)
    assert reply is None or reply in (b"", b"OK") or reply[:1] in b"ETQm1lCbW" or bytes.fromhex(reply.decode()) != b""

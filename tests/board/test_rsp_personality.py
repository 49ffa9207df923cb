"""How the board plays other servers, packet by packet."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.packets import frame
from gdbflash.board.faces.personality import BLACKMAGIC, JLINK, PERSONALITIES, PYOCD, ST_UTIL, STLINK, Personality
from gdbflash.board.faces.rsp import RspServer
from tests.support.rsp_double import RamBoard, RawClient


@contextmanager
def playing(personality: Personality, board: RamBoard | None = None) -> Iterator[RawClient]:
    with RspServer(board or RamBoard(), personality=personality) as server, RawClient(server.port) as client:
        yield client


def document(client: RawClient, name: bytes) -> ET.Element:
    reply = client.ask(b"qXfer:%b:0,3000" % name)
    assert reply[:1] == b"l"
    return ET.fromstring(reply[1:].decode())


def test_they_are_found_by_name() -> None:
    assert list(PERSONALITIES) == ["board", "stlink", "st-util", "jlink", "blackmagic", "pyocd", "probe-rs"]
    assert all(name == personality.name for name, personality in PERSONALITIES.items())


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        (
            "stlink",
            "PacketSize=4000;QStartNoAckMode+;QNonStop+;swbreak+;hwbreak+;qXfer:features:read+;qXfer:memory-map:read+",
        ),
        ("st-util", "PacketSize=3fff;qXfer:memory-map:read+;qXfer:features:read+"),
        ("jlink", "PacketSize=4000;qXfer:memory-map:read-;QStartNoAckMode+;hwbreak+;qXfer:features:read+"),
        ("blackmagic", "PacketSize=400;qXfer:memory-map:read+;qXfer:features:read+;vContSupported+"),
        (
            "pyocd",
            "PacketSize=800;qXfer:features:read+;QStartNoAckMode+;qXfer:threads:read+;QNonStop+;qXfer:memory-map:read+",
        ),
    ],
)
def test_the_signature(name: str, reply: str) -> None:
    with playing(PERSONALITIES[name]) as client:
        assert client.ask(b"qSupported:swbreak+") == reply.encode()


@pytest.mark.parametrize(
    ("name", "line", "reply", "calls"),
    [
        ("stlink", "reset", ("", b"OK"), ["reset run"]),
        ("stlink", "halt", ("", b"OK"), ["halt"]),
        ("stlink", "reset halt", ("", b"E01"), []),
        ("stlink", "help", ("", b"E01"), []),
        ("stlink", "version", ("", b"E01"), []),
        ("st-util", "reset", ("", b"OK"), ["reset run"]),
        ("st-util", "reset halt", ("", b"OK"), ["reset run"]),
        ("st-util", "jtag_reset", ("", b"OK"), ["reset halt"]),
        ("st-util", "halt", ("", b"OK"), ["halt"]),
        ("st-util", "version", ("", b""), []),
        ("jlink", "reset", ("Resetting target\r\n", b"OK"), ["reset halt"]),
        ("jlink", "reset halt", ("", b"E01"), []),
        ("jlink", "halt reset", ("", b"E01"), []),
        ("jlink", "go", ("", b"OK"), ["resume"]),
        ("pyocd", "reset", ("Resetting target\n", b"OK"), ["reset run"]),
        (
            "pyocd",
            "reset halt",
            ("Resetting target with halt\nSuccessfully halted device on reset\n", b"OK"),
            ["reset halt"],
        ),
        (
            "pyocd",
            "reset run",
            ("Unexpected error: unexpected value for reset_type option ('run')\n", b"OK"),
            [],
        ),
        ("pyocd", "resume", ("Error: unrecognized command 'resume'\n", b"OK"), []),
    ],
)
def test_monitor_commands(name: str, line: str, reply: tuple[str, bytes], calls: list[str]) -> None:
    board = RamBoard()
    with playing(PERSONALITIES[name], board) as client:
        assert client.monitor(line) == reply
    assert board.calls == ["halt", *calls]


def test_long_help_comes_in_packets_that_fit() -> None:
    with (
        RspServer(RamBoard(), personality=replace(PYOCD, packet_size=0x41)) as server,
        RawClient(server.port) as client,
    ):
        text, reply = client.monitor("help")
    assert (len(text), text.splitlines()[-1], reply) == (249, "help\tShow help for commands.", b"OK")
    assert server.link.bytes_sent == len("+") + 9 * len("$O#00") + 2 * 249 + len("$OK#9a")


@pytest.mark.parametrize("name", ["stlink", "st-util", "blackmagic", "pyocd"])
def test_the_memory_map_has_flash_and_not_the_external_window(name: str) -> None:
    with playing(PERSONALITIES[name]) as client:
        if name == "blackmagic":
            attach(client)
        size = 0x3000 if name in ("stlink", "st-util") else 0x300
        text, offset = b"", 0
        while True:
            reply = client.ask(b"qXfer:memory-map:read::%x,%x" % (offset, size))
            text += reply[1:]
            offset += len(reply) - 1
            if reply[:1] == b"l":
                break
    regions = [
        (memory.get("type"), int(memory.get("start", ""), 16), int(memory.get("length", ""), 16))
        for memory in ET.fromstring(text.decode())
    ]
    assert ("flash", 0x08000000, 0x20000) in regions
    assert ("ram", 0x24000000, 0x80000) in regions
    assert not any(start <= 0x90000000 < start + length for _, start, length in regions)
    spans = sorted((start, start + length) for _, start, length in regions)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.parametrize("personality", [STLINK, PYOCD], ids=lambda each: each.name)
def test_only_all_stop_is_granted(personality: Personality) -> None:
    with playing(personality) as client:
        assert client.ask(b"QNonStop:0") == b"OK"
        assert client.ask(b"QNonStop:1") == b"E03"


def test_g_may_carry_the_floating_point_registers_as_pairs() -> None:
    board = RamBoard()
    board.registers["s0"], board.registers["s1"] = 0x11223344, 0x55667788
    with playing(JLINK, board) as client:
        values = bytes.fromhex(client.ask(b"g").decode())
        assert len(values) == (17 + 6 + 1) * 4 + 16 * 8
        assert values[92:100] == b"\x44\x33\x22\x11\x88\x77\x66\x55"
        before, board.registers = board.registers, dict.fromkeys(board.registers, 0)
        assert client.ask(b"G" + values.hex().encode()) == b"OK"
        assert board.registers == before


def test_st_util_describes_and_sends_registers_in_its_own_way() -> None:
    with playing(ST_UTIL) as client:
        registers = {reg.get("name"): reg for reg in document(client, b"features:read:target.xml").iter("reg")}
        assert [registers[name].get("regnum") for name in ("control", "primask", "s0", "s31", "fpscr")] == [
            "28",
            "31",
            "32",
            "63",
            "64",
        ]
        assert registers["primask"].get("bitsize") == "8"
        assert len(client.ask(b"g")) == 16 * 8
        assert client.ask(b"P1f=01") == b"OK"
        assert client.ask(b"p1f") == b"01"
        assert client.ask(b"P1f=00000001") == b"E02"


def test_st_util_knows_few_packets() -> None:
    board = RamBoard()
    with playing(ST_UTIL, board) as client:
        for packet in (
            b"X24000000,0:",
            b"vCont?",
            b"vCont;c",
            b"Z0,24000000,2",
            b"QStartNoAckMode",
            b"qC",
            b"D",
            b"qfThreadInfo",
            b"qAttached",
            b"qCRC:24000000,4",
            b"x24000000,4",
        ):
            assert client.ask(packet) == b""
        assert client.ask(b"?") == b"S05"
        assert client.ask(b"m24000000,4") == b"00010203"
        assert client.ask(b"m10000000,4") == b""
        assert len(client.ask(b"m24000000,3000")) == 2 * 0x1800
        client.send(frame(b"k"))
        assert client.exactly(1) == b"+"
        assert client.ask(b"vKill;1") == b"OK"
    assert board.calls == ["halt"]


def test_st_util_looks_ten_times_a_second_while_the_core_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    board = RamBoard()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            board.stop(HaltReason.BREAKPOINT)

    monkeypatch.setattr("gdbflash.board.faces.rspsession.time.sleep", sleep)
    with playing(ST_UTIL, board) as client:
        assert client.ask(b"c") == b"S05"
        assert slept == [0.1, 0.1, 0.1]
        slept.clear()
        client.send(frame(b"c") + b"\x03")
        assert client.packet() == b"S05"
        assert board.halted is HaltReason.REQUEST
        assert slept == [0.1]


def test_jlink_and_st_util_do_not_know_how_to_detach() -> None:
    for personality in (JLINK, ST_UTIL):
        board = RamBoard()
        with playing(personality, board) as client:
            client.ask(b"Z1,24000000,2")
            assert client.ask(b"D;1") == b""
            assert (board.halted, board.breakpoints) == (HaltReason.VECTOR_CATCH, {0x24000000})


@pytest.mark.parametrize(
    ("name", "goes_on"),
    [("board", True), ("jlink", True), ("blackmagic", True), ("stlink", False), ("st-util", False), ("pyocd", False)],
)
def test_some_servers_end_with_their_client(name: str, goes_on: bool) -> None:
    with RspServer(RamBoard(), personality=PERSONALITIES[name]) as server:
        with RawClient(server.port) as client:
            client.ask(b"qSupported")
        if goes_on:
            with RawClient(server.port) as client:
                client.ask(b"qSupported")
            assert server.packets["qSupported"] == 2
        else:
            assert server.wait(10)
            with pytest.raises(ConnectionRefusedError):
                RawClient(server.port)


def test_persistence_can_be_asked_for() -> None:
    with RspServer(RamBoard(), personality=STLINK, persistent=True) as server:
        for _ in range(2):
            with RawClient(server.port) as client:
                client.ask(b"qSupported")
    with RspServer(RamBoard(), personality=ST_UTIL) as server:
        for _ in range(2):
            with RawClient(server.port) as client:
                assert client.ask(b"!") == b"OK"


def attach(client: RawClient) -> None:
    assert client.monitor("swd_scan")[1] == b"OK"
    assert client.ask(b"vAttach;1") == b"T05thread:1;"


def test_black_magic_has_no_target_until_scan_and_attach() -> None:
    board = RamBoard()
    with playing(BLACKMAGIC, board) as client:
        assert client.ask(b"?") == b"W00"
        for packet in (b"g", b"m24000000,4", b"P0=00000000", b"M24000000,1:00", b"Z1,24000000,2", b"qCRC:24000000,4"):
            assert client.ask(packet) == b"EFF"
        assert client.ask(b"c") == b"X1D"
        assert client.ask(b"s") == b"X1D"
        assert client.ask(b"vCont;c") == b"X1D"
        assert client.ask(b"qXfer:features:read:target.xml:0,3fb") == b"E01"
        assert client.ask(b"vRun;") == b"E01"
        assert client.ask(b"vAttach;1") == b"E01"
        assert board.calls == []
        text, _ = client.monitor("swd_scan")
        assert " 1      STM32H74x M7\n" in text
        assert client.ask(b"vAttach;2") == b"E01"
        assert client.ask(b"vAttach;1") == b"T05thread:1;"
        assert client.ask(b"m24000000,4") == b"00010203"
        assert len(client.ask(b"m24000000,300")) == 0x400
        assert client.ask(b"Z0,24000000,2") == b""
    assert board.calls == ["halt"]


def test_black_magic_forgets_its_target_with_a_reset() -> None:
    board = RamBoard()
    with playing(BLACKMAGIC, board) as client:
        attach(client)
        client.ask(b"Z1,24000000,2")
        assert client.monitor("reset") == ("", b"OK")
        assert board.breakpoints == set()
        assert client.ask(b"g") == b"EFF"
        assert client.ask(b"vAttach;1") == b"E01"
        attach(client)
    assert board.calls == ["halt", "reset run", "halt"]


def test_black_magic_can_connect_under_reset() -> None:
    board = RamBoard()
    with playing(BLACKMAGIC, board) as client:
        assert client.monitor("connect_rst enable")[1] == b"OK"
        attach(client)
        assert client.ask(b"D") == b"OK"
        assert client.ask(b"g") == b"EFF"
        assert client.monitor("connect_rst disable")[1] == b"OK"
        assert client.ask(b"vAttach;1") == b"T05thread:1;"
        assert client.ask(b"vKill;1") == b""
        client.send(frame(b"k"))
        assert client.exactly(1) == b"+"
        assert client.ask(b"?") == b"W00"
    assert board.calls == ["reset halt", "resume", "halt", "reset run"]

"""The grammar of `gdbflash board --inject`, and what each fault does to the board, without GDB."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.board.chips.nor import Faults, StuckBits
from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkLink
from gdbflash.board.machine import Machine
from gdbflash.board.mishaps.inject import Injection, parse
from gdbflash.board.mishaps.link import LinkFault, PacketFault, corrupted
from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.board.mishaps.places import FAULTS, Fault, Flip, Halt, Hang, Lockup, Mishap, Overflow, Reset, Return
from gdbflash.cli.board import _function_of
from gdbflash.commands.board_options import FAULTS as DESCRIPTION
from gdbflash.errors import InputError
from gdbflash.loaders.stldr import load_loader
from tests.support.boards import LOADER
from tests.support.loadercalls import BUFFER, DidNotReturn, LoaderCalls
from tests.support.rsp_double import RamBoard, RawClient

BASE = 0x90000000
ONCE = Occasion(1, 1)


def symbol(file: str, function: str) -> int:
    return {("a:b.stldr", "Write"): 0x24000101}[file, function]


@pytest.mark.parametrize(
    ("text", "injection"),
    [
        ("drop@40", Injection(link=[PacketFault(LinkFault.DROP, Occasion(40, 40))])),
        ("stall", Injection(link=[PacketFault(LinkFault.STALL)])),
        ("stall:0.5@3", Injection(link=[PacketFault(LinkFault.STALL, Occasion(3, 3), seconds=0.5)])),
        ("error:vCont;c@2+", Injection(link=[PacketFault(LinkFault.ERROR, Occasion(2), "vCont;c")])),
        ("error@9", Injection(link=[PacketFault(LinkFault.ERROR, Occasion(9, 9))])),
        ("corrupt@2-5", Injection(link=[PacketFault(LinkFault.CORRUPT, Occasion(2, 5))])),
        ("late", Injection(link=[PacketFault(LinkFault.LATE)])),
        ("stlink:usb@7+", Injection(stlink=(LinkFailure.USB, Occasion(7)))),
        ("fault:bus:0x24000101", Injection(mishaps=[Mishap(0x24000100, Fault("bus"))])),
        ("fault:lockup:a:b.stldr:Write@1", Injection(mishaps=[Mishap(0x24000100, Lockup(), ONCE)])),
        ("hang:a:b.stldr:Write", Injection(mishaps=[Mishap(0x24000100, Hang())])),
        ("overflow:256", Injection(mishaps=[Mishap(256, Overflow())])),
        ("return:7:0x100", Injection(mishaps=[Mishap(256, Return(7))])),
        ("return:-1:0x100", Injection(mishaps=[Mishap(256, Return(0xFFFFFFFF))])),
        ("reset:0x100", Injection(mishaps=[Mishap(256, Reset())])),
        ("halt:0x100", Injection(mishaps=[Mishap(256, Halt())])),
        ("flip:r2+0x10:3:0x100", Injection(mishaps=[Mishap(256, Flip("r2", 16, 3))])),
        ("flip:r12:0:0x100", Injection(mishaps=[Mishap(256, Flip("r12", 0, 0))])),
        ("flip:0x24000000:7:0x100", Injection(mishaps=[Mishap(256, Flip("", 0x24000000, 7))])),
        ("protected", Injection(flash=Faults(write_protected=True))),
        ("no-erase", Injection(flash=Faults(erase_does_nothing=True))),
        ("no-program", Injection(flash=Faults(program_does_nothing=True))),
        ("stuck:0x90000010:4:1", Injection(flash=Faults(stuck={16: StuckBits(16, 16)}))),
    ],
)
def test_words_become_faults(text: str, injection: Injection) -> None:
    assert parse([text], symbol) == injection


def test_several_faults_add_up() -> None:
    found = parse(
        ["no-erase", "protected", "drop@1", "stall@2", "stuck:0x90000000:0:0", "stuck:0x90000001:0:1"], symbol
    )
    stuck = {0: StuckBits(1, 0), 1: StuckBits(1, 1)}
    assert found.flash == Faults(erase_does_nothing=True, write_protected=True, stuck=stuck)
    assert [each.fault for each in found.link] == [LinkFault.DROP, LinkFault.STALL]


@pytest.mark.parametrize(
    "text",
    [
        *("", "drop:3", "drop@0", "drop@5-4", "stall:soon", "corrupt:m", "stlink", "stlink:fire", "melt:0x100"),
        *("fault:bus", "fault:bus:", "fault:love:0x100", "return:0x100", "return:one:0x100", "hang:Write"),
        *("flip:r2:8:0x100", "flip:r99:1:0x100", "flip:r2:0x100", "protected@2", "protected:1"),
        *("stuck:0x90000000:0", "stuck:0:0:0", "stuck:0x90000000:0:2"),
    ],
)
def test_other_words_are_refused_and_quoted(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(text))):
        parse([text], symbol)


def test_the_description_names_every_kind_of_fault() -> None:
    words = set(re.findall(r"[\w-]+", DESCRIPTION))
    assert {*FAULTS, *(each.value for each in LinkFault)} <= words


@pytest.fixture
def calls() -> Iterator[LoaderCalls]:
    with Machine() as machine:
        yield LoaderCalls(machine, LOADER)


def inject(calls: LoaderCalls, *faults: str) -> None:
    assert isinstance(calls.port, Machine)
    parse([each.replace("LOADER", str(LOADER)) for each in faults], _function_of).into_board(calls.port)


def test_a_function_returns_what_it_is_told_on_its_occasion(calls: LoaderCalls) -> None:
    inject(calls, "return:7:LOADER:Init@2-3")
    assert [calls.call("Init") for _ in range(4)] == [1, 7, 7, 1]
    inject(calls)
    assert calls.call("Init") == 1


@pytest.mark.parametrize(
    ("kind", "cfsr"),
    [
        ("bus", 0x8200),
        ("fetch", 0x100),
        ("execute-never", 0x1),
        ("undefined", 0x10000),
        ("arm-state", 0x20000),
        ("coprocessor", 0x80000),
        ("unaligned", 0x1000000),
        ("divide", 0x2000000),
    ],
)
def test_faults_escalate_to_hard_fault(calls: LoaderCalls, kind: str, cfsr: int) -> None:
    inject(calls, f"fault:{kind}:LOADER:Write")
    assert calls.call("Init") == 1
    with pytest.raises(DidNotReturn, match=r"exception 3$"):
        calls.call("Write", BASE, 4, BUFFER, timeout=0.1)
    assert int.from_bytes(calls.port.read_memory(0xE000ED28, 4), "little") == cfsr


@pytest.mark.parametrize(("kind", "exception"), [("memmanage", 4), ("busfault", 5), ("usagefault", 6)])
def test_faults_with_a_handler_of_their_own(calls: LoaderCalls, kind: str, exception: int) -> None:
    inject(calls, f"fault:{kind}:LOADER:Init")
    with pytest.raises(DidNotReturn, match=f"exception {exception}$"):
        calls.call("Init", irq=True, timeout=0.1)


def test_a_lockup(calls: LoaderCalls) -> None:
    inject(calls, "fault:lockup:LOADER:Init")
    with pytest.raises(DidNotReturn, match=r"HaltReason\.LOCKUP, pc 0xEFFFFFFE"):
        calls.call("Init")


def test_a_hang_lasts_over_halts_until_the_reset(calls: LoaderCalls) -> None:
    inject(calls, "hang:LOADER:Init@1")
    with pytest.raises(DidNotReturn, match=r"None, pc 0x[0-9A-F]+ \(Init\)"):
        calls.call("Init", timeout=0.05)
    calls.port.resume()
    assert calls.port.wait_halted(0.05) is None
    calls.port.reset(halt=True)
    assert calls.call("Init") == 1


def test_an_overflow_goes_over_the_loader(calls: LoaderCalls) -> None:
    inject(calls, "overflow:LOADER:Init")
    with pytest.raises(DidNotReturn, match=r"exception 3$"):
        calls.call("Init", timeout=0.1)
    segment = load_loader(LOADER).load_segments[0]
    assert calls.port.read_memory(segment.address, len(segment.data)) != segment.data


def test_somebody_resets_or_halts_the_target(calls: LoaderCalls) -> None:
    inject(calls, "reset:LOADER:Init@1", "halt:LOADER:Write@1")
    with pytest.raises(DidNotReturn, match="None, pc 0x080000"):
        calls.call("Init", timeout=0.05)
    assert calls.call("Init") == 1
    with pytest.raises(DidNotReturn, match=r"HaltReason\.REQUEST"):
        calls.call("Write", BASE, 4, BUFFER)
    calls.port.resume()
    assert calls.port.wait_halted(5) is HaltReason.BREAKPOINT


def test_a_bit_flips_under_the_buffer(calls: LoaderCalls) -> None:
    inject(calls, "flip:r2+1:3:LOADER:Write@2", "flip:0xA0000000:0:LOADER:Init")
    assert calls.call("Init") == calls.write(BASE, b"\0\0") == calls.write(BASE + 16, b"\0\0") == 1
    assert isinstance(calls.port, Machine)
    assert bytes(calls.port.flash.memory[:2]) == b"\0\0"
    assert bytes(calls.port.flash.memory[16:18]) == b"\0\x08"


def test_packets_fail_on_their_occasion() -> None:
    with RspServer(RamBoard()) as server, RawClient(server.port) as client:
        client.no_ack()
        server.link.faults = parse(["error:m@2", "corrupt@3", "stall:0.01@5", "late@2"], symbol).link
        first = client.ask(b"m24000000,4")
        assert client.ask(b"m24000000,4") == b"E01"
        third = client.ask(b"m24000000,4")
        assert int(first, 16) ^ int(third, 16) == 0x100
        assert client.ask(b"M24000000,1:99") == b"OK"
        assert client.ask(b"M24000000,1:77") == b"OK", "acknowledged and not done"
        assert client.ask(b"m24000000,1") == b"99"
        assert client.ask(b"M24000001,1:55") == b"E01", "the late error; this one is done"
        assert client.ask(b"m24000000,2") == b"9955"
        assert [each.struck for each in server.link.faults] == [1, 1, 1, 1]


def test_a_stalled_server_heeds_that_its_client_leaves() -> None:
    with RspServer(RamBoard()) as server:
        with RawClient(server.port) as client:
            client.no_ack()
            server.link.faults = parse(["stall@1"], symbol).link
            client.send(b"$qC#b4")
        with RawClient(server.port) as client:
            assert client.ask(b"qC") == b"QC1"


@pytest.mark.parametrize(("kind", "reply"), [("m", b"E01"), ("m", b""), ("x", b"E01"), ("x", b"b")])
def test_what_is_no_data_is_not_corrupted(kind: str, reply: bytes) -> None:
    assert corrupted(kind, reply) == reply


def test_binary_data_stays_well_formed() -> None:
    assert corrupted("x", b'ba"') == b"ba}\x03"


def test_the_probe_fails_on_its_occasion() -> None:
    link = StlinkLink()
    parse(["stlink:target@3-4"], symbol).into_stlink(link)
    assert [link.carry(0) for _ in range(6)] == [None, None, LinkFailure.TARGET, LinkFailure.TARGET, None, None]
    parse(["stlink:usb@2+"], symbol).into_stlink(link)
    assert [link.carry(0) for _ in range(3)] == [None, LinkFailure.USB, LinkFailure.USB]
    parse([], symbol).into_stlink(link)
    assert link.carry(0) is None


def read_to_the_end(client: socket.socket) -> None:
    client.settimeout(10)
    while client.recv(64):
        pass


def test_the_command_takes_them(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gdbflash", "board", "--port", "0", "--inject", "drop@2", "--inject"]
    refused = subprocess.run([*words, f"hang:{LOADER}:Reed"], capture_output=True, text=True, cwd=tmp_path)
    assert (refused.returncode, "exports no Reed" in refused.stderr) == (2, True)
    with subprocess.Popen([*words, f"hang:{LOADER}:Read"], stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        found = re.search(r"GDB on 127\.0\.0\.1:(\d+)", board.stdout.readline())
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1]))) as client:
            client.sendall(b"$qC#b4$qC#b4")
            with pytest.raises(ConnectionResetError):
                read_to_the_end(client)
        board.terminate()
        assert board.wait(10) == 0

"""Connecting to every personality of the board's GDB server: told, reset, halted, with registers and memory.

The core behind it executes nothing; calls are in the contract.
"""

from __future__ import annotations

import threading

import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.rsp import RspServer
from gdbflash.errors import MemoryAccessError, PrepareError
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.servers.endpoint import Endpoint
from gdbflash.servers.profiles import PROFILES
from gdbflash.target import Stop, StopReason
from tests.support.gdbservers import GDBS, gdb_path
from tests.support.rsp_double import RAM_START, RamBoard

RESETS = {
    "board": ["halt", "reset halt"],
    "jlink": ["halt", "reset halt"],
    "pyocd": ["halt", "reset halt"],
    "probe-rs": ["halt", "reset halt"],
    "stlink": ["halt", "reset run", "halt"],  # `monitor reset` leaves it running
    "st-util": ["halt", "reset run", "halt"],
}


@pytest.mark.parametrize("gdb", GDBS)
@pytest.mark.parametrize("name", RESETS)
def test_a_server_is_told_reset_and_used(name: str, gdb: str) -> None:
    board = RamBoard()
    with RspServer(board, personality=PERSONALITIES[name], persistent=True) as server:
        target = connect(Endpoint(host="127.0.0.1", port=server.port), started(gdb_path(gdb)))
        try:
            assert target.capabilities.server == name
            target.reset_and_halt()
            assert board.calls[: len(RESETS[name])] == RESETS[name]
            assert board.halted
            target.write_registers({"control": 0, "r0": 1, "sp": RAM_START + 0x1000, "pc": RAM_START + 0x100})
            assert target.read_registers(["r0", "sp", "pc"]) == {
                "r0": 1,
                "sp": RAM_START + 0x1000,
                "pc": RAM_START + 0x100,
            }
            assert board.registers["r0"] == 1
            for size in (3, 40000):
                data = bytes(index * 7 & 0xFF for index in range(size))
                target.write_memory(RAM_START + 1, data)
                assert board.read_memory(RAM_START + 1, size) == data
                assert target.read_memory(RAM_START + 1, size) == data
                with pytest.raises(MemoryAccessError):
                    target.read_memory(0xA0000000, size)
                with pytest.raises(MemoryAccessError):
                    target.write_memory(0xA0000000, data)
        finally:
            target.close()


@pytest.mark.parametrize("gdb", GDBS)
def test_a_core_that_stopped_nowhere_did_not_arrive_although_its_pc_is_there(gdb: str) -> None:
    board = RamBoard()
    with RspServer(board, personality=PERSONALITIES["board"], persistent=True) as server:
        target = connect(Endpoint(host="127.0.0.1", port=server.port), started(gdb_path(gdb)))
        try:
            target.write_registers({"pc": RAM_START + 0x100})
            threading.Timer(0.1, board.registers.update, ({"pc": RAM_START},)).start()
            assert target.run_until(RAM_START, 0.3) == Stop(StopReason.TIMEOUT, RAM_START, "SIGINT")
        finally:
            target.close()


@pytest.mark.parametrize("gdb", GDBS)
def test_a_black_magic_probe_is_scanned_and_attached(gdb: str) -> None:
    board = RamBoard()
    with RspServer(board, personality=PERSONALITIES["blackmagic"]) as server:
        endpoint = Endpoint(host="127.0.0.1", port=server.port)
        for profile in (None, PROFILES["blackmagic"]):
            target = connect(endpoint, started(gdb_path(gdb)), profile=profile)
            try:
                assert target.capabilities.server == "blackmagic"
                assert target.read_registers(["r1"]) == {"r1": board.registers["r1"]}
                with pytest.raises(PrepareError, match="could not be reset"):
                    target.reset_and_halt()  # by the core's registers, which this board has not
            finally:
                target.close()

"""A debug probe for pyOCD on TCP: the protocol of its `remote` probe, with the virtual board's debug port behind it.

What belongs here: the requests, which are JSON, one a line, their arguments and their answers. What the accesses do is
`coresight.dap`'s concern.

Run pyOCD with `pyocd gdbserver --persist -t stm32h750xx -u remote:127.0.0.1:PORT`.

Source: what pyOCD 0.46 sends and expects (pyocd/probe/tcp_client_probe.py, tcp_probe_server.py): a request has `id`,
`request` and a list of `arguments`, an answer `id`, `status` and either `result` or `error`. With the capabilities
named here an address of a DP register has its bank in bits 7:4, that of an AP register its access port in bits 31:24.
"""

from __future__ import annotations

import enum
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdbflash.board.bus import BusError
from gdbflash.board.coresight.dap import Dap, DapFault, DapRefusal
from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkLink
from gdbflash.board.faces.tcpface import Connection, TcpFace

_PROTOCOL_VERSION = 1
_MAX_LINE = 1 << 20
"""Bytes of a request; pyOCD's largest are those of a GDB packet's data, as decimal numbers."""
_MAX_ITEMS = 1 << 16
"""Words or bytes of one read."""
_AP_VERSION_1 = 1
_PROPERTIES: dict[str, object] = {
    "vendor_name": "gdbflash",
    "product_name": "virtual board",
    "supported_wire_protocols": ["DEFAULT", "SWD"],
    "wire_protocol": "SWD",
    "capabilities": ["BANKED_DP_REGISTERS", "MANAGED_AP_SELECTION", "MANAGED_DPBANKSEL"],
}


class Status(enum.IntEnum):
    """What became of a request."""

    OK = 0
    ERROR = 1
    """The request itself is wrong."""
    DISCONNECTED = 2
    PROBE_ERROR = 3
    TRANSFER_ERROR = 10
    """The target does not acknowledge."""
    FAULT = 12


class _Refused(Exception):
    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class _Request:
    run: Callable[..., object]
    arguments: tuple[Callable[[object], object], ...] = ()
    item: int | None = None
    """Bytes of one item of its data, 0 where there is none; None: it does not reach the target."""

    def size(self, arguments: list[Any]) -> int:
        """Give the bytes of its data: the last argument holds them, or says how many items are to be read."""
        if not self.item:
            return 0
        last = arguments[-1]
        return self.item * (len(last) if isinstance(last, list) else last)


class PyocdProbeServer(TcpFace):
    """The probe on 127.0.0.1, as `TcpFace` says."""

    def __init__(
        self, debug_port: DebugPort, port: int = 0, link: StlinkLink | None = None, second: DebugPort | None = None
    ) -> None:
        """Listen; port 0 takes a free one. second: the other core of a device that has two. Raises OSError."""
        self.link = link if link is not None else StlinkLink()
        """The way to the target; its commands are the requests that reach the target."""
        self.lock = threading.RLock()
        """Held during a request, and between `lock` and `unlock` by the thread of that client."""
        self.requests = _Probe(Dap(debug_port, second)).requests()
        super().__init__("pyocd-remote", port)

    def serve(self, connection: Connection) -> None:
        """Answer one request after the other."""
        client = _Client(self)
        try:
            while (line := connection.read_line(_MAX_LINE)).endswith(b"\n"):
                answer = client.answer(line)
                if answer is None:
                    return
                connection.send(json.dumps(answer).encode() + b"\n")
        finally:
            client.let_go()


class _Client:
    """What one connection has: its locks, and the way from a line to its answer."""

    def __init__(self, owner: PyocdProbeServer) -> None:
        self._owner = owner
        self._locks = 0
        self._requests = {**owner.requests, "lock": _Request(self._lock), "unlock": _Request(self._unlock)}

    def answer(self, line: bytes) -> dict[str, object] | None:
        """Do what a line asks for; None hangs up."""
        number: object = -1
        try:
            asked = _parse(line)
            number = asked["id"]
            request, arguments = self._understand(asked)
            with self._owner.lock:
                failure = None if request.item is None else self._owner.link.carry(request.size(arguments))
                if failure is LinkFailure.HANG_UP:
                    return None
                if failure is not None:
                    raise _Refused(_STATUS_OF[failure], failure.value)
                result = request.run(*arguments)
        except _Refused as refused:
            return {"id": number, "status": refused.status, "error": str(refused)}
        except (DapFault, BusError) as fault:
            return {"id": number, "status": Status.FAULT, "error": str(fault)}
        return {"id": number, "status": Status.OK, **({} if result is None else {"result": result})}

    def let_go(self) -> None:
        """Release what a client that has gone had locked."""
        while self._locks:
            self._unlock()

    def _understand(self, asked: dict[str, Any]) -> tuple[_Request, list[Any]]:
        name, arguments = asked.get("request"), asked.get("arguments", [])
        request = self._requests.get(name) if isinstance(name, str) else None
        if request is None:
            raise _Refused(Status.ERROR, f"unknown request {name!r}")
        if not isinstance(arguments, list) or len(arguments) != len(request.arguments):
            raise _Refused(Status.ERROR, f"{name} takes {len(request.arguments)} arguments")
        return request, [kind(value) for kind, value in zip(request.arguments, arguments, strict=True)]

    def _lock(self) -> None:
        self._owner.lock.acquire()
        self._locks += 1

    def _unlock(self) -> None:
        if not self._locks:
            raise _Refused(Status.ERROR, "it is not locked")
        self._locks -= 1
        self._owner.lock.release()


_STATUS_OF = {LinkFailure.TARGET: Status.TRANSFER_ERROR, LinkFailure.USB: Status.DISCONNECTED}


class _Probe:
    """What the requests do."""

    def __init__(self, dap: Dap) -> None:
        self._dap = dap
        self._held = False

    def requests(self) -> dict[str, _Request]:
        """Give those that are the same for every client, by name."""
        return {
            "hello": _Request(self._hello, (_word,)),
            "readprop": _Request(self._read_property, (_text,)),
            "connect": _Request(self._connect, (_text,)),
            # Nothing is to be done for these: there is no clock, and every access is done when it is answered.
            **dict.fromkeys(("open", "close", "disconnect", "flush"), _Request(lambda: None)),
            "set_clock": _Request(lambda _hertz: None, (_word,)),
            "reset": _Request(self._reset),
            "assert_reset": _Request(self._assert_reset, (_flag,)),
            "is_reset_asserted": _Request(lambda: self._held),
            "read_dp": _Request(self._dap.read_dp, (_word,), 0),
            "write_dp": _Request(self._dap.write_dp, (_word, _word), 0),
            "read_ap": _Request(self._read_ap, (_word,), 0),
            "write_ap": _Request(self._write_ap, (_word, _word), 0),
            "read_ap_multiple": _Request(self._read_ap_multiple, (_word, _count), 4),
            "write_ap_multiple": _Request(self._write_ap_multiple, (_word, _words), 4),
            "get_memory_interface_for_ap": _Request(self._find_memory, (_word, _word), 0),
            "read_mem": _Request(self._read_mem, (_word, _word, _bits), 0),
            "write_mem": _Request(self._write_mem, (_word, _word, _word, _bits), 0),
            "read_block32": _Request(self._read_block32, (_word, _aligned, _count), 4),
            "write_block32": _Request(self._write_block32, (_word, _aligned, _words), 4),
            "read_block8": _Request(self._read_block8, (_word, _word, _count), 1),
            "write_block8": _Request(self._write_block8, (_word, _word, _bytes), 1),
        }

    # -- session ----------------------------------------------------------------------------------------------

    def _hello(self, version: int) -> None:
        if version != _PROTOCOL_VERSION:
            raise _Refused(Status.ERROR, f"protocol version {version} is not spoken here, {_PROTOCOL_VERSION} is")

    def _read_property(self, name: str) -> object:
        if name not in _PROPERTIES:
            raise _Refused(Status.ERROR, f"unknown property {name!r}")
        return _PROPERTIES[name]

    def _connect(self, protocol: str) -> None:
        if protocol not in ("DEFAULT", "SWD"):
            raise _Refused(Status.PROBE_ERROR, f"the board is wired for SWD, not for {protocol}")

    def _reset(self) -> None:
        self._assert_reset(True)
        self._assert_reset(False)

    def _assert_reset(self, held: bool) -> None:
        if held:
            self._dap.unit.hold_reset()
        else:
            self._dap.unit.release_reset()
        self._held = held

    # -- access ports -----------------------------------------------------------------------------------------

    def _read_ap(self, address: int) -> int:
        return self._dap.read_ap(address >> 24, address & 0xFF)

    def _write_ap(self, address: int, value: int) -> None:
        self._dap.write_ap(address >> 24, address & 0xFF, value)

    def _read_ap_multiple(self, address: int, count: int) -> list[int]:
        return [self._read_ap(address) for _ in range(count)]

    def _write_ap_multiple(self, address: int, values: list[int]) -> None:
        for value in values:
            self._write_ap(address, value)

    # -- memory -----------------------------------------------------------------------------------------------

    def _find_memory(self, version: int, number: int) -> int | None:
        """Give the handle of an access port's memory, which is the port's number; None where there is none."""
        if version != _AP_VERSION_1:
            return None
        try:
            self._dap.access_port(number)
        except DapFault as fault:
            if fault.refusal is DapRefusal.NO_ACCESS_PORT:
                return None
            raise
        return number

    def _read(self, handle: int, address: int, size: int, width: int) -> bytes:
        return self._dap.access_port(handle).read_block(address, size, width) if size else b""

    def _write(self, handle: int, address: int, data: bytes, width: int) -> None:
        if data:
            self._dap.access_port(handle).write_block(address, data, width)

    def _read_mem(self, handle: int, address: int, bits: int) -> int:
        _check_aligned(address, bits // 8)
        return int.from_bytes(self._read(handle, address, bits // 8, bits // 8), "little")

    def _write_mem(self, handle: int, address: int, value: int, bits: int) -> None:
        _check_aligned(address, bits // 8)
        if value >> bits:
            raise _Refused(Status.ERROR, f"{value} has more than {bits} bits")
        self._write(handle, address, value.to_bytes(bits // 8, "little"), bits // 8)

    def _read_block32(self, handle: int, address: int, count: int) -> list[int]:
        data = self._read(handle, address, 4 * count, 4)
        return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

    def _write_block32(self, handle: int, address: int, words: list[int]) -> None:
        self._write(handle, address, b"".join(word.to_bytes(4, "little") for word in words), 4)

    def _read_block8(self, handle: int, address: int, count: int) -> list[int]:
        return list(self._read(handle, address, count, 1))

    def _write_block8(self, handle: int, address: int, values: list[int]) -> None:
        self._write(handle, address, bytes(values), 1)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Refused(Status.ERROR, "the request is no JSON") from error
    if not isinstance(asked, dict) or "id" not in asked:
        raise _Refused(Status.ERROR, "the request is no object with an id")
    return asked


def _within(value: object, limit: int) -> int:
    # JSON's true and false are Python's, which are numbers.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise _Refused(Status.ERROR, f"{str(value)[:40]} is no number from 0 to {limit}")
    return value


def _word(value: object) -> int:
    return _within(value, 0xFFFFFFFF)


def _aligned(value: object) -> int:
    address = _word(value)
    _check_aligned(address, 4)
    return address


def _check_aligned(address: int, width: int) -> None:
    if address % width:
        raise _Refused(Status.ERROR, f"0x{address:08X} is no multiple of {width}")


def _count(value: object) -> int:
    return _within(value, _MAX_ITEMS)


def _bits(value: object) -> int:
    if value not in (8, 16, 32):
        raise _Refused(Status.ERROR, f"an access has 8, 16 or 32 bits, not {str(value)[:40]}")
    return _within(value, 32)


def _list(value: object, limit: int) -> list[int]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise _Refused(Status.ERROR, f"data is a list of at most {_MAX_ITEMS} numbers")
    return [_within(each, limit) for each in value]


def _words(value: object) -> list[int]:
    return _list(value, 0xFFFFFFFF)


def _bytes(value: object) -> list[int]:
    return _list(value, 0xFF)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Refused(Status.ERROR, f"{str(value)[:40]} is no text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, int) or value not in (0, 1):  # pyOCD sends both, true and 1
        raise _Refused(Status.ERROR, f"{str(value)[:40]} is neither true nor false")
    return bool(value)

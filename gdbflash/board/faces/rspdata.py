"""Packets that move data: registers, memory, checksums, and the fields that packets are made of."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.packets import MALFORMED, NOT_NOW, OK, UNSUPPORTED, escape, unescape
from gdbflash.board.faces.personality import Personality
from gdbflash.board.faces.softbreak import Breakpoints

_ADDRESS_SPACE = 1 << 32
_CRC_CHUNK = 1 << 16
_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Malformed(Exception):
    """A packet does not have the form that the protocol gives it."""


class DataAccess:
    """Registers and memory of a board as one session's packets reach them.

    Every method takes a packet's body and gives the reply; they raise Malformed and BusError.
    """

    def __init__(self, port: DebugPort, breakpoints: Breakpoints, personality: Personality) -> None:
        self._port = port
        self._breakpoints = breakpoints
        self._traits = personality
        registers = (register for feature in personality.registers for register in feature.registers)
        self._registers = {register.number: register for register in registers}
        self._in_g = [self._registers[number] for number in sorted(self._registers)][: personality.registers_in_g]

    def read_registers(self, _: bytes) -> bytes:
        """g: give all registers in the order of their numbers."""
        if self._port.halted is None:
            return NOT_NOW
        return b"".join(register.read(self._port) for register in self._in_g).hex().encode()

    def write_registers(self, body: bytes) -> bytes:
        """G: set the registers that the packet is long enough for."""
        if self._port.halted is None:
            return NOT_NOW
        values = unhex(body)
        for register in self._in_g:
            size = register.bits // 8
            if len(values) < size:
                break
            register.write(self._port, values[:size])
            values = values[size:]
        return OK

    def read_register(self, body: bytes) -> bytes:
        """p: give one register by its number."""
        register = self._registers.get(hex_number(body))
        if register is None:
            return MALFORMED
        return NOT_NOW if self._port.halted is None else register.read(self._port).hex().encode()

    def write_register(self, body: bytes) -> bytes:
        """P: set one register by its number."""
        name, value = split(body, b"=")
        register = self._registers.get(hex_number(name))
        data = unhex(value)
        if register is None or len(data) != register.bits // 8:
            return MALFORMED
        if self._port.halted is None:
            return NOT_NOW
        register.write(self._port, data)
        return OK

    def read_memory(self, body: bytes) -> bytes:
        """m: read memory; fewer bytes than asked for are a good answer, and GDB asks for the rest."""
        try:
            address, size = address_range(body)
            size = min(size, self._traits.memory_read_limit or size, self._traits.packet_size // 2)
            return self._read(address, size).hex().encode() if size else b""
        except BusError:
            return self._traits.memory_read_error.encode()

    def read_binary(self, body: bytes) -> bytes:
        """x: read memory as escaped bytes, which is faster where GDB knows it (from 16 on)."""
        if not self._traits.binary_read:
            return UNSUPPORTED
        address, size = address_range(body)
        return b"b" + escape(self._read(address, min(size, self._traits.packet_size // 2)) if size else b"")

    def _read(self, address: int, size: int) -> bytes:
        for start, value in self._traits.words:
            if start <= address and address + size <= start + 4:
                return value.to_bytes(4, "little")[address - start :][:size]
        return self._breakpoints.read(address, size)

    def write_hex(self, body: bytes) -> bytes:
        """M: write memory from hex digits."""
        head, data = split(body, b":")
        return self._write_memory(head, unhex(data))

    def write_binary(self, body: bytes) -> bytes:
        """X: write memory from escaped bytes."""
        if not self._traits.binary_write:
            return UNSUPPORTED
        head, data = split(body, b":")
        return self._write_memory(head, unescape(data))

    def _write_memory(self, head: bytes, data: bytes) -> bytes:
        address, size = address_range(head)
        if size != len(data):
            raise Malformed
        if data:  # GDB asks with an empty X packet whether X is supported.
            self._breakpoints.write(address, data[: self._traits.memory_write_limit])
        return OK

    def crc(self, body: bytes) -> bytes:
        """qCRC: give the CRC-32 that GDB's compare-sections works out over a range."""
        address, size = address_range(body)
        crc = 0
        for offset in range(0, size, _CRC_CHUNK):
            chunk = self._breakpoints.read(address + offset, min(_CRC_CHUNK, size - offset))
            crc = zlib.crc32(chunk.translate(_BIT_REVERSED), crc)
        # GDB's CRC goes from the highest bit down and is not inverted at the end: zlib's, mirrored.
        return b"C%08x" % int(f"{crc ^ 0xFFFFFFFF:032b}"[::-1], 2)


PACKETS_OF_DATA: dict[bytes, Callable[[DataAccess, bytes], bytes]] = {
    b"G": DataAccess.write_registers,
    b"M": DataAccess.write_hex,
    b"P": DataAccess.write_register,
    b"X": DataAccess.write_binary,
    b"g": DataAccess.read_registers,
    b"m": DataAccess.read_memory,
    b"p": DataAccess.read_register,
    b"x": DataAccess.read_binary,
}


def hex_number(text: bytes) -> int:
    """Read a hexadecimal number below 2^32; raises Malformed."""
    # int() alone would also take signs, blanks and underscores.
    if not text or text.strip(b"0123456789abcdefABCDEF"):
        raise Malformed
    value = int(text, 16)
    if value >= _ADDRESS_SPACE:
        raise Malformed
    return value


def address_range(text: bytes) -> tuple[int, int]:
    """Read address,size; a range that runs over the end of the address space is a bus error."""
    head, tail = split(text, b",")
    address, size = hex_number(head), hex_number(tail)
    if address + size > _ADDRESS_SPACE:
        raise BusError(0)
    return address, size


def split(text: bytes, separator: bytes) -> tuple[bytes, bytes]:
    """Cut at the first separator; raises Malformed where there is none."""
    head, found, tail = text.partition(separator)
    if not found:
        raise Malformed
    return head, tail


def unhex(text: bytes) -> bytes:
    """Read pairs of hexadecimal digits; raises Malformed."""
    try:
        return binascii.unhexlify(text)
    except ValueError:  # binascii.Error is one, and so is what it says of characters beyond ASCII.
        raise Malformed from None

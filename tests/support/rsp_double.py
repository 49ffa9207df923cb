"""A board without a machine, and a client without a GDB, for tests of the RSP face."""

import socket
import threading
from types import TracebackType

from gdbflash.board.bus import BusError
from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.packets import frame

RAM_START = 0x24000000
RAM_SIZE = 0x80000
NAMES = (
    *(f"r{n}" for n in range(13)),
    *("sp", "lr", "pc", "xpsr", "msp", "psp", "primask", "basepri", "faultmask", "control", "fpscr"),
    *(f"s{n}" for n in range(32)),
)


class RamBoard:
    """A DebugPort whose core runs until it is halted, or until a test says stop()."""

    def __init__(self) -> None:
        self.registers = {name: 0x1000 + index for index, name in enumerate(NAMES)}
        self.ram = bytearray(range(256)) * (RAM_SIZE // 256)
        self.calls: list[str] = []
        self.breakpoints: set[int] = set()
        self.watchpoints: set[tuple[int, int, str]] = set()
        self.stop_at_once: HaltReason | None = None
        self._halted: HaltReason | None = HaltReason.VECTOR_CATCH
        self._changed = threading.Condition()

    @property
    def halted(self) -> HaltReason | None:
        with self._changed:
            return self._halted

    def stop(self, reason: HaltReason | None) -> None:
        with self._changed:
            self._halted = reason
            self._changed.notify_all()

    def halt(self) -> None:
        self.calls.append("halt")
        with self._changed:
            if self._halted is None:
                self.stop(HaltReason.REQUEST)

    def resume(self) -> None:
        self.calls.append("resume")
        self.stop(self.stop_at_once)

    def step(self) -> None:
        self.calls.append("step")
        self.registers["pc"] += 2
        self.stop(HaltReason.STEP)

    def wait_halted(self, timeout: float | None) -> HaltReason | None:
        with self._changed:
            self._changed.wait_for(lambda: self._halted is not None, timeout)
            return self._halted

    def reset(self, *, halt: bool) -> None:
        self.calls.append("reset halt" if halt else "reset run")
        self.stop(HaltReason.VECTOR_CATCH if halt else None)

    def read_register(self, name: str) -> int:
        return self.registers[name]

    def write_register(self, name: str, value: int) -> None:
        assert name in self.registers
        self.registers[name] = value

    def read_memory(self, address: int, size: int) -> bytes:
        start = self._offset(address, size)
        return bytes(self.ram[start : start + size])

    def write_memory(self, address: int, data: bytes) -> None:
        start = self._offset(address, len(data))
        self.ram[start : start + len(data)] = data

    def set_breakpoint(self, address: int) -> None:
        self.breakpoints.add(address)

    def clear_breakpoint(self, address: int) -> None:
        self.breakpoints.discard(address)

    def set_watchpoint(self, address: int, size: int, access: str) -> None:
        self.watchpoints.add((address, size, access))

    def clear_watchpoint(self, address: int, size: int, access: str) -> None:
        self.watchpoints.discard((address, size, access))

    @staticmethod
    def _offset(address: int, size: int) -> int:
        if not RAM_START <= address <= address + size <= RAM_START + RAM_SIZE:
            raise BusError(address)
        return address - RAM_START


class RawClient:
    """A client that sends literal bytes and reads whole packets."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._acks = True

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exactly(self, size: int) -> bytes:
        """Read size raw bytes."""
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def packet(self) -> bytes:
        """Read one packet's payload after the acknowledgments before it; check its frame."""
        while b"#" not in self._buffer or len(self._buffer) < self._buffer.index(b"#") + 3:
            self._more()
        end = self._buffer.index(b"#") + 3
        whole, self._buffer = self._buffer[:end].lstrip(b"+"), self._buffer[end:]
        payload = whole[1:-3]
        assert whole == frame(payload)
        return payload

    def ask(self, payload: bytes) -> bytes:
        """Send a packet, with an acknowledgment of the reply as long as there are any."""
        self.send(frame(payload))
        reply = self.packet()
        if self._acks:
            self.send(b"+")
        return reply

    def no_ack(self) -> None:
        assert self.ask(b"QStartNoAckMode") == b"OK"
        self._acks = False

    def monitor(self, line: str) -> tuple[str, bytes]:
        """Run a monitor command and give its console text and last packet."""
        text = ""
        reply = self.ask(b"qRcmd," + line.encode().hex().encode())
        while reply[:1] == b"O" and reply != b"OK":
            text += bytes.fromhex(reply[1:].decode()).decode()
            reply = self.packet()
        return text, reply

    def at_end(self) -> bool:
        """Wait for the connection's end; anything else that comes is a failure."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("the server hung up")
        self._buffer += data


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Connect two sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[0], client

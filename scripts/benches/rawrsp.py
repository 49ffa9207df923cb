"""The least that a call can be over the remote protocol: what calls through GDB are measured against."""

from __future__ import annotations

import select
import socket
import time

from gdbflash.servers.tcl import TclPort

NUMBERS = {**{f"r{index}": index for index in range(4)}, "sp": 13, "lr": 14, "pc": 15}


class RawRsp:
    """A client of a GDB server that asks and waits, and does nothing else."""

    def __init__(self, port: int, tcl_port: int | None = None) -> None:
        """tcl_port: where OpenOCD is told to look at the core while it runs."""
        self._connect(port)
        self._tcl = TclPort("127.0.0.1", tcl_port) if tcl_port else None
        self._look = f"{{{self._tcl.run('target current')}}} arp_poll" if self._tcl else ""

    def _connect(self, port: int) -> None:
        """Connect; OpenOCD refuses until it has seen that the client before has gone."""
        for attempt in range(20):
            self._pending = b""
            self._socket = socket.create_connection(("127.0.0.1", port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._socket.sendall(b"+")
                self.ask("QStartNoAckMode")
                self._socket.sendall(b"+")
                self.ask("?")
                self.ask("qXfer:features:read:target.xml:0,ffb")  # without it QEMU takes no P
                return
            except ConnectionError:
                self._socket.close()
                if attempt == 19:
                    raise
                time.sleep(0.1)

    def ask(self, packet: str) -> str:
        """Send a packet and wait for its reply."""
        self._send(packet)
        return self._reply()

    def _send(self, packet: str) -> None:
        self._socket.sendall(b"$%s#%02x" % (packet.encode(), sum(packet.encode()) & 0xFF))

    def _reply(self) -> str:
        while True:
            start = self._pending.find(b"$")
            end = self._pending.find(b"#", start)
            if 0 <= start < end and len(self._pending) >= end + 3:
                reply, self._pending = self._pending[start + 1 : end], self._pending[end + 3 :]
                if reply[:1] == b"O" and reply != b"OK":  # what the server has to say
                    continue
                return reply.decode("latin-1")
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("the server hung up")
            self._pending += chunk

    def write_register(self, name: str, value: int) -> None:
        """Write a core register."""
        if self.ask(f"P{NUMBERS[name]:x}={value.to_bytes(4, 'little').hex()}") != "OK":
            raise ConnectionError(f"{name} cannot be written")

    def run(self) -> None:
        """Let the core run to its breakpoint."""
        self._send("vCont;c")
        while self._tcl is not None and not self._pending and not select.select([self._socket], [], [], 0.001)[0]:
            self._tcl.do(self._look)
        reply = self._reply()
        if reply[:3] not in ("T05", "S05"):
            raise ConnectionError(f"the core did not come back: {reply}")

    def close(self) -> None:
        """Leave the core as it is."""
        if self._tcl is not None:
            self._tcl.close()
        self._socket.close()


def raw_call(rsp: RawRsp, registers: dict[str, int]) -> int:
    """Write registers, run to the breakpoint, and read r0 and r1."""
    for name, value in registers.items():
        rsp.write_register(name, value)
    rsp.run()
    rsp.ask("p1")
    return int.from_bytes(bytes.fromhex(rsp.ask("p0")), "little")

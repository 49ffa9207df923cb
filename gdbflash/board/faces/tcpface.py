"""What the faces of a debug probe on TCP share: a port of this machine, and a thread for each client.

What belongs here: listening, connections that come and go, and their end. What travels on them is each face's concern.
"""

from __future__ import annotations

import abc
import contextlib
import socket
import socketserver
import sys
import threading
from types import TracebackType
from typing import Any, TypeVar

Self = TypeVar("Self", bound="TcpFace")


class TcpFace(abc.ABC):
    """A server on 127.0.0.1 for any number of clients, one after the other or sharing the probe.

    Clients that come and go leave the board as it is. An unexpected exception in a connection's thread is raised
    by close().
    """

    def __init__(self, name: str, port: int) -> None:
        """Listen, which a derived class asks for last; port 0 takes a free one. Raises OSError."""
        self._server = _TcpServer(("127.0.0.1", port), self)
        # The poll interval only bounds how long close() waits.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=name, daemon=True
        )
        self._thread.start()

    @abc.abstractmethod
    def serve(self, connection: Connection) -> None:
        """Serve one client, in a thread of its own, until it is done with; ConnectionError and EOFError end it too."""

    @property
    def port(self) -> int:
        """The TCP port listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening, close all connections and wait for their threads; a second call does nothing."""
        self._server.shutdown()
        self._server.hang_up_all()
        self._server.server_close()
        self._thread.join()
        failure, self._server.failure = self._server.failure, None
        if failure is not None:
            raise failure

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False  # server_close() waits for them
    failure: BaseException | None = None

    def __init__(self, address: tuple[str, int], owner: TcpFace) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, Connection)

    def admit(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.add(connection)

    def dismiss(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        self.failure = sys.exc_info()[1]

    def hang_up_all(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)


class Connection(socketserver.BaseRequestHandler):
    """One client."""

    server: _TcpServer
    request: socket.socket

    def setup(self) -> None:
        """Take it in."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = self.request.makefile("rb")
        self.server.admit(self.request)

    def finish(self) -> None:
        """Let it go."""
        self.server.dismiss(self.request)
        self._received.close()

    def handle(self) -> None:
        """Have the face serve it."""
        with contextlib.suppress(ConnectionError, EOFError):  # it vanished: the next one finds the probe as it is
            self.server.owner.serve(self)

    def read(self, size: int) -> bytes:
        """Receive so many bytes; raises EOFError, ConnectionError."""
        data = self._received.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def read_line(self, limit: int) -> bytes:
        """Receive a line with its end, or limit bytes of a longer one; raises EOFError, ConnectionError."""
        line = self._received.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise EOFError
        return line

    def send(self, data: bytes) -> None:
        """Send all of it; raises ConnectionError."""
        self.request.sendall(data)

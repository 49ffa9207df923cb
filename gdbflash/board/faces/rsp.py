"""The board's GDB server: a listening socket, one client after another, each served by a `Session`."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import Counter
from types import TracebackType

from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.personality import BOARD, Personality
from gdbflash.board.faces.rsplink import Link, LinkConditions
from gdbflash.board.faces.rspsession import Session


class RspServer:
    """Let GDB in to a board over TCP on 127.0.0.1.

    In a test: `with RspServer(machine) as server: connect(server.port)`. In a command: `serve_forever()`. One client
    is served at a time, the next one waits. `link` holds the packet counters and the wire's faults.
    """

    def __init__(
        self,
        board: DebugPort,
        *,
        port: int = 0,
        personality: Personality = BOARD,
        persistent: bool | None = None,
        link: LinkConditions | None = None,
    ) -> None:
        """Listen; port 0 takes a free one, persistent None leaves it to the personality. Raises OSError."""
        self._board = board
        self.personality = personality
        self.link = link if link is not None else LinkConditions()
        self._persistent = personality.persistent if persistent is None else persistent
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def packets(self) -> Counter[str]:
        """Packets received so far, by kind; clear() starts anew."""
        return self.link.packets

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self._serve_in_thread, name=f"rsp-{self.port}", daemon=True)
        self._thread.start()

    def serve_forever(self) -> None:
        """Serve until close() is called or, if not persistent, the first client has gone."""
        try:
            while not self._closing:
                readable, _, _ = select.select([self._listener, self._woken], [], [])
                if self._woken in readable:
                    return
                connection, _ = self._listener.accept()
                if not self._serve(connection):
                    return
        finally:
            self._listener.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a server in a thread has ended, as one does that is not persistent; False when time is up."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Cut the client off and end.

        Raises what made a session fail: an exception of the board's is a bug in the board, and GDB cannot tell.
        """
        with self._lock:
            self._closing = True
            if self._client is not None:
                self._hang_up(self._client)
        self._wake.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._listener.close()
        self._woken.close()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> RspServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve_in_thread(self) -> None:
        try:
            self.serve_forever()
        except BaseException as error:  # Kept for close(), which raises it where somebody looks.
            self._failure = error

    def _serve(self, connection: socket.socket) -> bool:
        """Serve one client and say whether to go on."""
        with connection:
            with self._lock:
                if self._closing:
                    return False
                self._client = connection
            try:
                session = Session(self._board, Link(connection, self.link), self.personality)
                session.serve()
            finally:
                with self._lock:
                    self._client = None
        return self._persistent or (session.extended and self.personality.persistent_when_extended)

    @staticmethod
    def _hang_up(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # The client may have been faster.
            connection.shutdown(socket.SHUT_RDWR)

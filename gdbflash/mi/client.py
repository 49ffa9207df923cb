"""GDB/MI over pipes: one gdb process whose commands are told apart by tokens.

What belongs here: starting and ending gdb, sending a command and reading until its result record, keeping
the asynchronous records for whoever asks. What a target is lies in `target`. pygdbmi's parser is used
here only, and only on records whose shape has been checked: it does not end on some malformed ones.

Source: Debugging with GDB, chapter "The GDB/MI Interface", sections "GDB/MI Output Syntax" and "Input Syntax".
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from pygdbmi.gdbmiparser import parse_response

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, GdbMissing, InputError
from gdbflash.host.folders import TemporaryFolder
from gdbflash.host.pipes import inflow
from gdbflash.host.processes import OWN_GROUP, crash_name, interrupt, kill_group
from gdbflash.runlog import Trace

MiValue = Union[str, "list[MiValue]", "dict[str, MiValue]"]

ANSWER_TIMEOUT = 10.0
"""Seconds for one command: GDB itself gives a packet up after three times its remotetimeout."""
START_TIMEOUT = 20.0
"""Seconds for gdb's first answer: a cold start from a slow disk with Python inside."""
LONGEST_REPLY = 32 << 20
"""Characters said about one command, packets in the log included; reading 16 MiB by the smallest packets tells 20."""
SETTLE_TIMEOUT = 5.0
"""Seconds for gdb to come back to its prompt after SIGINT."""

_LONGEST_QUOTE = 160
"""Characters of a server's own words in a message: OpenOCD can say a page; the trace has all of it."""

_CONNECTION_LOST = re.compile(
    r"Remote connection closed|Remote communication error|Connection reset by peer|Connection timed out"
    r"|Broken pipe|putpkt: write failed|Target disconnected|Input/output error|No such device",
    re.IGNORECASE,
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_VALUE = "\x01"
"""Stands for a value that has been checked; no character of a name, and GDB writes it escaped in strings."""
_TUPLE_OR_LIST = re.compile(
    r"\{(?:[\w.-]+=\x01(?:,[\w.-]+=\x01)*)?\}|\[(?:(?:[\w.-]+=)?\x01(?:,(?:[\w.-]+=)?\x01)*)?\]"
)
_RECORD = re.compile(r"\d*[\^*=][\w-]+(?:,[\w.-]+=\x01)*\Z")
_STREAM = re.compile(r'[~@&]"(?:[^"\\]|\\.)*"\Z')
_PACKET = re.compile(r"\s*\[remote\] |(?:Sending packet|Packet received): |(?:Ack|Nak)$")
"""How GDB begins what it says with `set debug remote 1`; the second and third form before GDB 11."""
_DEEPEST = 32
"""Nesting of tuples and lists beyond which a record is not taken for one; GDB's own stay under 8."""


@dataclass(frozen=True)
class Record:
    """One line of gdb's output."""

    kind: str
    """result, notify, console, log, target, prompt; "output" for what is no MI (gdb's stderr, or damage)."""
    name: str = ""
    """The class of a result or notify record: done, error, stopped..."""
    payload: dict[str, MiValue] = field(default_factory=dict)
    token: int | None = None
    text: str = ""
    """What a stream record says, or the line itself."""


@dataclass(frozen=True)
class Reply:
    """What a command was answered: its result and what was said until then."""

    payload: dict[str, MiValue]
    console: str = ""
    log: str = ""
    target: str = ""
    packets: str = ""
    """What `set debug remote 1` made GDB tell of the packets meanwhile; no part of log."""


def c_string(text: str) -> str:
    r"""Quote text as an MI c-string, every byte outside printable ASCII as \ooo; raises InputError for NUL.

    Source: "GDB/MI Input Syntax", c-string; GDB's mi_parse_escape takes at most three octal digits.
    """
    if "\0" in text:
        raise InputError("A name with a NUL character cannot be passed to gdb; use another name.", text=text)
    quoted = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
        for byte in os.fsencode(text)
    )
    return f'"{quoted}"'


def parse_record(line: str) -> Record:
    """Parse one line of MI output; what is no well-formed record comes back as kind "output". Never raises."""
    line = line.rstrip("\r\n")
    if line.rstrip() == "(gdb)":
        return Record("prompt")
    if not _well_formed(line):
        return Record("output", text=line)
    try:
        parsed = parse_response(line)
    except (ValueError, KeyError, IndexError, TypeError):  # an escape that pygdbmi does not know
        return Record("output", text=line)
    kind = str(parsed["type"])
    if kind in ("result", "notify"):
        payload = parsed["payload"]
        return Record(kind, parsed["message"], payload if payload is not None else {}, parsed["token"], line)
    return Record(kind, text=str(parsed["payload"]))


def _well_formed(line: str) -> bool:
    if line[:1] in ("~", "@", "&"):
        return _STREAM.match(line) is not None
    if _VALUE in line:
        return False
    skeleton = _STRING.sub(_VALUE, line)
    for _ in range(_DEEPEST):
        skeleton, found = _TUPLE_OR_LIST.subn(_VALUE, skeleton)
        if not found:
            break
    return _RECORD.match(skeleton) is not None


class MiClient:
    """One gdb process, spoken to in MI; not for use by two threads at once."""

    def __init__(self, gdb: Path, *, trace: Trace | None = None, patience: float = 1.0) -> None:
        """Start gdb in a private directory, free of start-up files; raises GdbMissing.

        patience: a factor on every time-out of a command.
        """
        self.patience = patience
        self.gdb = gdb
        """The program."""
        self._folder = TemporaryFolder()
        self.directory = self._folder.path
        """gdb's working directory: names of transfer files need no quoting, and no .gdbinit lies there."""
        self._trace = trace
        self._tokens = itertools.count(1)
        self._outstanding: int | None = None
        self._rest = b""
        self._lines: deque[str] = deque()
        self._events: deque[Record] = deque(maxlen=256)
        self._said: deque[str] = deque(maxlen=12)
        self._lost = False
        self.silent = False
        """A command has had no answer in its time: no other one need be tried on the way out."""
        try:
            self._process = self._start(gdb)
        except OSError as error:
            self._folder.remove()
            raise GdbMissing(f"{gdb} could not be started ({error.strerror}).", gdb=str(gdb)) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        self._inflow = inflow(self._stdout.fileno())
        try:
            for setting in ("confirm off", "pagination off", "width 0", "history save off"):
                self.command(f"-gdb-set {setting}", timeout=START_TIMEOUT)
            self.version = (self.command("-gdb-version").console.splitlines() or ["a GDB without a version"])[0]
            """What gdb calls itself."""
        except GdbflashError as error:
            said = self.last_words
            self.kill()
            raise GdbMissing(
                f"{gdb} did not start as a GDB with the MI interface: {(said or error.message).rstrip('.')}.",
                gdb=str(gdb),
            ) from error
        except BaseException:
            self.kill()
            raise

    def _start(self, gdb: Path) -> subprocess.Popen[bytes]:
        argv = [str(gdb), "-nx", "-q", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off"]
        # GDBs built on Linux take a target without a file for Linux, whose breakpoint in Thumb code is UDF: a fault
        # on the chip. They write it themselves where the server has no Z0 (st-util, Black Magic).
        argv += ["-iex", "set osabi none"]
        # LC_ALL and TERM: messages that can be recognised, without colours (they would also be inside errors).
        # A session of its own: the terminal's Ctrl-C is for us to act on, not for gdb.
        return subprocess.Popen(
            [*argv, "-iex", "set style enabled off", "--interpreter=mi3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd=self.directory,
            env={**os.environ, "LC_ALL": "C", "TERM": "dumb"},
            **OWN_GROUP,
        )

    @property
    def pid(self) -> int:
        """Process id of gdb."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """What gdb and the server said since the last command, on one line, for error messages."""
        return " ".join(" ".join(self._said).split())

    def command(self, text: str, *, timeout: float = ANSWER_TIMEOUT) -> Reply:
        """Send one MI command and return its reply.

        Raises CommandRefused for an error reply, ConnectionLost when gdb, the server, or an answer within
        timeout seconds is missing. An exception in the middle (KeyboardInterrupt too) leaves the client usable.
        """
        if "\n" in text or "\r" in text:
            raise InputError("A command for gdb cannot hold a line break.", command=text)
        if self._outstanding is not None:
            self._settle()
        token = next(self._tokens)
        self._said.clear()
        streams: dict[str, list[str]] = {"console": [], "log": [], "target": [], "packets": []}
        self._outstanding = token
        size = 0
        timeout *= self.patience
        self._send(f"{token}{text}")
        for record in self._records(timeout):
            if record.kind == "result" and record.token == token:
                self._outstanding = None
                reply = Reply(record.payload, **{kind: "".join(said) for kind, said in streams.items()})
                if record.name == "error":
                    raise self._refusal(text, reply)
                return reply
            if record.kind in streams:
                streams[record.kind].append(record.text)
                size += len(record.text)
                if size > LONGEST_REPLY:
                    raise self._endless()
            elif record.kind == "output" and record.text.startswith(f"{token}^"):
                self._outstanding = None
                raise ConnectionLost(
                    f"gdb answered {text} with a damaged record; try another GDB with --gdb.",
                    command=text,
                    reply=record.text,
                )
        self.silent = True
        raise ConnectionLost(
            f"No answer to {text} within {timeout:g} s; the GDB server or the probe hangs, restart it.",
            command=text,
            seconds=timeout,
        )

    def console(self, command: str, *, timeout: float = ANSWER_TIMEOUT) -> Reply:
        """Run one command of GDB's command line; raises as `command` does."""
        return self.command(f"-interpreter-exec console {c_string(command)}", timeout=timeout)

    def forget_events(self) -> None:
        """Drop the asynchronous records kept so far."""
        self._events.clear()

    def wait_event(self, name: str, timeout: float) -> Record | None:
        """Return the first record of that class, kept or to come; None when timeout seconds passed.

        Raises ConnectionLost as soon as the server or gdb is gone.
        """
        while self._events:
            event = self._events.popleft()
            if event.name == name:
                return event
        self._check_connection()
        for record in self._records(timeout):
            if record.kind == "notify" and record.name == name:
                self._events.clear()
                return record
            self._check_connection()
        return None

    def interrupt(self) -> None:
        """Send gdb itself SIGINT: it ends what it is doing, between two packets."""
        interrupt(self._process)

    def close(self) -> None:
        """End gdb, which gives up its target in its own way, and remove its directory; never raises."""
        try:
            if self._process.poll() is None and self._outstanding is None:
                self._send(f"{next(self._tokens)}-gdb-exit")
                self._process.wait(2.0)
        except (GdbflashError, subprocess.TimeoutExpired):
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End gdb at once, with nothing said to the server, and remove its directory; never raises."""
        if self._process.poll() is None:
            kill_group(self._process.pid)
        self._process.wait()
        self._inflow.close()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._folder.remove()

    # The pipes

    def _send(self, line: str) -> None:
        if self._trace:
            self._trace(">", line)
        try:
            self._stdin.write(line.encode("ascii") + b"\n")
        except (BrokenPipeError, ValueError) as error:
            raise self._gdb_gone() from error

    def _records(self, timeout: float) -> Iterator[Record]:
        """Yield records as they come, until timeout seconds passed; keeps the asynchronous ones."""
        deadline = time.monotonic() + timeout
        late = False
        while True:
            while self._lines:
                yield self._take(self._lines.popleft())
            if late:  # of what came in time the end has been seen; a server that does not stop talking has none
                return
            remaining = deadline - time.monotonic()
            chunk = self._inflow.read(max(0.0, remaining))
            if chunk is None:
                return
            late = remaining <= 0
            if not chunk:
                raise self._gdb_gone()
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LONGEST_REPLY:
                raise self._endless()
            self._lines.extend(line.decode("utf-8", "replace") for line in lines)

    def _hear_out(self) -> None:
        """Take what gdb said before it ended."""
        while len(self._rest) <= LONGEST_REPLY and (chunk := self._inflow.read(0)):
            self._rest += chunk
        for line in self._rest.decode("utf-8", "replace").splitlines():
            self._take(line)
        self._rest = b""

    def _take(self, line: str) -> Record:
        if self._trace:
            self._trace("<", line)
        record = parse_record(line)
        if record.kind == "log" and _PACKET.match(record.text):
            return Record("packets", text=record.text)
        if record.kind == "notify":
            self._events.append(record)
            self._lost |= record.name == "thread-group-exited"
        elif record.kind not in ("result", "prompt"):
            self._said.append(record.text)
        return record

    def _settle(self) -> None:
        """Bring gdb back to its prompt after a command whose answer was not waited for."""
        self.interrupt()
        token = next(self._tokens)
        # The first line break ends a command of which only a part was written.
        self._send(f"\n{token}-info-gdb-mi-command gdb-exit")
        seconds = SETTLE_TIMEOUT * self.patience
        for record in self._records(seconds):
            if record.kind == "result" and record.token == token:
                self._outstanding = None
                self.silent = False
                return
        raise ConnectionLost(
            f"gdb did not come back within {seconds:g} s of being interrupted; "
            "the GDB server or the probe hangs, restart it.",
            seconds=seconds,
        )

    # What went wrong

    def _endless(self) -> ConnectionLost:
        self.silent = True
        return ConnectionLost(
            f"The GDB server does not stop talking: more than {LONGEST_REPLY >> 20} MiB in answer to one command. "
            "Restart it, and see what it says by itself."
        )

    def _refusal(self, text: str, reply: Reply) -> GdbflashError:
        message = str(reply.payload.get("msg", ""))
        if self._lost or _CONNECTION_LOST.search(message):
            return self._connection_lost(message)
        said = textwrap.shorten(reply.target or reply.log, _LONGEST_QUOTE, placeholder=" ...")
        if said and said not in message:
            # Of a monitor command that failed GDB itself can only say that it did.
            message = said if message == "Protocol error with Rcmd" else f"{message} ({said})"
        return CommandRefused(f"gdb refused {text}: {message}", command=text, reply=message)

    def _check_connection(self) -> None:
        if self._lost:
            for _ in self._records(0.1):  # what gdb says a moment after losing its target: why
                pass
            raise self._connection_lost()

    def _connection_lost(self, message: str = "") -> ConnectionLost:
        why = message or self.last_words
        return ConnectionLost(
            f"The connection to the GDB server was lost{f' ({why})' if why else ''}; "
            "restart the server and check the probe and its cable.",
            reply=why,
        )

    def _gdb_gone(self) -> ConnectionLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._hear_out()
        said = textwrap.shorten(self.last_words, _LONGEST_QUOTE, placeholder=" ...")
        status = self._process.returncode
        if crash := crash_name(status or 0):
            # GDB 13 and 18 do where a connection breaks while they write a register.
            return ConnectionLost(
                f"gdb crashed ({crash}), as it may when its server goes away: see whether "
                "server and probe still work, restart them, and run the command again; --gdb takes another gdb.",
                status=status,
                reply=said,
            )
        return ConnectionLost(
            f"gdb ended in the middle (status {status}){f', saying: {said}' if said else ''}; run the command again.",
            status=status,
        )

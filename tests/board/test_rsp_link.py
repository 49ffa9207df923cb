"""Framing, escaping and the conditions of the wire, byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.board.faces.packets import Event, PacketReader, Signal, escape, frame, packet_kind, unescape
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.rsplink import Link, LinkConditions
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.board.mishaps.occasion import Occasion
from tests.support.rsp_double import RamBoard, RawClient, tcp_pair

INTERRUPT, ACK, NAK, CORRUPT = Signal.INTERRUPT, Signal.ACK, Signal.NAK, Signal.CORRUPT


@pytest.mark.parametrize(
    ("payload", "framed"),
    [(b"", b"$#00"), (b"OK", b"$OK#9a"), (b"T05thread:1;", b"$T05thread:1;#d7"), (b"\xff\x02", b"$\xff\x02#01")],
)
def test_a_frame_carries_the_sum_of_its_bytes(payload: bytes, framed: bytes) -> None:
    assert frame(payload) == framed
    assert PacketReader().feed(framed) == [payload]


@pytest.mark.parametrize(
    ("data", "escaped"),
    [(b"#", b"}\x03"), (b"$", b"}\x04"), (b"}", b"}]"), (b"*", b"}\n"), (b"a}#}b", b"a}]}\x03}]b"), (b"\x03", b"\x03")],
)
def test_bytes_that_mean_something_are_escaped(data: bytes, escaped: bytes) -> None:
    assert escape(data) == escaped
    assert unescape(escaped) == data


def test_a_client_may_escape_any_byte() -> None:
    assert unescape(b"}\x41}}x") == b"a]x"
    assert unescape(b"x}") == b"x}"


@given(st.binary())
def test_escaping_is_undone_by_unescaping(data: bytes) -> None:
    assert unescape(escape(data)) == data
    assert PacketReader().feed(frame(escape(data))) == [escape(data)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"+$g#67", [ACK, b"g"]),
        (b"+-\x03", [ACK, NAK, INTERRUPT]),
        (b"$c#63\x03", [b"c", INTERRUPT]),
        (b"$X0,1:\x03#ff", [CORRUPT]),
        (b"$X0,1:\x03#22", [b"X0,1:\x03"]),
        (b"$g#68$g#67", [CORRUPT, b"g"]),
        (b"$g#zz$g#67", [CORRUPT, b"g"]),
        (b"$OK#9A", [b"OK"]),
        (b"$m1000,$g#67", [b"g"]),
        (b"GET / HTTP/1.0\r\n\r\n$g#67", [b"g"]),
        (b"$$$#00", [b""]),
        (b"#67", []),
        (b"$g#6", []),
    ],
)
def test_streams_are_cut_into_events(stream: bytes, events: list[Event]) -> None:
    assert PacketReader().feed(stream) == events
    reader = PacketReader()
    assert [event for byte in stream for event in reader.feed(bytes((byte,)))] == events


def test_a_packet_without_end_is_dropped() -> None:
    reader = PacketReader()
    events = [event for _ in range(3) for event in reader.feed(b"$" + b"0" * 0x10000)]
    assert events == [CORRUPT]
    assert reader.feed(b"$g#67") == [b"g"]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"$g#67", b"\x03", b"$", b"#", b"$X0,2:}"])), st.binary())
def test_no_stream_breaks_the_reader(pieces: list[bytes], payload: bytes) -> None:
    reader = PacketReader()
    for piece in pieces:
        reader.feed(piece)
    assert reader.feed(frame(escape(payload)) * 2)[-1] == escape(payload)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"m24000000,4", "m"),
        (b"Z0,24000000,2", "Z0"),
        (b"z4,24000000,4", "z4"),
        (b"vCont;c:1", "vCont;c"),
        (b"vCont?", "vCont?"),
        (b"vKill;1", "vKill"),
        (b"qSupported:multiprocess+;xmlRegisters=i386", "qSupported"),
        (b"qXfer:features:read:target.xml:0,ffb", "qXfer:features:read"),
        (b"qRcmd,72657365742068616c74", "qRcmd"),
        (b"qCRC:24000000,10", "qCRC"),
        (b"qC", "qC"),
        (b"qL1200000000000000000", "qL"),
        (b"QStartNoAckMode", "QStartNoAckMode"),
        (b"?", "?"),
        (b"", ""),
        (b"\xff\xfe", "\xff"),
    ],
)
def test_packets_are_counted_by_kind(payload: bytes, kind: str) -> None:
    assert packet_kind(payload) == kind


@pytest.fixture
def server() -> Iterator[RspServer]:
    with RspServer(RamBoard()) as running:
        yield running


def test_packets_are_acknowledged_until_told_otherwise(server: RspServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"+$qAttached#8f")
        assert client.exactly(6) == b"+$1#31"
        client.send(b"+$QStartNoAckMode#b0")
        assert client.exactly(7) == b"+$OK#9a"
        client.send(b"+$qAttached#8f")
        assert client.exactly(5) == b"$1#31"


def test_a_bad_checksum_is_refused_and_a_refused_reply_comes_again(server: RspServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"$qAttached#8e")
        assert client.exactly(1) == b"-"
        client.send(b"$qAttached#8f")
        assert client.exactly(6) == b"+$1#31"
        client.send(b"--")
        assert client.exactly(10) == b"$1#31$1#31"


def test_a_packet_may_come_byte_by_byte_and_several_at_once(server: RspServer) -> None:
    with RawClient(server.port) as client:
        for byte in b"$qAttached#8f":
            client.send(bytes((byte,)))
        assert client.exactly(6) == b"+$1#31"
        client.send(b"+$qAttached#8f+$qC#b4")
        assert client.exactly(14) == b"++$1#31$QC1#c5"


@given(st.binary(max_size=300))
def test_garbage_does_not_end_the_service(data: bytes) -> None:
    with RspServer(RamBoard()) as server:
        with RawClient(server.port) as client:
            client.send(data)
        with RawClient(server.port) as client:
            assert client.ask(b"qAttached") == b"1"


def test_packets_and_bytes_are_counted_and_the_count_starts_anew(server: RspServer) -> None:
    with RawClient(server.port) as client:
        client.no_ack()
        server.packets.clear()
        sent = server.link.bytes_sent
        client.ask(b"m24000000,4")
        client.ask(b"m24000004,4")
        client.ask(b"Z1,24000000,2")
        assert server.packets == {"m": 2, "Z1": 1}
        assert server.link.bytes_sent - sent == len(b"$00010203#8a" * 2 + b"$OK#9a")


def test_the_link_drops_after_as_many_packets_as_told_once(server: RspServer) -> None:
    with RawClient(server.port) as client:
        client.no_ack()
        server.link.faults = [PacketFault(LinkFault.DROP, Occasion(3, 3))]
        assert client.ask(b"qC") == b"QC1"
        assert client.ask(b"qC") == b"QC1"
        client.send(b"$qC#b4")
        with pytest.raises(ConnectionResetError):
            client.exactly(1)
    with RawClient(server.port) as client:
        assert [client.ask(b"qC") for _ in range(4)] == [b"QC1"] * 4
    assert server.packets["qC"] == 7


def test_latency_and_rate_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("gdbflash.board.faces.rsplink.pause", slept.append)
    monkeypatch.setattr("gdbflash.board.faces.rsplink.time.monotonic", lambda: 100.0)
    here, there = tcp_pair()
    with here, there:
        link = Link(here, LinkConditions(latency_us=250, kib_per_s=1))
        link.no_ack = True
        there.sendall(frame(b"g" * 508))
        assert link.receive() == b"g" * 508
        link.send(b"0" * 252)
    # 512 bytes of packet take half a second of 1 KiB/s, the 256 of the reply a quarter after that.
    assert slept == [0.5, 0.00025, 0.75]


def test_a_closed_server_hangs_up_on_a_client_that_waits() -> None:
    board = RamBoard()
    server = RspServer(board)
    server.start()
    with RawClient(server.port) as client:
        client.send(b"$c#63")
        assert client.exactly(1) == b"+"
        closing = threading.Thread(target=server.close)
        closing.start()
        assert client.at_end()
        closing.join()
    with pytest.raises(ConnectionRefusedError):
        RawClient(server.port)

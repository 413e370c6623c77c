"""permessage-deflate over a real line: families 12 and 13 of the Autobahn suite (RFC 7692).

Driven by two implementations that are not ours, `websockets` and `wsproto`, and by zlib alone where a rule is broken.
"""

import contextlib
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from broadwing import Channel, Endpoint, Socket, on
from broadwing.core import deflate as core_deflate
from broadwing.transports import websocket_entrance
from tests.support.background import TIMEOUT, Background, background, dial, until
from tests.support.echo import DEFLATE, ECHO, echoes
from tests.support.wire import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, Wire, client_frame, upgrade_headers, wire

RSV1 = 4
INVALID_DATA, TOO_BIG, PROTOCOL_ERROR = 1007, 1009, 1002
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
EXTENSIONS = "Sec-WebSocket-Extensions"


@pytest.fixture(scope="module")
def served() -> Iterator[Background]:
    with echoes() as each:
        yield each


@pytest.fixture
def line(served: Background) -> Iterator[Wire]:
    with wire(served.port, DEFLATE, headers={EXTENSIONS: "permessage-deflate"}) as connection:
        yield connection


def deflated(data: bytes) -> bytes:
    """Section 7.2.1, with zlib alone."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def inflated(frame: Frame, bits: int = 15) -> bytes:
    """Section 7.2.2; a window smaller than the one compressed with would fail here."""
    assert frame.rsv == RSV1
    return zlib.decompressobj(wbits=-bits).decompress(frame.payload + b"\x00\x00\xff\xff")


def payload(size: int, seed: int = 0) -> str:
    """Something that compresses about as well as chat does."""
    words = ["the", "message", "of", "a", "person", '{"body":', "12345", "hello", "€", "wings"]
    chance = random.Random(seed)
    text = ""
    while len(text) < size:
        text += chance.choice(words) + " "
    return text[:size]


# Family 12: messages of many sizes.


@pytest.mark.parametrize("size", [0, 1, 16, 63, 64, 65, 256, 1_024, 4_096, 65_536, 131_072])
def test_messages_of_any_size_come_back_through_websockets(served: Background, size: int) -> None:
    with connect(served.url(DEFLATE), compression="deflate", max_size=None) as client:
        assert client.protocol.extensions, "compression was not agreed on"
        for number in range(20):
            text = payload(size, number)
            message = text.encode() if number % 2 else text
            client.send(message)
            assert client.recv(timeout=TIMEOUT) == message


@pytest.mark.parametrize("size", [0, 16, 1_024, 131_072])
def test_messages_in_fragments_come_back_through_websockets(served: Background, size: int) -> None:
    with connect(served.url(DEFLATE), compression="deflate", max_size=None) as client:
        message = payload(size)
        client.send(message[at : at + 300] for at in range(0, max(size, 1), 300))
        assert client.recv(timeout=TIMEOUT) == message


@pytest.mark.parametrize("size", [0, 16, 1_024, 131_072])
def test_messages_come_back_through_wsproto(served: Background, size: int) -> None:
    line = dial(served.port)
    with line:
        peer = WSConnection(ConnectionType.CLIENT)
        offer = PerMessageDeflate()
        line.sendall(peer.send(Request(host="localhost", target=DEFLATE, extensions=[offer])))
        got: list[Any] = []

        def receive(wanted: type) -> None:
            while not any(isinstance(event, wanted) for event in got):
                peer.receive_data(line.recv(65_536))
                got.extend(peer.events())

        receive(AcceptConnection)
        assert offer.enabled()
        got.clear()
        line.sendall(peer.send(TextMessage(payload(size))))
        text = ""
        while not (got and got[-1].message_finished and isinstance(got[-1], TextMessage)):
            peer.receive_data(line.recv(65_536))
            got.extend(peer.events())
        text = "".join(event.data for event in got)
        assert text == payload(size)
        got.clear()
        line.sendall(peer.send(BytesMessage(b"\x00" * size)))
        while not (got and got[-1].message_finished):
            peer.receive_data(line.recv(65_536))
            got.extend(peer.events())
        assert b"".join(event.data for event in got) == b"\x00" * size


def test_what_compresses_is_sent_compressed_and_what_does_not_is_not(line: Wire) -> None:
    line.send_frame(TEXT, "a" * 1_000)
    frame = line.frame()
    assert inflated(frame) == b"a" * 1_000
    assert len(frame.payload) < 30
    noise = random.Random(1).randbytes(1_000)
    line.send_frame(BINARY, noise)
    # RFC 7692 section 6: an endpoint may send any message uncompressed.
    assert line.frame() == Frame(BINARY, noise)
    line.send_frame(TEXT, "short")
    assert line.frame() == Frame(TEXT, b"short")


def test_every_message_is_compressed_on_its_own(line: Wire) -> None:
    # `server_no_context_takeover`: the same message twice gives the same frame twice.
    line.send_frame(TEXT, payload(1_000))
    line.send_frame(TEXT, payload(1_000))
    assert line.frame() == line.frame()


def test_a_compressed_message_may_come_in_fragments_with_pings_between(line: Wire) -> None:
    # RFC 7692 section 6.1: only the first fragment has RSV1.
    data = deflated(b"Hello Hello Hello Hello")
    line.send_frame(TEXT, data[:3], fin=False, rsv=RSV1)
    line.send_frame(PING, b"between")
    assert line.frame() == Frame(PONG, b"between")
    line.send_frame(CONTINUATION, data[3:4], fin=False)
    line.send_frame(CONTINUATION, data[4:])
    assert line.frame() == Frame(TEXT, b"Hello Hello Hello Hello")


# Family 13: what is offered and what is answered (RFC 7692 section 7.1).


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; client_max_window_bits=9", ANSWER),
        ("permessage-deflate; client_no_context_takeover", ANSWER),
        ("permessage-deflate; server_no_context_takeover", ANSWER),
        ("permessage-deflate; server_max_window_bits=9", f"{ANSWER}; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", f"{ANSWER}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", f"{ANSWER}; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ANSWER),
        ("x-webkit-deflate-frame, permessage-deflate", ANSWER),
        # None of these can be met, so the connection goes without.
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; unknown=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_an_offer_is_answered(served: Background, offer: str, answer: str | None) -> None:
    with wire(served.port, headers=None) as line:
        head = line.upgrade(DEFLATE, {EXTENSIONS: offer})
        assert (head.status, head.headers.get("sec-websocket-extensions")) == (101, answer)
        line.send_frame(TEXT, "a" * 100)
        assert line.frame().rsv == (RSV1 if answer else 0)


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_window_that_was_asked_for_is_kept_to(served: Background, bits: int) -> None:
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=bits)
    with connect(served.url(DEFLATE), compression=None, extensions=[factory], max_size=None) as client:
        message = payload(100_000)
        client.send(message)
        assert client.recv(timeout=TIMEOUT) == message
    with wire(served.port, DEFLATE, headers={EXTENSIONS: f"permessage-deflate; server_max_window_bits={bits}"}) as line:
        line.send_frame(TEXT, payload(50_000))
        assert inflated(line.frame(), bits) == payload(50_000).encode()


def test_nothing_is_compressed_unless_the_mount_says_so(served: Background) -> None:
    # As recorded: the offer is not answered, since `compress` is off by default.
    with wire(served.port) as line:
        head = line.upgrade(ECHO, {EXTENSIONS: "permessage-deflate"})
        assert (head.status, head.headers.get("sec-websocket-extensions")) == (101, None)
        line.send_frame(TEXT, "a" * 1_000)
        assert line.frame() == Frame(TEXT, b"a" * 1_000)
        line.send_frame(TEXT, deflated(b"a" * 1_000), rsv=RSV1)
        assert line.close_code() == PROTOCOL_ERROR


# What is no deflate stream, and what is a bomb.


def test_a_stream_that_does_not_inflate_is_answered_with_1007(line: Wire) -> None:
    line.send_frame(TEXT, b"\xff\xff\xff\xff no deflate", rsv=RSV1)
    assert line.close_code() == INVALID_DATA


def test_compressed_text_that_is_not_utf8_is_answered_with_1007(line: Wire) -> None:
    line.send_frame(TEXT, deflated(b"\xff\xfe" * 100), rsv=RSV1)
    assert line.close_code() == INVALID_DATA


@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
def test_the_other_reserved_bits_stay_reserved(line: Wire, rsv: int) -> None:
    line.send_frame(TEXT, deflated(b"Hello"), rsv=rsv)
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [PING, PONG, 8])
def test_a_compressed_control_frame_is_a_protocol_error(line: Wire, opcode: int) -> None:
    line.send_frame(opcode, deflated(b"Hello"), rsv=RSV1)
    assert line.close_code() == PROTOCOL_ERROR


def test_a_continuation_with_the_bit_is_a_protocol_error(line: Wire) -> None:
    data = deflated(b"Hello")
    line.send(client_frame(TEXT, data[:2], fin=False, rsv=RSV1) + client_frame(CONTINUATION, data[2:], rsv=RSV1))
    assert line.close_code() == PROTOCOL_ERROR


def test_a_bomb_is_answered_with_1009_and_never_unfolded(line: Wire) -> None:
    # 200 MB of zeros in 200 kB; the mount's max_message_size is 200,000.
    compressor = zlib.compressobj(9, wbits=-15)
    parts = [compressor.compress(bytes(10_000_000)) for _ in range(20)]
    bomb = b"".join([*parts, compressor.flush(zlib.Z_SYNC_FLUSH)])[:-4]
    line.send_frame(BINARY, bomb, rsv=RSV1)
    assert line.close_code() == TOO_BIG


def test_a_message_of_just_the_limit_once_inflated_is_taken(line: Wire) -> None:
    line.send_frame(BINARY, deflated(bytes(200_000)), rsv=RSV1)
    assert inflated(line.frame()) == bytes(200_000)
    line.send_frame(BINARY, deflated(bytes(200_001)), rsv=RSV1)
    assert line.close_code() == TOO_BIG


# A broadcast.


class RoomChannel(Channel):
    async def join(self, params: Any) -> None: ...

    @on("shout")
    async def shout(self, payload: Any) -> None:
        self.broadcast("shout", payload)


class RoomSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket


def test_a_broadcast_is_compressed_once_for_all_who_agreed_on_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[int] = []
    deflate = core_deflate.deflate

    def counting(data: bytes, bits: int = 15) -> bytes:
        compressed.append(bits)
        return deflate(data, bits)

    monkeypatch.setattr(websocket_entrance, "deflate", counting)
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", RoomSocket, websocket={"compress": True})
    offers = [*["permessage-deflate"] * 5, *["permessage-deflate; server_max_window_bits=10"] * 5, *[""] * 5]
    said = {"body": payload(1_000)}
    with background(endpoint) as served, contextlib.ExitStack() as stack:
        lines = []
        for offer in offers:
            line = stack.enter_context(wire(served.port, "/socket/websocket?vsn=2.0.0", headers={EXTENSIONS: offer}))
            line.send_message("1", "1", "room:lobby", "phx_join", {})
            assert line.frame().opcode == TEXT
            lines.append(line)
        until(lambda: endpoint.pubsub.registry.count("room:lobby") == len(offers))
        compressed.clear()
        lines[0].send_message("1", "2", "room:lobby", "shout", said)
        for line, offer in zip(lines, offers, strict=True):
            frame = line.frame()
            data = inflated(frame, 10 if "=10" in offer else 15) if offer else frame.payload
            assert json.loads(data) == [None, None, "room:lobby", "shout", said]
        assert sorted(compressed) == [10, 15]


def test_the_headers_of_an_upgrade_with_compression_are_complete(served: Background) -> None:
    with wire(served.port) as line:
        line.request("GET", DEFLATE, {**upgrade_headers(), EXTENSIONS: ["x-unknown", "permessage-deflate"]})
        head = line.answer()
    assert head.status == 101
    assert head.headers["upgrade"] == "websocket"
    assert head.headers["connection"] == "Upgrade"
    assert head.headers["sec-websocket-extensions"] == ANSWER

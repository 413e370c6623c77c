"""permessage-deflate: expected values come from RFC 7692 (sections beside them), with plain zlib and `websockets` as other side."""

import random
import tracemalloc
import zlib

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode

from broadwing.core.deflate import MIN_COMPRESSED, cached_negotiate, deflate, inflate, negotiate
from broadwing.core.frames import TEXT, FrameLimits, FrameReader, frame

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"


def _bits(count: int) -> str:
    return f"{PLAIN}; server_max_window_bits={count}"


# Negotiation, section 7.1.


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], (PLAIN, 15)),
        (["permessage-deflate; client_max_window_bits"], (PLAIN, 15)),  # section 7.1.3, the offer of browsers
        (["permessage-deflate; server_no_context_takeover"], (PLAIN, 15)),
        (["permessage-deflate; client_no_context_takeover"], (PLAIN, 15)),
        # Section 7.1.3: the first of two offers is preferred by the client.
        (
            [
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits"
            ],
            (_bits(10), 10),
        ),
        (
            ["permessage-deflate; client_max_window_bits; server_max_window_bits=10", "permessage-deflate"],
            (_bits(10), 10),
        ),
        # The first cannot be met, the second can.
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], (PLAIN, 15)),
        (["permessage-deflate; mystery, permessage-deflate; server_max_window_bits=12"], (_bits(12), 12)),
        (["permessage-foo; use_y, permessage-foo, permessage-deflate"], (PLAIN, 15)),  # section 5.1
        ([' permessage-deflate ; server_max_window_bits = "11" '], (_bits(11), 11)),
        (['permessage-deflate; client_max_window_bits="9"'], (PLAIN, 15)),
    ],
)
def test_an_offer_that_can_be_met_is_answered(offers: list[str], answer: tuple[str, int]) -> None:
    assert negotiate(offers) == answer
    assert cached_negotiate(tuple(offers)) == answer


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_server_window_that_is_asked_for_is_answered(bits: int) -> None:
    # Section 7.1.2.1: it is accepted by including it, 15 too; a client may take its absence for a refusal.
    assert negotiate([f"permessage-deflate; server_max_window_bits={bits}"]) == (_bits(bits), bits)


@pytest.mark.parametrize("bits", range(8, 16))
def test_a_client_window_is_accepted_and_left_to_the_client(bits: int) -> None:
    assert negotiate([f"permessage-deflate; client_max_window_bits={bits}"]) == (PLAIN, 15)


@pytest.mark.parametrize(
    "offers",
    [
        [],
        [""],
        [",,"],
        ["permessage-foo, permessage-bar"],
        ["x-webkit-deflate-frame"],
        ["permessage-deflate;"],
        ["permessage-deflate; mystery"],  # section 7.1: a parameter that is not defined
        ["permessage-deflate; mystery=10"],
        ["permessage-deflate; server_no_context_takeover=1"],
        ["permessage-deflate; client_no_context_takeover="],
        ["permessage-deflate; server_max_window_bits"],
        # A window of 256 bytes is legal to ask for and to decline; zlib cannot keep to it.
        ["permessage-deflate; server_max_window_bits=8"],
    ],
)
def test_an_offer_that_cannot_be_met_is_declined(offers: list[str]) -> None:
    assert negotiate(offers) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "7",
        "16",
        "09",
        "010",
        "+10",
        "-10",
        "1 0",
        "10.0",
        "ten",
        "²",
        "१२",
        '"',
        '""',
        '"10',
        '10"',
        '"016"',
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("name", ["server_max_window_bits", "client_max_window_bits"])
def test_a_window_that_is_no_number_from_8_to_15_declines_the_offer(name: str, value: str) -> None:
    # Section 7.1.2: a decimal number without leading zeroes.
    assert negotiate([f"permessage-deflate; {name}={value}"]) is None


@pytest.mark.parametrize(
    "parameter",
    [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "client_max_window_bits",
        "client_max_window_bits=10",
        "server_max_window_bits=10",
    ],
)
def test_a_parameter_that_stands_twice_declines_the_offer(parameter: str) -> None:
    assert negotiate([f"permessage-deflate; {parameter}"]) is not None
    assert negotiate([f"permessage-deflate; {parameter}; {parameter}"]) is None


@pytest.mark.parametrize("server_bits", [None, *range(9, 16)])
@pytest.mark.parametrize("client_bits", [None, True, *range(9, 16)])
@pytest.mark.parametrize("takeover", [(False, False), (True, False), (False, True), (True, True)])
def test_a_client_of_another_library_accepts_the_answer_and_understands_what_follows(
    server_bits: int | None, client_bits: int | bool | None, takeover: tuple[bool, bool]
) -> None:
    factory = ClientPerMessageDeflateFactory(*takeover, server_bits, client_bits)
    offer = "; ".join(
        [
            "permessage-deflate",
            *(name if value is None else f"{name}={value}" for name, value in factory.get_request_params()),
        ]
    )
    accepted = negotiate([offer])
    assert accepted is not None
    answer, bits = accepted
    parameters: list[tuple[str, str | None]] = []
    for part in answer.split("; ")[1:]:
        name, given, value = part.partition("=")
        parameters.append((name, value if given else None))
    extension = factory.process_response_params(parameters, [])
    assert isinstance(extension, PerMessageDeflate)
    reader = FrameReader(FrameLimits(inflate=inflate))
    for message in (b"first " * 50, b"second " * 50):
        # From us to them, and from them to us; twice, so that a context kept by either side would show.
        received = extension.decode(Frame(Opcode.TEXT, deflate(message, bits), rsv1=True))
        assert received.data == message
        sent = Frame(Opcode.TEXT, message).serialize(mask=True, extensions=[extension])
        assert reader.feed(sent) == [(TEXT, message)]


# Messages, section 7.2.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("f248cdc9c90700", b"Hello"),  # 7.2.3.1 one block
        ("000500faff48656c6c6f00", b"Hello"),  # 7.2.3.3 a block without compression
        ("f348cdc9c9070000", b"Hello"),  # 7.2.3.4 a block marked final, and the empty block behind it
        ("f24805000000ffffcac9c90700", b"Hello"),  # 7.2.3.5 two blocks
        ("00", b""),  # 7.2.3.6 an empty message
        ("f348cdc9c90700", b"Hello"),  # a final block alone: what a sender makes that finishes its stream per message
        ("0300", b""),
    ],
)
def test_the_examples_of_the_rfc_inflate(data: str, message: bytes) -> None:
    assert inflate(bytes.fromhex(data), 100) == message


def test_hello_deflates_as_in_the_rfc() -> None:
    assert deflate(b"Hello").hex() == "f248cdc9c90700"
    assert deflate(b"") == b"\x00"  # 7.2.3.6


def test_a_message_that_needs_an_earlier_one_is_refused() -> None:
    # 7.2.3.2: the second "Hello" of a client that keeps its context, which the answer forbade it.
    assert inflate(bytes.fromhex("f200110000"), 100) is None


def _sample(size: int) -> bytes:
    # A period of 3,000 bytes makes matches at distances that a window below 4 kB does not reach.
    return (random.Random(size).randbytes(3000) * (size // 3000 + 1))[:size]


def _inflate_in_steps(data: bytes, bits: int) -> bytes:
    # In steps, since zlib finds what lies further back than the window as long as it is in the same output buffer.
    decompressor = zlib.decompressobj(-bits)
    out = [decompressor.decompress(data + TAIL, 200)]
    while decompressor.unconsumed_tail or out[-1]:
        out.append(decompressor.decompress(decompressor.unconsumed_tail, 200))
    return b"".join(out)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("size", [0, 1, 63, 500, 5000, 60_000])
def test_a_client_with_the_agreed_window_inflates_what_is_sent(bits: int, size: int) -> None:
    for message in (_sample(size), (b'{"body":"hello"}' * size)[:size]):
        data = deflate(message, bits)
        assert not data.endswith(TAIL)  # 7.2.1: the tail is removed
        assert _inflate_in_steps(data, bits) == message


def test_a_window_smaller_than_agreed_is_what_the_other_side_could_not_inflate() -> None:
    # That the test above can fail: a window of 32 kB refers back further than one of 512 bytes reaches.
    with pytest.raises(zlib.error, match="distance too far back"):
        _inflate_in_steps(deflate(_sample(60_000), 15), 9)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
def test_messages_of_a_client_with_any_window_inflate(bits: int, level: int, flush: int) -> None:
    for size in (0, 1, 500, 70_000):
        message = _sample(size)
        compressor = zlib.compressobj(level, wbits=-bits)
        data = compressor.compress(message) + compressor.flush(flush)
        if flush != zlib.Z_FINISH:
            assert data.endswith(TAIL)
            data = data[:-4]
        assert inflate(data, 70_000) == message


@pytest.mark.parametrize("strategy", [zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED])
def test_messages_of_a_client_with_any_strategy_inflate(strategy: int) -> None:
    message = b'["1","2","room:lobby","new_msg",{"body":"hello"}]' * 20
    compressor = zlib.compressobj(wbits=-15, strategy=strategy)
    assert inflate((compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], 2000) == message


@pytest.mark.parametrize(
    "data",
    [
        "ff",
        "07",  # block type 3 does not exist
        "ffffffffff",
        "000500ffff48656c6c6f00",  # the length of a plain block and its complement disagree
        "f248cdc9c9070000ff",
        "f348cdc9c90700ff",  # bytes behind a final block
        "f348cdc9c9070000ff",
        "f348cdc9c90700f348cdc9c90700",  # a second stream behind it
        "03",  # a final block that ends in the tail
        "1f8b0800000000000203f248cdc9c90700",  # gzip
        "789cf248cdc9c90700058c01f5",  # zlib
    ],
)
def test_garbage_does_not_inflate(data: str) -> None:
    assert inflate(bytes.fromhex(data), 1000) is None


def test_random_bytes_inflate_within_the_limit_or_not_at_all() -> None:
    generator = random.Random(7692)
    outcomes = set()
    for _ in range(3000):
        result = inflate(generator.randbytes(generator.randrange(40)), 50)
        assert result is None or result is False or (isinstance(result, bytes) and len(result) <= 50)
        outcomes.add(type(result))
    assert len(outcomes) == 3  # messages, refusals and bombs: the loop has seen all of them


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 32_768, 65_536])
def test_a_message_as_long_as_the_limit_passes_and_one_byte_more_does_not(size: int) -> None:
    for message in (bytes(size), random.Random(1).randbytes(size)):
        assert inflate(deflate(message), size) == message
    for message in (bytes(size + 1), random.Random(1).randbytes(size + 1)):
        assert inflate(deflate(message), size) is False


def test_a_bomb_is_not_unfolded() -> None:
    compressor = zlib.compressobj(9, wbits=-15)
    million = bytes(1_000_000)
    bomb = b"".join(compressor.compress(million) for _ in range(50)) + compressor.flush()
    assert len(bomb) * 1000 < 50_000_000
    tracemalloc.start()
    assert inflate(bomb, 100_000) is False
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000 + len(bomb)


def test_a_bomb_of_many_final_blocks_is_one_small_message_and_garbage() -> None:
    # Each of them would cost a fresh state of 40 kB, if they were followed.
    assert inflate(b"\x03\x00" * 1_000_000, 1000) is None


def test_messages_under_the_threshold_are_not_worth_a_compression() -> None:
    heartbeat = b'[null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]'
    assert len(heartbeat) < MIN_COMPRESSED
    assert len(frame(TEXT, heartbeat)) - len(frame(TEXT, deflate(heartbeat), compressed=True)) < 4

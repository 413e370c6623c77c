"""The frame codec, by section of RFC 6455 and case family of the Autobahn test suite.

Expected values are those of the RFC (section numbers beside them), of Autobahn (case numbers) and of the recorded outcomes of
Phoenix 1.8.12 on Bandit; none is copied from the codec's own output.
"""

import tracemalloc

import pytest

from broadwing.core import deflate
from broadwing.core.close import CloseCode
from broadwing.core.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameEvent,
    FrameLimits,
    FrameReader,
    close_frame,
    frame,
)
from tests.core.framing import KEY, binary, check, client, fails, feed, fragmented, header, held, masked, text

BROKEN = 1002
INVALID = 1007
BIG = 1009


def compressed_limits() -> FrameLimits:
    """The limits of a connection on which permessage-deflate was agreed."""
    return FrameLimits(inflate=deflate.inflate)


# RFC 6455 section 5.7: the examples, byte for byte. Servers do not mask, so unmasked examples are what we send.


def test_the_masked_text_message_of_section_5_7_is_read() -> None:
    check(bytes.fromhex("818537fa213d7f9f4d5158"), [text("Hello")])


def test_the_unmasked_text_message_of_section_5_7_is_written() -> None:
    assert frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


def test_the_fragmented_text_message_of_section_5_7_is_read_once_masked() -> None:
    first, second = fragmented(TEXT, [b"Hel", b"lo"])
    assert (first[:1], second[:1]) == (b"\x01", b"\x80")  # as in the example: 01 03 48 65 6c, 80 02 6c 6f
    check(first + second, [text("Hello")])


def test_the_ping_of_section_5_7_is_written_and_its_masked_pong_is_read() -> None:
    assert frame(PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    check(bytes.fromhex("8a8537fa213d7f9f4d5158"), [(PONG, b"Hello")])


def test_the_binary_message_of_256_bytes_of_section_5_7_is_written() -> None:
    payload = bytes(range(256))
    assert frame(BINARY, payload) == bytes.fromhex("827e0100") + payload


def test_the_binary_message_of_64_kib_of_section_5_7_is_written() -> None:
    payload = bytes(65_536)
    assert frame(BINARY, payload) == bytes.fromhex("827f0000000000010000") + payload


# Section 5.2, Autobahn 1.1 and 1.2: one frame of every length form.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_any_length_form_is_read(opcode: int, size: int) -> None:
    payload = bytes(32 + i % 95 for i in range(size))
    check(client(opcode, payload), [(opcode, payload)])


@pytest.mark.parametrize(
    ("size", "start"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (127, "827e007f"),
        (65_535, "827effff"),
        (65_536, "827f0000000000010000"),
    ],
)
def test_a_written_frame_uses_the_shortest_length_form(size: int, start: str) -> None:
    payload = b"*" * size
    assert frame(BINARY, payload) == bytes.fromhex(start) + payload


@pytest.mark.parametrize("head", ["82fe0005", "82ff0000000000000005"])
def test_a_length_in_a_longer_form_than_needed_is_read(head: str) -> None:
    # Section 5.2 binds the sender to the shortest form; Phoenix on Bandit reads the others too.
    check(bytes.fromhex(head) + KEY + masked(b"Hello"), [binary(b"Hello")])


def test_a_64_bit_length_with_its_highest_bit_set_is_refused_from_the_header() -> None:
    # Section 5.2: that bit must be 0. Whatever it means, it is more than anybody may send.
    check(bytes.fromhex("82ff8000000000000005"), [fails(BIG)])


def test_frames_in_one_chunk_are_read_in_order() -> None:
    check(client(TEXT, b"a") + client(BINARY, b"b") + client(PING, b"c"), [text("a"), binary(b"b"), (PING, b"c")])


def test_a_later_frame_of_any_length_form_may_be_cut_anywhere() -> None:
    sizes = (3, 126, 70_000, 0, 130)
    stream = b"".join(client(BINARY, bytes(size)) for size in sizes)
    check(stream, [binary(bytes(size)) for size in sizes])
    before = len(client(BINARY, bytes(3)) + client(BINARY, bytes(126)))
    for cut in range(before + 20):
        assert feed([stream[:cut], stream[cut:]]) == [binary(bytes(size)) for size in sizes]


def test_a_reader_between_frames_keeps_nothing() -> None:
    reader = FrameReader(FrameLimits())
    for chunks in (
        [client(TEXT, b"whole")],
        [client(TEXT, b"c")[:4], client(TEXT, b"c")[4:]],
        fragmented(TEXT, [b"a", b"b"]),
    ):
        for chunk in chunks:
            reader.feed(chunk)
        assert (reader._buffer, reader._fragments) == (None, None)


def test_any_masking_key_is_undone() -> None:
    for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x01\x02\x03\x04"):
        for size in range(9):
            payload = bytes(range(size))
            assert feed([client(BINARY, payload, key=key)]) == [binary(payload)]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_539, 131_072, 200_001])
def test_long_payloads_are_unmasked_in_blocks_that_keep_the_key_in_step(size: int) -> None:
    payload = bytes(i * 7 % 256 for i in range(size))
    stream = header(BINARY, size) + KEY + masked(payload)
    assert feed([stream]) == [binary(payload)]
    assert feed([stream[:1000], stream[1000:]]) == [binary(payload)]


# Section 5.1: a client masks.


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [0, 2, 126, 65_536])
def test_an_unmasked_frame_is_refused_from_its_header(opcode: int, size: int) -> None:
    check(header(opcode, size, mask=False), [fails(BROKEN)])


# Section 5.5.2 and 5.5.3, Autobahn 2: pings and pongs.


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"hi", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"*" * 125])
def test_a_ping_or_pong_of_up_to_125_bytes_is_read(opcode: int, payload: bytes) -> None:
    check(client(opcode, payload), [(opcode, payload)])


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [126, 65_536])
def test_a_control_frame_of_more_than_125_bytes_is_refused_from_its_header(opcode: int, size: int) -> None:
    check(header(opcode, size), [fails(BROKEN)])  # Autobahn 2.5


def test_ten_pings_in_one_chunk_are_ten_events() -> None:
    check(b"".join(client(PING, b"%d" % i) for i in range(10)), [(PING, b"%d" % i) for i in range(10)])  # 2.10


# Section 5.2, Autobahn 3: reserved bits without an extension.


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_a_reserved_bit_is_refused_from_the_header(opcode: int, rsv: int) -> None:
    check(header(opcode, 5, rsv=rsv), [fails(BROKEN)])


def test_messages_before_a_reserved_bit_are_delivered() -> None:
    check(client(TEXT, b"ok") + header(TEXT, 0, rsv=2), [text("ok"), fails(BROKEN)])  # Autobahn 3.2


# Section 5.2, Autobahn 4: reserved opcodes.


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("size", [0, 8, 126, 65_536])
@pytest.mark.parametrize("fin", [True, False])
def test_a_reserved_opcode_is_refused_from_the_header(opcode: int, size: int, fin: bool) -> None:
    check(header(opcode, size, fin=fin), [fails(BROKEN)])


def test_a_reserved_opcode_within_a_fragmented_message_is_refused() -> None:
    check(client(TEXT, b"a", fin=False) + header(0x5, 0), [fails(BROKEN)])


# Section 5.4, Autobahn 5: fragmentation.


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    "parts",
    [
        [b"fragment1", b"fragment2"],
        [b"", b""],
        [b"", b"all in the last"],
        [b"all in the first", b""],
        [b"", b"middle", b""],  # Autobahn 6.1.3
        [b"", b"", b""],  # Autobahn 6.1.2
        [b"one", b"two", b"three", b"four", b"five"],
        [b"x"] * 50,
    ],
)
def test_fragments_are_put_together(opcode: int, parts: list[bytes]) -> None:
    check(b"".join(fragmented(opcode, parts)), [(opcode, b"".join(parts))])


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_control_frames_come_between_the_fragments_and_are_not_held_back(opcode: int) -> None:
    first, second, third = fragmented(TEXT, [b"one", b"two", b"three"])  # Autobahn 5.6 to 5.8, 5.19
    stream = first + client(opcode, b"x") + second + client(opcode, b"y") + client(opcode, b"z") + third
    check(stream, [(opcode, b"x"), (opcode, b"y"), (opcode, b"z"), text("onetwothree")])


def test_a_close_between_the_fragments_ends_the_stream() -> None:
    first, second = fragmented(TEXT, [b"one", b"two"])
    check(first + client(CLOSE, b"\x03\xe8") + second, [(CLOSE, 1000)])


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_fragmented_control_frame_is_refused_from_its_header(opcode: int) -> None:
    check(header(opcode, 1, fin=False), [fails(BROKEN)])  # Autobahn 5.1, 5.2


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_without_a_start_is_refused_from_its_header(fin: bool) -> None:
    check(header(CONTINUATION, 24, fin=fin), [fails(BROKEN)])  # Autobahn 5.9 to 5.14


def test_a_continuation_after_the_end_of_a_message_is_refused() -> None:
    stream = b"".join(fragmented(TEXT, [b"one", b"two"])) + header(CONTINUATION, 3)
    check(stream, [text("onetwo"), fails(BROKEN)])  # Autobahn 5.15


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_new_message_within_a_fragmented_one_is_refused_from_its_header(opcode: int, fin: bool) -> None:
    check(client(TEXT, b"one", fin=False) + header(opcode, 3, fin=fin), [fails(BROKEN)])  # Autobahn 5.16 to 5.18, 5.20


def test_a_message_can_follow_a_fragmented_one_at_once() -> None:
    stream = b"".join(fragmented(BINARY, [b"a", b"b"]) + fragmented(TEXT, [b"c", b"d"])) + client(TEXT, b"e")
    check(stream, [binary(b"ab"), text("cd"), text("e")])


# Section 8.1, Autobahn 6 and 7: UTF-8. The sequences are those of Markus Kuhn's decoder stress test, with its numbers.

KOSME = bytes.fromhex("cebae1bdb9cf83cebcceb5")

VALID_UTF8: dict[str, str | bytes] = {
    "1 some correct text": KOSME,
    "2.1.1 U+0000": "00",
    "2.1.2 U+0080": "c280",
    "2.1.3 U+0800": "e0a080",
    "2.1.4 U+10000": "f0908080",
    "2.2.1 U+007F": "7f",
    "2.2.2 U+07FF": "dfbf",
    "2.2.3 U+FFFF": "efbfbf",
    "2.3.1 U+D7FF": "ed9fbf",
    "2.3.2 U+E000": "ee8080",
    "2.3.3 U+FFFD": "efbfbd",
    "2.3.4 U+10FFFF": "f48fbfbf",
    "5.3.1 U+FFFE, a noncharacter": "efbfbe",
    "5.3.4 U+1FFFE and U+1FFFF, noncharacters": "f09fbfbef09fbfbf",
    "byte order mark": "efbbbf",
    "letters of every length": "24c2a2e282acf0908d88",
    "Autobahn 6.2": "48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d382121",
}

INVALID_UTF8: dict[str, str | bytes] = {
    "2.1.5 five bytes": "f888808080",
    "2.1.6 six bytes": "fc8480808080",
    "2.2.4 U+1FFFFF": "f7bfbfbf",
    "2.2.5 U+3FFFFFF": "fbbfbfbfbf",
    "2.2.6 U+7FFFFFFF": "fdbfbfbfbfbf",
    "2.3.5 U+110000": "f4908080",
    "3.1.1 a continuation byte": "80",
    "3.1.2 the last continuation byte": "bf",
    "3.1.3 two continuation bytes": "80bf",
    "3.1.8 seven continuation bytes": "80bf80bf80bf80",
    "3.2.1 starts of two bytes, each before a space": "c020c120df20",
    "3.2.2 starts of three bytes": "e020ef20",
    "3.2.3 starts of four bytes": "f020f720",
    "3.3.1 last byte of two missing": "c0",
    "3.3.1 last byte of a legal two missing": "df",
    "3.3.2 last byte of three missing": "e080",
    "3.3.2 last byte of a legal three missing": "e0a0",
    "3.3.3 last byte of four missing": "f0908d",
    "3.3.7 last byte of U+FFFF missing": "efbf",
    "3.4 incomplete ones in a row": "dfefbff7bfbf",
    "3.5.1 fe": "fe",
    "3.5.2 ff": "ff",
    "3.5.3 fe fe ff ff": "fefeffff",
    "4.1.1 slash in two bytes": "c0af",
    "4.1.2 slash in three bytes": "e080af",
    "4.1.3 slash in four bytes": "f08080af",
    "4.2.1 U+007F in two bytes": "c1bf",
    "4.2.2 U+07FF in three bytes": "e09fbf",
    "4.2.3 U+FFFF in four bytes": "f08fbfbf",
    "4.3.1 NUL in two bytes": "c080",
    "5.1.1 U+D800": "eda080",
    "5.1.2 U+DB7F": "edadbf",
    "5.1.5 U+DC00": "edb080",
    "5.1.7 U+DFFF": "edbfbf",
    "5.2.1 a surrogate pair": "eda080edb080",
    "Autobahn 6.3.1": KOSME.hex() + "eda080656469746564",
    "Autobahn 6.20": "cebae1bdb9cf83cebcceb5eda080",
    "a space after a start": "c320",
}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value)


@pytest.mark.parametrize("name", VALID_UTF8)
def test_valid_utf8_is_read_in_any_fragments(name: str) -> None:
    payload = _bytes(VALID_UTF8[name])
    check(client(TEXT, payload), [text(payload)])
    octets = [payload[i : i + 1] for i in range(len(payload))]
    check(b"".join(fragmented(TEXT, octets)), [text(payload)])  # Autobahn 6.2.3, 6.2.4
    for cut in range(len(payload) + 1):
        assert feed(fragmented(TEXT, [payload[:cut], payload[cut:]])) == [text(payload)]


@pytest.mark.parametrize("name", INVALID_UTF8)
@pytest.mark.parametrize("around", [b"", b"around"])
def test_invalid_utf8_ends_the_connection_with_1007(name: str, around: bytes) -> None:
    payload = around + _bytes(INVALID_UTF8[name]) + around
    check(client(TEXT, payload), [fails(INVALID)])
    octets = [payload[i : i + 1] for i in range(len(payload))]
    check(b"".join(fragmented(TEXT, octets)), [fails(INVALID)])
    for cut in range(len(payload) + 1):
        assert feed(fragmented(TEXT, [payload[:cut], payload[cut:]])) == [fails(INVALID)]
    assert feed([client(BINARY, payload)]) == [binary(payload)], "only text has to be UTF-8"
    assert feed(fragmented(BINARY, [payload[:1], payload[1:]])) == [binary(payload)]


@pytest.mark.parametrize(
    ("parts", "refused_at"),
    [
        # Autobahn 6.4.1: f4 may begin a legal letter, 90 may not follow it.
        ([KOSME + b"\xf4", b"\x90\x80\x80", b"edited"], 1),
        ([KOSME + b"\xf4\x90", b"\x80\x80edited"], 0),  # Autobahn 6.4.2
        ([b"\xff", b"more"], 0),
        ([b"\xc0", b"more"], 0),
        ([b"\xe0\x9f", b"more"], 0),
        ([b"\xc3", b"\x28"], 1),
        ([b"", b"\x80", b"more"], 1),
    ],
)
def test_text_is_refused_at_the_fragment_that_breaks_it(parts: list[bytes], refused_at: int) -> None:
    frames = [client(CONTINUATION if i else TEXT, part, fin=False) for i, part in enumerate(parts)]
    assert feed(frames[:refused_at]) == []
    check(b"".join(frames[: refused_at + 1]), [fails(INVALID)])


def test_a_letter_that_the_last_fragment_leaves_unfinished_is_refused() -> None:
    check(b"".join(fragmented(TEXT, [b"ok \xe2\x82", b""])), [fails(INVALID)])


def test_a_letter_may_be_finished_after_a_control_frame() -> None:
    first, second = fragmented(TEXT, [b"\xe2\x82", b"\xac"])
    check(first + client(PING, b"\xff") + second, [(PING, b"\xff"), text("€")])


# Section 5.5.1 and 7.4, Autobahn 7: closing.


def test_nothing_after_a_close_is_read() -> None:
    check(client(CLOSE, b"\x03\xe8") + client(TEXT, b"late"), [(CLOSE, 1000)])  # Autobahn 7.1.2 to 7.1.6
    check(client(TEXT, b"in time") + client(CLOSE), [text("in time"), (CLOSE, 1005)])


def test_a_close_without_a_code_reads_as_1005() -> None:
    check(client(CLOSE), [(CLOSE, 1005)])  # section 7.1.5, Autobahn 7.3.1


def test_a_close_of_one_byte_is_refused() -> None:
    check(client(CLOSE, b"x"), [fails(BROKEN)])  # Autobahn 7.3.2


@pytest.mark.parametrize("reason", [b"", b"Hello World!", "ä".encode(), b"*" * 123])
def test_a_close_may_give_a_reason_of_up_to_123_bytes(reason: bytes) -> None:
    check(client(CLOSE, b"\x03\xe8" + reason), [(CLOSE, 1000)])  # Autobahn 7.3.3 to 7.3.5


def test_a_close_with_a_reason_of_124_bytes_is_refused() -> None:
    check(client(CLOSE, b"\x03\xe8" + b"*" * 124), [fails(BROKEN)])  # Autobahn 7.3.6


@pytest.mark.parametrize("reason", [KOSME + bytes.fromhex("eda080") + b"edited", b"\xff", b"\xc3"])
def test_a_close_with_a_reason_that_is_not_utf8_is_refused(reason: bytes) -> None:
    check(client(CLOSE, b"\x03\xe8" + reason), [fails(INVALID)])  # Autobahn 7.5.1


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", [b"", b"reason"])
def test_a_close_code_that_may_be_sent_is_read(code: int, reason: bytes) -> None:
    check(client(CLOSE, code.to_bytes(2) + reason), [(CLOSE, code)])  # Autobahn 7.7


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    check(client(CLOSE, code.to_bytes(2)), [fails(BROKEN)])  # Autobahn 7.9


@pytest.mark.parametrize("code", [5000, 65_535])
def test_a_close_code_beyond_all_ranges_is_let_pass_as_by_phoenix(code: int) -> None:
    check(client(CLOSE, code.to_bytes(2)), [(CLOSE, code)])  # Autobahn 7.13 leaves it open


def test_a_close_frame_carries_its_code_and_reason() -> None:
    assert close_frame(1000) == bytes.fromhex("880203e8")
    assert close_frame(CloseCode.TOO_BIG, "far") == bytes.fromhex("880503f1666172")


def test_a_reason_too_long_for_a_close_frame_is_cut_between_letters() -> None:
    assert close_frame(1000, "*" * 200) == b"\x88\x7d\x03\xe8" + b"*" * 123
    # 61 letters of two bytes fit into 123, half a letter does not.
    assert close_frame(1000, "é" * 100) == b"\x88\x7c\x03\xe8" + "é".encode() * 61


# Autobahn 9: limits.


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_a_megabyte_is_read(opcode: int) -> None:
    payload = b"*" * 1_048_576
    stream = client(opcode, payload)
    assert feed(stream[i : i + 65_536] for i in range(0, len(stream), 65_536)) == [(opcode, payload)]


@pytest.mark.parametrize("size", [64, 4096, 262_144])
def test_a_message_of_a_megabyte_in_fragments_of_any_size_is_read(size: int) -> None:
    payload = b"*" * 1_048_576
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    assert feed([b"".join(fragmented(TEXT, parts))]) == [text(payload)]  # Autobahn 9.3, 9.4


def test_the_limits_are_those_of_phoenix_unless_others_are_given() -> None:
    # A frame of 10,000,000 bytes as by WebSockAdapter, fragments of 8,000,000 together as by Bandit.
    assert feed([header(BINARY, 10_000_000)]) == []
    assert feed([header(BINARY, 10_000_001)]) == [fails(BIG)]
    assert feed([header(BINARY, 8_000_000, fin=False)]) == []
    assert feed([header(BINARY, 8_000_001, fin=False)]) == [fails(BIG)]


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_frame_over_the_limit_is_refused_from_its_header(opcode: int, fin: bool) -> None:
    def limits() -> FrameLimits:
        return FrameLimits(max_frame_size=1000)

    check(header(opcode, 1001, fin=fin), [fails(BIG)], limits)
    check(client(opcode, b"*" * 1000), [(opcode, b"*" * 1000)], limits)


def test_a_continuation_over_the_frame_limit_is_refused_from_its_header() -> None:
    check(client(TEXT, b"", fin=False) + header(CONTINUATION, 11), [fails(BIG)], lambda: FrameLimits(10, 1000))


def test_a_whole_message_may_exceed_what_fragments_may_add_up_to() -> None:
    # As recorded: a single frame of 8,100,000 bytes passes, fragments of 9,000,000 together do not.
    check(client(BINARY, b"*" * 20), [binary(b"*" * 20)], lambda: FrameLimits(20, 10))


def test_fragments_are_refused_from_the_header_that_takes_them_over_the_limit() -> None:
    def limits() -> FrameLimits:
        return FrameLimits(1000, 10)

    begun = client(TEXT, b"12345", fin=False)
    check(begun + client(CONTINUATION, b"67890"), [text("1234567890")], limits)
    check(begun + header(CONTINUATION, 6), [fails(BIG)], limits)
    check(begun + header(CONTINUATION, 6, fin=False), [fails(BIG)], limits)
    check(begun + client(CONTINUATION, b"67890", fin=False) + header(CONTINUATION, 1), [fails(BIG)], limits)


def test_a_first_fragment_over_the_message_limit_is_refused_from_its_header() -> None:
    check(header(TEXT, 11, fin=False), [fails(BIG)], lambda: FrameLimits(1000, 10))


def test_a_control_frame_within_a_message_does_not_count_towards_its_limit() -> None:
    begun, rest = fragmented(TEXT, [b"12345", b"67890"])
    check(
        begun + client(PING, b"*" * 100) + rest, [(PING, b"*" * 100), text("1234567890")], lambda: FrameLimits(10, 10)
    )


def test_a_large_frame_costs_three_times_its_size_and_no_more() -> None:
    size = 4_000_000
    stream = header(BINARY, size) + KEY + bytes(size)
    chunks = [stream[i : i + 65_536] for i in range(0, len(stream), 65_536)]
    reader = FrameReader(FrameLimits())
    events: list[FrameEvent] = []
    tracemalloc.start()
    for chunk in chunks:
        events += reader.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(opcode, len(str(payload)) > size) for opcode, payload in events] == [(BINARY, True)]
    # The received bytes (a growing bytearray is up to an eighth larger), the unmasked blocks, and the message.
    assert peak < 3.3 * size
    assert held(reader) == 0


def test_an_announced_length_reserves_no_memory() -> None:
    tracemalloc.start()
    reader = FrameReader(FrameLimits())
    assert reader.feed(header(BINARY, 10_000_000) + KEY + b"x") == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


def test_the_list_of_a_feed_belongs_to_its_caller() -> None:
    reader = FrameReader(FrameLimits())
    reader.feed(b"\x81").append((PING, b""))
    assert reader.feed(b"") == []
    assert FrameReader(FrameLimits()).feed(b"") == []


# RFC 7692, Autobahn 12 and 13: compression.

# Section 7.2.3.1: "Hello" deflated.
HELLO = bytes.fromhex("f248cdc9c90700")


def test_the_compressed_message_of_rfc_7692_is_read() -> None:
    check(client(TEXT, HELLO, rsv=4), [text("Hello")], compressed_limits)


def test_the_compressed_message_of_rfc_7692_is_written() -> None:
    assert frame(TEXT, HELLO, compressed=True) == bytes.fromhex("c107f248cdc9c90700")
    assert frame(BINARY, HELLO, compressed=True) == bytes.fromhex("c207f248cdc9c90700")


def test_the_compressed_and_fragmented_message_of_rfc_7692_is_read() -> None:
    frames = fragmented(TEXT, [HELLO[:3], HELLO[3:]], rsv=4)
    assert [data[:1] for data in frames] == [b"\x41", b"\x80"]  # as in section 7.2.3.1
    check(b"".join(frames), [text("Hello")], compressed_limits)


def test_a_compressed_message_may_come_in_any_fragments_with_control_frames_between() -> None:
    data = deflate.deflate("Grüße ".encode() * 40)
    octets = [data[i : i + 1] for i in range(len(data))]
    stream = client(PING).join(fragmented(TEXT, octets, rsv=4))
    expected: list[FrameEvent] = [(PING, b"")] * (len(octets) - 1)
    check(stream, [*expected, text("Grüße " * 40)], compressed_limits)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_may_be_plain_where_compression_was_agreed(opcode: int) -> None:
    check(
        client(opcode, b"plain") + client(opcode, HELLO, rsv=4),
        [(opcode, b"plain"), (opcode, b"Hello")],
        compressed_limits,
    )


@pytest.mark.parametrize("data", ["00", "0200", ""])
def test_an_empty_message_may_be_compressed(data: str) -> None:
    check(client(TEXT, bytes.fromhex(data), rsv=4), [text("")], compressed_limits)  # section 7.2.3.6


@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_only_the_first_reserved_bit_belongs_to_compression(opcode: int, rsv: int) -> None:
    check(header(opcode, 7, rsv=rsv), [fails(BROKEN)], compressed_limits)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_is_never_compressed(opcode: int) -> None:
    check(header(opcode, 7, rsv=4), [fails(BROKEN)], compressed_limits)  # section 6.1


def test_only_the_first_fragment_says_that_a_message_is_compressed() -> None:
    begun = client(TEXT, HELLO[:3], fin=False, rsv=4)
    check(begun + header(CONTINUATION, 4, rsv=4), [fails(BROKEN)], compressed_limits)  # section 6.1
    check(client(TEXT, b"a", fin=False) + header(CONTINUATION, 4, rsv=4), [fails(BROKEN)], compressed_limits)
    check(header(CONTINUATION, 4, rsv=4), [fails(BROKEN)], compressed_limits)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_compressed_message_that_does_not_inflate_is_refused(opcode: int) -> None:
    check(client(opcode, b"\xff\xff\xff", rsv=4), [fails(INVALID)], compressed_limits)


def test_compressed_text_has_to_be_utf8_once_inflated() -> None:
    for name in INVALID_UTF8:
        payload = _bytes(INVALID_UTF8[name])
        data = deflate.deflate(payload)
        assert feed([client(TEXT, data, rsv=4)], compressed_limits()) == [fails(INVALID)], name
        assert feed([client(BINARY, data, rsv=4)], compressed_limits()) == [binary(payload)]
    data = deflate.deflate(b"\xe2\x82")
    check(b"".join(fragmented(TEXT, [data[:2], data[2:]], rsv=4)), [fails(INVALID)], compressed_limits)


def test_compressed_bytes_themselves_need_not_be_utf8() -> None:
    assert HELLO[:1] == b"\xf2"
    check(b"".join(fragmented(TEXT, [HELLO[:1], HELLO[1:]], rsv=4)), [text("Hello")], compressed_limits)


def test_a_message_that_inflates_beyond_the_limit_is_refused() -> None:
    def limits() -> FrameLimits:
        return FrameLimits(1000, 100, deflate.inflate)

    check(client(BINARY, deflate.deflate(bytes(100)), rsv=4), [binary(bytes(100))], limits)
    check(client(BINARY, deflate.deflate(bytes(101)), rsv=4), [fails(BIG)], limits)
    bomb = deflate.deflate(bytes(50_000))
    check(b"".join(fragmented(TEXT, [bomb[:20], bomb[20:]], rsv=4)), [fails(BIG)], limits)


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096, 8192, 65_536, 131_072])
def test_compressed_messages_of_any_size_are_read(size: int) -> None:
    payload = (b'{"topic":"room:lobby","n":%d}' % size * (size // 20 + 1))[:size]
    stream = client(TEXT, deflate.deflate(payload), rsv=4) * 3
    assert feed([stream], compressed_limits()) == [text(payload)] * 3  # Autobahn 12.1


# Recorded from Phoenix 1.8.12 on Bandit 1.12.5: the bytes of a client, what they mean, and the bytes answered.

RECORDED: dict[str, tuple[str, FrameEvent, str]] = {
    "ping with payload": ("8982000000006869", (PING, b"hi"), "8a026869"),
    "unmasked frame": (
        "81235b6e756c6c2c2231222c2270686f656e6978222c22686561727462656174222c7b7d5d",
        fails(1002),
        "880203ea",
    ),
    "RSV1 set without compression": (
        "c1a3000000005b6e756c6c2c2231222c2270686f656e6978222c22686561727462656174222c7b7d5d",
        fails(1002),
        "880203ea",
    ),
    "reserved opcode 3": ("83810000000078", fails(1002), "880203ea"),
    "invalid UTF-8 in text": (
        "81ac000000005b2231222c2231222c22726f6f6d3a7265706c79222c227068785f6a6f696e222c7b2261223a22fffe227d5d",
        fails(1007),
        "880203ef",
    ),
    "fragmented control": ("09810000000078", fails(1002), "880203ea"),
    "ping of 126 bytes": ("89fe007e00000000" + "78" * 126, fails(1002), "880203ea"),
    "continuation without start": ("80810000000078", fails(1002), "880203ea"),
    "close 1000": ("88850000000003e8627965", (CLOSE, 1000), "880203e8"),
    "close empty": ("888000000000", (CLOSE, 1005), "880203e8"),
    "close 4000": ("8882000000000fa0", (CLOSE, 4000), "880203e8"),
    "close 1005 (invalid)": ("88820000000003ed", fails(1002), "880203ea"),
    "close of 1 byte": ("88810000000078", fails(1002), "880203ea"),
    "frame over the default max_frame_size: 10_000_001 bytes": (
        "81ff000000000098968100000000",
        fails(1009),
        "880203f1",
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_frames_are_understood_and_answered_as_recorded(name: str) -> None:
    sent, event, answered = RECORDED[name]
    check(bytes.fromhex(sent), [event])
    opcode, value = event
    if opcode == PING:
        assert isinstance(value, bytes)
        answer = frame(PONG, value)
    else:
        assert isinstance(value, int)
        answer = close_frame(CloseCode.NORMAL if opcode == CLOSE else value)
    assert answer.hex() == answered


def test_the_recorded_heartbeat_in_two_fragments_is_one_message() -> None:
    sent = "018a000000005b6e756c6c2c2231222c8099000000002270686f656e6978222c22686561727462656174222c7b7d5d"
    check(bytes.fromhex(sent), [text('[null,"1","phoenix","heartbeat",{}]')])


def test_the_recorded_unsolicited_pong_is_read_and_needs_no_answer() -> None:
    check(bytes.fromhex("8a82000000006869"), [(PONG, b"hi")])


def test_the_recorded_frame_over_max_frame_size_1000_is_refused() -> None:
    check(bytes.fromhex("81fe07d000000000") + b"x" * 2000, [fails(1009)], lambda: FrameLimits(max_frame_size=1000))


def test_four_fragments_of_600_pass_a_max_frame_size_of_1000() -> None:
    payload = b'["1","1","room:reply","phx_join",{"a":"%s"}]' % (b"x" * 1762)
    parts = [payload[i : i + 599] for i in range(0, len(payload), 599)]
    stream = b"".join(fragmented(TEXT, parts))
    assert (len(parts), stream[:4]) == (4, bytes.fromhex("01fe0257"))
    check(stream, [text(payload)], lambda: FrameLimits(max_frame_size=1000))


def test_the_recorded_frame_of_8_100_000_bytes_is_a_message() -> None:
    payload = b'[null,"1","phoenix","heartbeat",{}]'.ljust(8_100_041)
    stream = client(TEXT, payload)
    assert stream.startswith(bytes.fromhex("81ff00000000007b98c900000000"))
    assert feed([stream]) == [text(payload)]


def test_the_recorded_fragmented_message_of_9_000_000_bytes_is_refused() -> None:
    half = bytes(4_500_038)
    first = client(TEXT, half, fin=False)
    assert first.startswith(bytes.fromhex("01ff000000000044aa4600000000"))
    assert feed([first, client(CONTINUATION, half)]) == [fails(1009)]

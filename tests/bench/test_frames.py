"""Frames of the load client, held against RFC 6455."""

import pytest

from bench.frames import KEY, PING, TEXT, Cutter, masked

# Section 5.7, "A single-frame unmasked text message", "... masked text message" and "A fragmented unmasked text message".
HELLO = bytes.fromhex("810548656c6c6f")
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
FRAGMENT = bytes.fromhex("010348656c")


def test_a_client_masks_its_text_as_in_the_example_of_the_rfc() -> None:
    assert masked(b"Hello") == MASKED_HELLO


@pytest.mark.parametrize(
    # Section 5.2: 7 bits, 7+16 bits and 7+64 bits, the shortest that can hold the length; 0x80 is the mask bit.
    ("size", "head"),
    [
        (0, "8180"),
        (125, "81fd"),
        (126, "81fe007e"),
        (65_535, "81feffff"),
        (65_536, "81ff0000000000010000"),
    ],
)
def test_the_length_of_a_masked_frame_takes_as_few_bytes_as_it_can(size: int, head: str) -> None:
    frame = masked(bytes(size))
    assert frame.startswith(bytes.fromhex(head) + KEY)
    assert len(frame) == len(bytes.fromhex(head)) + 4 + size


def test_frames_in_one_read_are_cut_in_order() -> None:
    ping = bytes.fromhex("890548656c6c6f")  # section 5.7, "Unmasked Ping request"
    assert list(Cutter().cut(HELLO + ping + HELLO)) == [(TEXT, b"Hello"), (PING, b"Hello"), (TEXT, b"Hello")]


@pytest.mark.parametrize(
    ("size", "head"),
    [(5, "8105"), (125, "817d"), (126, "817e007e"), (65_535, "817effff"), (65_536, "817f0000000000010000")],
)
def test_a_frame_split_at_any_byte_is_put_together(size: int, head: str) -> None:
    body = b"x" * size
    frame = bytes.fromhex(head) + body
    for at in sorted({*range(1, 12), size // 2, len(frame) - 1}):
        if at < len(frame):
            cutter = Cutter()
            assert list(cutter.cut(frame[:at])) == []
            assert list(cutter.cut(frame[at:] + HELLO)) == [(TEXT, body), (TEXT, b"Hello")]
            assert cutter.rest == b""


@pytest.mark.parametrize("data", [FRAGMENT, MASKED_HELLO])
def test_fragments_and_masked_frames_are_refused_with_a_way_out(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"{data[:2].hex()}.*turn fragmentation off"):
        list(Cutter().cut(data))

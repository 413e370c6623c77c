"""Close codes, by RFC 6455 section 7.4, the IANA registry, and the table recorded from Phoenix on Bandit."""

import pytest

from broadwing.core.close import CloseCode, close_may_be_sent, received_close_is_valid


@pytest.mark.parametrize(
    ("code", "situation"),
    [
        (1000, "NORMAL"),
        (1001, "GOING_AWAY"),
        (1002, "PROTOCOL_ERROR"),
        (1007, "INVALID_DATA"),
        (1008, "POLICY_VIOLATION"),
        (1009, "TOO_BIG"),
        (1011, "INTERNAL_ERROR"),
        (1012, "SERVICE_RESTART"),
    ],
)
def test_registered_codes_have_their_registered_meaning(code: int, situation: str) -> None:
    assert CloseCode[situation] == code


def test_codes_of_our_own_lie_where_applications_may_have_them() -> None:
    own = [code for code in CloseCode if code > 1015]
    assert own == [CloseCode.SLOW_READER, CloseCode.STALLED] == [4001, 4002]
    assert all(4000 <= code <= 4999 for code in own)  # section 7.4.2


def test_every_code_that_is_sent_may_be_received_too() -> None:
    assert all(received_close_is_valid(code) for code in CloseCode)


def test_no_two_situations_share_a_code() -> None:
    # Above all not 1000: the official JavaScript client comes back after every code but that one.
    assert len(CloseCode.__members__) == len(set(CloseCode))


@pytest.mark.parametrize(
    ("codes", "valid"),
    [
        (range(1000), False),  # section 7.4.2: not used
        (range(1000, 1004), True),
        ([1004], False),  # reserved without a meaning
        ([1005, 1006], False),  # section 7.4.1: must not be set by an endpoint
        (range(1007, 1012), True),
        (range(1012, 1015), True),  # registered after the RFC: service restart, try again later, bad gateway
        ([1015], False),  # must not be set by an endpoint
        (range(1016, 3000), False),  # reserved for later versions of the RFC
        (range(3000, 5000), True),  # libraries and applications
        ([5000, 40_000, 65_535], True),  # beyond all ranges; Phoenix on Bandit lets everything above 2999 pass
    ],
)
def test_a_peer_may_send_what_is_defined_for_sending(codes: list[int], valid: bool) -> None:
    assert [code for code in codes if received_close_is_valid(code) is not valid] == []


@pytest.mark.parametrize(
    ("codes", "allowed"),
    [
        (range(1000), False),
        ([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014], True),
        ([1004, 1005, 1006, 1015], False),
        (range(1016, 3000), False),
        (range(3000, 5000), True),
        ([5000, 65_535, 65_536, -1], False),  # nobody's: other peers refuse them with 1002
    ],
)
def test_an_application_may_end_a_connection_with_codes_that_everybody_accepts(codes: list[int], allowed: bool) -> None:
    assert [code for code in codes if close_may_be_sent(code) is not allowed] == []

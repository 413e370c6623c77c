"""What handlers may return besides a mapping or nothing."""

from typing import Any

import pytest

from broadwing import Error, Ok, Reply, Stop
from broadwing.returns import is_graceful


def test_ok_and_error_are_replies_with_their_status() -> None:
    assert [(each.payload, each.status) for each in (Ok(), Ok([1]), Error(), Error("no"))] == [
        ({}, "ok"),
        ([1], "ok"),
        ({}, "error"),
        ("no", "error"),
    ]
    assert isinstance(Ok(), Reply)
    assert isinstance(Error(), Reply)


def test_a_reply_carries_any_payload_null_included() -> None:
    """checklist 109"""
    assert (Reply().payload, Reply().status) == (None, "ok")
    assert (Reply([1], "weird").payload, Reply([1], "weird").status) == ([1], "weird")


def test_stop_is_graceful_unless_it_says_otherwise() -> None:
    assert (Stop().reason, Stop().reply) == ("normal", None)
    assert is_graceful(Stop().reason)


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", "why"), ("shutdown",)])
def test_reasons_that_end_well(reason: Any) -> None:
    """checklist 111"""
    assert is_graceful(reason)


@pytest.mark.parametrize(
    "reason", ["other", "", None, 0, (), ("error", "why"), ["shutdown"], {"shutdown": 1}, "normally"]
)
def test_reasons_that_do_not(reason: Any) -> None:
    """checklist 111"""
    assert not is_graceful(reason)

"""The values that travel inside: they do not change, and they do not show what they carry."""

import msgspec
import pytest

from broadwing.core.codec import body
from broadwing.core.frames import TEXT
from broadwing.core.json_v2 import JsonV2
from broadwing.core.messages import Broadcast, Message


def test_a_message_holds_its_fields_in_the_order_of_version_2() -> None:
    assert Message.__struct_fields__ == ("join_ref", "ref", "topic", "event", "payload")
    message = Message("1", "2", "room:lobby", "new_msg", b"\x00")
    assert (message.join_ref, message.ref, message.topic, message.event) == ("1", "2", "room:lobby", "new_msg")
    assert message.payload == b"\x00"


def test_a_message_and_a_broadcast_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Message("1", "2", "t", "e", b"").topic = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Broadcast("t", "e", body({})).event = "other"  # type: ignore[misc]


def test_a_json_payload_does_not_show_in_the_text_of_its_message() -> None:
    message = JsonV2().decode(TEXT, b'["1","1","room:lobby","phx_join",{"password":"secret"}]')
    assert "secret" not in repr(message)
    assert isinstance(message.payload, msgspec.Raw)
    assert bytes(message.payload) == b'{"password":"secret"}'


def test_a_broadcast_decodes_its_payload_afresh_at_every_access() -> None:
    broadcast = Broadcast("room:lobby", "new_msg", body({"tags": []}))
    broadcast.payload["tags"].append("mine")
    assert broadcast.payload == {"tags": []}


def test_a_binary_broadcast_has_its_bytes_for_a_payload() -> None:
    assert Broadcast("room:lobby", "new_msg", body(b'{"not":"decoded"}')).payload == b'{"not":"decoded"}'

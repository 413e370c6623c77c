"""Mounting and broadcasting at an endpoint without a server."""

from typing import Any

import pytest

from broadwing import (
    Broadcast,
    ConfigurationError,
    DrainOptions,
    Endpoint,
    LocalProtocolError,
    LongPollOptions,
    MissingSecret,
    Socket,
    WebSocketOptions,
)

SECRET = "x" * 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # "unknown keys [...]" is Phoenix's wording.
        ({"websocket": {"invalid": True}}, "unknown keys ['invalid'] in WebSocketOptions; accepted are path, timeout"),
        ({"longpoll": {"drainer": True}}, "unknown keys ['drainer'] in LongPollOptions; accepted are path, window"),
        ({"websocket": {"max_channels_per_transport": 1}}, "unknown keys ['max_channels_per_transport']"),
        ({"drainer": {"batch": 1}}, "unknown keys ['batch'] in DrainOptions; accepted are batch_size, batch_interval"),
        ({"logs": None}, "unknown keys ['logs']"),
        ({"websocket": 5}, "expected True, False, a mapping or WebSocketOptions(...), got int: 5"),
        ({"drainer": lambda: 5}, "expected True, False, a mapping or DrainOptions(...), got int: 5"),
    ],
)
def test_options_that_do_not_exist_are_refused_when_the_socket_is_mounted(
    options: dict[str, Any], message: str
) -> None:
    """checklist 24"""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint(secret_key_base=SECRET).socket("/socket", Socket, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        ({}, {"websocket": {"check_origin": False, "check_csrf": False}}),
        ({"check_origin": False}, {"websocket": {"check_csrf": False}}),
        ({}, {"longpoll": {"check_origin": False, "check_csrf": False}}),
        ({"check_origin": False}, {"websocket": False, "longpoll": LongPollOptions(check_csrf=False)}),
    ],
)
def test_a_transport_without_any_check_of_who_asks_is_refused(
    endpoint: dict[str, Any], options: dict[str, Any]
) -> None:
    """checklist 25"""
    with pytest.raises(ConfigurationError, match="has both check_origin and check_csrf off"):
        Endpoint(secret_key_base=SECRET, **endpoint).socket("/socket", Socket, **options)


def test_one_check_suffices() -> None:
    """checklist 25"""
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", Socket)
    endpoint.socket("/other", Socket, websocket={"check_origin": ["//example.com"], "check_csrf": False})
    Endpoint().socket("/socket", Socket, websocket=WebSocketOptions(check_csrf=False))


def test_long_polling_needs_a_secret() -> None:
    with pytest.raises(MissingSecret, match="needs secret_key_base to sign the tokens of its poll sessions"):
        Endpoint().socket("/socket", Socket, longpoll=True)


def test_an_endpoint_without_a_secret_says_what_it_is_for() -> None:
    assert Endpoint(secret_key_base=SECRET).secret_key_base == SECRET
    # The words up to the semicolon are Phoenix's.
    with pytest.raises(MissingSecret, match="no :secret_key_base configuration found in Endpoint; pass"):
        _ = Endpoint().secret_key_base


def test_two_mounts_keep_their_own_paths_and_options() -> None:
    """checklist 39, 47"""
    endpoint = Endpoint(secret_key_base=SECRET)
    endpoint.socket("/one", Socket, websocket={"check_origin": ["//a.com"]}, drainer=DrainOptions(batch_size=1))
    endpoint.socket("/two/:room", Socket, websocket={"path": "/ws"}, longpoll={"path": "/lp"})
    one, two = endpoint.websocket_entrance("/one/websocket"), endpoint.websocket_entrance("/two/7/ws")
    assert one is not None
    assert two is not None
    assert (one[1], two[1]) == ({}, {"room": "7"})
    assert one[0].origin_allowed is not two[0].origin_allowed
    for path in ("/one", "/one/longpoll", "/one/nosuch", "/two/7/websocket", "/two/ws", "/"):
        assert endpoint.websocket_entrance(path) is None
    polls = endpoint.longpoll_entrance("/two/8/lp")
    assert polls is not None
    assert polls[1] == {"room": "8"}
    assert endpoint.longpoll_entrance("/two/8/ws") is None


def test_a_transport_may_be_switched_off() -> None:
    endpoint = Endpoint(secret_key_base=SECRET)
    endpoint.socket("/socket", Socket, websocket=False, longpoll=True)
    assert endpoint.websocket_entrance("/socket/websocket") is None
    assert endpoint.longpoll_entrance("/socket/longpoll") is not None


def test_broadcasts_reach_subscribers_as_they_were_sent() -> None:
    """checklist 26"""
    endpoint, got = Endpoint(), list[Broadcast]()
    endpoint.subscribe("t", got.append)
    endpoint.broadcast("t", "e", {"n": [1, None]})
    endpoint.local_broadcast("t", "f", b"\x00\xff")
    endpoint.broadcast("u", "g", {})
    assert [(each.topic, each.event, each.payload) for each in got] == [
        ("t", "e", {"n": [1, None]}),
        ("t", "f", b"\x00\xff"),
    ]


def test_each_subscriber_gets_a_payload_of_its_own() -> None:
    endpoint, got = Endpoint(), list[Any]()
    for _ in range(2):
        endpoint.subscribe("t", lambda message: got.append(message.payload))
    endpoint.broadcast("t", "e", {"n": []})
    got[0]["n"].append("mine")
    assert got[1] == {"n": []}


def test_a_subscriber_that_raises_does_not_keep_others_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    endpoint, got = Endpoint(), list[Broadcast]()

    def broken(message: Broadcast) -> None:
        raise RuntimeError("boom")

    endpoint.subscribe("t", broken)
    endpoint.subscribe("t", got.append)
    endpoint.broadcast("t", "e", {})
    assert len(got) == 1
    assert "a subscriber of 't' raised" in caplog.text


@pytest.mark.parametrize(("topic", "event"), [(5, "e"), ("t", None), (b"t", "e")])
def test_topics_and_events_are_strings(topic: Any, event: Any) -> None:
    with pytest.raises(ConfigurationError, match="topic and event are strings, got"):
        Endpoint().broadcast(topic, event, {})


def test_a_payload_without_a_json_form_is_refused_where_it_is_sent() -> None:
    with pytest.raises(LocalProtocolError, match="which has no JSON form; accepted are"):
        Endpoint().broadcast("t", "e", {"a": object()})


def test_unsubscribing_twice_is_harmless_and_leaves_nothing() -> None:
    endpoint = Endpoint()
    one, two = endpoint.subscribe("t", print), endpoint.subscribe("t", print)
    one.cancel()
    one.cancel()
    assert endpoint.pubsub.registry.count("t") == 1
    two.cancel()
    assert endpoint.pubsub.registry.topics == {}


async def test_an_endpoint_that_was_never_used_stops() -> None:
    endpoint = Endpoint(secret_key_base=SECRET)
    endpoint.socket("/socket", Socket, longpoll=True)
    await endpoint.start()
    await endpoint.start()
    await endpoint.stop()
    await endpoint.stop()


async def test_a_drain_is_done_once() -> None:
    endpoint = Endpoint()
    endpoint.socket("/socket", Socket)
    await endpoint.start()
    await endpoint.drain()
    await endpoint.drain()
    assert endpoint.is_draining
    await endpoint.stop()

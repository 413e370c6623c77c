"""The URLs of a mesh: what they say, and what they teach when they say nothing that can work."""

from pathlib import Path

import pytest

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.zmq_settings import MAX_DIRECTORY_BYTES, Place, parse


def test_a_directory() -> None:
    settings = parse("zmq+ipc:///run/my%20chat")
    assert settings.directory == Path("/run/my chat")
    assert (settings.places, settings.bind, settings.curve) == ((), None, None)
    assert settings.is_dialled


def test_a_list_of_addresses() -> None:
    settings = parse("zmq://10.0.0.1:5555,10.0.0.2:5556?bind=10.0.0.1:5555")
    assert settings.directory is None
    assert settings.places == (Place("10.0.0.1", 5555), Place("10.0.0.2", 5556))
    assert settings.bind == Place("10.0.0.1", 5555)
    assert [place.address for place in settings.places] == ["tcp://10.0.0.1:5555", "tcp://10.0.0.2:5556"]
    assert settings.is_dialled


def test_a_name() -> None:
    settings = parse("zmq://chat.internal:5555?bind=0.0.0.0:5555")
    assert settings.places == (Place("chat.internal", 5555),)
    assert settings.places[0].family is None


def test_ipv6_in_any_spelling_is_one_address() -> None:
    settings = parse("zmq://[fd00::0:1]:5555,[FD00::2]:5555?bind=[fd00:0::1]:5555")
    assert settings.bind == settings.places[0]
    assert [place.address for place in settings.places] == ["tcp://[fd00::1]:5555", "tcp://[fd00::2]:5555"]


def test_a_publisher_lets_the_system_choose_its_port() -> None:
    assert not parse("zmq://10.0.0.1:5555?bind=127.0.0.1:0").is_dialled


@pytest.mark.parametrize("url", ["zmq+ipc:///run/chat?", "zmq://10.0.0.1:5555?bind=10.0.0.1:5555&"])
def test_sizes(url: str) -> None:
    assert parse(url).queue_bytes == 16 * 2**20
    assert parse(url).max_message_bytes == 16 * 2**20
    settings = parse(f"{url}queue_bytes=1000&max_message_bytes=2000")
    assert (settings.queue_bytes, settings.max_message_bytes) == (1000, 2000)


REFUSED = {
    "another scheme": ("redis://localhost", "names no bus over ZeroMQ"),
    "no scheme": ("zmq", "names no bus over ZeroMQ"),
    "no bind": ("zmq://10.0.0.1:5555", "does not say where this node listens"),
    "a bind that is a name": ("zmq://chat:5555?bind=chat:5555", "binds to a name"),
    "no host": ("zmq://?bind=10.0.0.1:5555", "host:port is needed"),
    "no port": ("zmq://10.0.0.1?bind=10.0.0.1:5555", "host:port is needed"),
    "port 0 in the list": ("zmq://10.0.0.1:0?bind=10.0.0.1:5555", "host:port is needed"),
    "a port too high": ("zmq://10.0.0.1:65536?bind=10.0.0.1:5555", "host:port is needed"),
    "a port in words": ("zmq://10.0.0.1:http?bind=10.0.0.1:5555", "host:port is needed"),
    "a comma too many": ("zmq://10.0.0.1:5555,?bind=10.0.0.1:5555", "host:port is needed"),
    "a bad name": ("zmq://a b:5555?bind=10.0.0.1:5555", "neither address nor name"),
    "IPv6 without brackets": ("zmq://::1:5555?bind=[::1]:5555", "written"),
    "brackets around IPv4": ("zmq://[10.0.0.1]:5555?bind=10.0.0.1:5555", "written"),
    "two families": ("zmq://[::1]:5555?bind=10.0.0.1:5555", "mixes IPv4 and IPv6"),
    "an unknown option": ("zmq://10.0.0.1:5555?bind=10.0.0.1:5555&hwm=1", "accepted here are bind"),
    "an option twice": ("zmq://10.0.0.1:5555?bind=10.0.0.1:5555&bind=10.0.0.1:5556", "one value"),
    "an option without a value": ("zmq://10.0.0.1:5555?bind=", "one value"),
    "a size in words": ("zmq+ipc:///run/chat?queue_bytes=16M", "no number of bytes"),
    "a size of nothing": ("zmq+ipc:///run/chat?max_message_bytes=0", "no number of bytes"),
    "a relative directory": ("zmq+ipc://run/chat", "absolute path"),
    "no directory": ("zmq+ipc://", "absolute path"),
    "keys for files": ("zmq+ipc:///run/chat?curve_key=/a", "accepted here are max_message_bytes"),
    "a directory too long": ("zmq+ipc:///" + "x" * MAX_DIRECTORY_BYTES, "use a shorter one"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused(what: str) -> None:
    url, complaint = REFUSED[what]
    with pytest.raises(ConfigurationError, match=complaint):
        parse(url)

"""What a `zmq` URL says."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.zmq_curve import Curve, load

QUEUE_BYTES: Final = 16 * 1024 * 1024
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
# sun_path holds 103 bytes and a NUL on BSD and macOS, 107 on Linux; a socket's file is at most
# "/.4194304-0123456789ab.sock" (Directory.bind).
MAX_DIRECTORY_BYTES: Final = 103 - 27

_FORMS: Final = (
    "accepted are zmq+ipc:///a/directory (nodes of one machine) and zmq://host:port,host:port?bind=ip:port "
    "(machines by address, or by a name that resolves to all of them)"
)
_TCP: Final = frozenset({"bind", "curve_key", "curve_server_key", "curve_allowed"})
_BOTH: Final = frozenset({"queue_bytes", "max_message_bytes"})


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port; the host is an IP address as `ipaddress` writes it, or a name."""

    host: str
    port: int

    @property
    def family(self) -> int | None:
        """4, 6, or `None` for a name."""
        try:
            return ipaddress.ip_address(self.host).version
        except ValueError:
            return None

    @property
    def address(self) -> str:
        """As ZeroMQ writes it."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """A URL's content.

    Attributes:
        directory: Where the nodes of one machine meet, or `None`.
        places: Where the nodes are, between machines.
        bind: Where this node listens, between machines.
        curve: Keys, if the mesh is closed.
        queue_bytes: Most bytes that may wait for one other node, besides what ZeroMQ holds.
        max_message_bytes: Largest message, its topic included.
    """

    directory: Path | None
    places: tuple[Place, ...]
    bind: Place | None
    curve: Curve | None
    queue_bytes: int
    max_message_bytes: int

    @property
    def is_dialled(self) -> bool:
        """Whether other nodes can know where this one listens: not when it lets the system choose a port."""
        return self.bind is None or self.bind.port != 0


def parse(url: str) -> Settings:
    """Read a URL.

    Raises:
        ConfigurationError: It can never work, and why.
    """
    scheme, separator, rest = url.partition("://")
    target, _, query = rest.partition("?")
    if not separator or scheme not in ("zmq", "zmq+ipc"):
        raise ConfigurationError(f"pubsub={url!r} names no bus over ZeroMQ; {_FORMS}")
    accepted = _BOTH | (_TCP if scheme == "zmq" else frozenset())
    options = _options(url, query, accepted)
    queue_bytes = _number(options, "queue_bytes", QUEUE_BYTES)
    max_message_bytes = _number(options, "max_message_bytes", MAX_MESSAGE_BYTES)
    if scheme == "zmq+ipc":
        return Settings(_directory(url, target), (), None, None, queue_bytes, max_message_bytes)
    bind, places = _mesh(url, target, options)
    curve = load(options.get("curve_key"), options.get("curve_server_key"), options.get("curve_allowed"))
    return Settings(None, places, bind, curve, queue_bytes, max_message_bytes)


def _options(url: str, query: str, accepted: frozenset[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in accepted:
            raise ConfigurationError(
                f"pubsub={url!r} has an option {name!r}; accepted here are {', '.join(sorted(accepted))}"
            )
        if name in options or not value:
            raise ConfigurationError(f"pubsub={url!r} needs one value for {name!r}, not none or several")
        options[name] = value
    return options


def _number(options: dict[str, str], name: str, default: int) -> int:
    value = options.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]{0,9}", value):
        raise ConfigurationError(f"{name}={value!r} is no number of bytes; an example is {name}={default}")
    return int(value)


def _directory(url: str, target: str) -> Path:
    path = unquote(target)
    if not path.startswith("/") or "\0" in path:
        raise ConfigurationError(f"pubsub={url!r} needs an absolute path, as in zmq+ipc:///run/chat")
    size = len(path.encode())
    if size > MAX_DIRECTORY_BYTES:
        raise ConfigurationError(
            f"pubsub={url!r} names a directory of {size} bytes; socket files have room for {MAX_DIRECTORY_BYTES}; "
            "use a shorter one, e.g. below /run or /tmp"
        )
    return Path(path)


def _mesh(url: str, target: str, options: dict[str, str]) -> tuple[Place, tuple[Place, ...]]:
    if "bind" not in options:
        raise ConfigurationError(
            f"pubsub={url!r} does not say where this node listens; add ?bind=ip:port with an address of this machine. "
            "A process that only publishes takes bind=127.0.0.1:0"
        )
    bind = _place(url, options["bind"], lowest=0)
    if bind.family is None:
        raise ConfigurationError(
            f"pubsub={url!r} binds to a name; give an IP address of this machine, 0.0.0.0 or [::] for all"
        )
    places = tuple(_place(url, text, lowest=1) for text in target.strip("/").split(","))
    for place in places:
        if place.family not in (None, bind.family):
            raise ConfigurationError(
                f"pubsub={url!r} mixes IPv4 and IPv6: {place.address} cannot be one mesh with bind={bind.address[6:]}"
            )
    return bind, places


def _place(url: str, text: str, lowest: int) -> Place:
    host, separator, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host == f"[{bare}]"
    if not separator or not re.fullmatch("[0-9]{1,5}", port) or not lowest <= int(port) <= 65_535:
        raise ConfigurationError(f"pubsub={url!r} has {text!r} where host:port is needed; {_FORMS}")
    try:
        bare = str(ipaddress.ip_address(bare))
    except ValueError:
        if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", bare):
            raise ConfigurationError(f"pubsub={url!r} has {text!r}, which is neither address nor name") from None
    if bracketed != (":" in bare):
        raise ConfigurationError(
            f"pubsub={url!r} has {text!r}; IPv6 addresses are written [::1]:5555, others without []"
        )
    return Place(bare, int(port))

"""Where the nodes of a mesh are: files in a directory, or hosts and ports. Each also binds this node's own socket."""

import asyncio
import errno
import ipaddress
import logging
import os
import secrets
import socket as sockets
import stat
from pathlib import Path
from typing import Final, Protocol

import zmq

from broadwing.pubsub.zmq_settings import Place

logger = logging.getLogger("broadwing.pubsub")

Socket = zmq.Socket[bytes]

_SUFFIX: Final = ".sock"


class Places(Protocol):
    """How nodes find each other."""

    interval: float  # seconds between looks
    pause: float  # least seconds between looks when something hints at a new node

    def bind(self, socket: Socket) -> tuple[str, str]:
        """Bind this node's socket.

        Returns:
            The address under which the node reaches itself, and the one under which others do (empty: not known).

        Raises:
            OSError: It could not be bound; `errno` says why.
        """
        ...

    def unbind(self) -> None:
        """Take back what `bind` did, besides the socket."""
        ...

    def is_bound(self) -> bool:
        """Whether other nodes can still find this one."""
        ...

    async def find(self) -> set[str]:
        """Addresses of all nodes but this one."""
        ...

    def is_gone(self, address: str) -> bool:
        """Whether there can never again be a node at an address that could not be reached."""
        ...


class Directory:
    """The nodes of one machine: a directory with the file of each one's socket.

    A file's name is used once: every bind takes a new one. So a file that refuses connections belongs to nobody any more,
    and whoever finds it may remove it. For that to be true from its first moment, a socket is bound under a hidden name
    and renamed once it listens.

    Args:
        path: The directory; made if it is missing, for this user alone.
    """

    interval = 1.0
    pause = 0.02

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: Path | None = None

    def bind(self, socket: Socket) -> tuple[str, str]:
        """Bind under a new name."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.stat().st_mode & stat.S_IWOTH:
            raise OSError(errno.EPERM, f"anybody on this machine could join the bus in {self._path}; chmod o-w it")
        name = f"{os.getpid()}-{secrets.token_hex(6)}{_SUFFIX}"
        hidden, own = self._path / f".{name}", self._path / name
        _bind(socket, f"ipc://{hidden}")
        hidden.rename(own)
        self._own = own
        address = f"ipc://{own}"
        return address, address

    def unbind(self) -> None:
        """Remove this node's file."""
        own, self._own = self._own, None
        if own is not None:
            own.unlink(missing_ok=True)

    def is_bound(self) -> bool:
        """Whether nobody has removed the file."""
        return self._own is not None and self._own.exists()

    async def find(self) -> set[str]:
        """List the directory."""
        try:
            names = os.listdir(self._path)
        except OSError as error:
            logger.warning("cannot list %s, where the nodes of the bus meet: %s", self._path, error)
            return set()
        own = self._own.name if self._own is not None else ""
        return {
            f"ipc://{self._path / name}"
            for name in names
            if name.endswith(_SUFFIX) and not name.startswith(".") and name != own
        }

    def is_gone(self, address: str) -> bool:
        """Knock once more; remove the file when nobody listens behind it."""
        path = Path(address.removeprefix("ipc://"))
        with sockets.socket(sockets.AF_UNIX) as knock:
            knock.setblocking(False)  # a stopped process with a full backlog would hold us
            try:
                knock.connect(str(path))
            except FileNotFoundError:
                return True
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return True
            except OSError:
                pass  # it is there, but busy, or not ours to knock at
        return False


class Hosts:
    """The nodes of several machines: addresses, or names that resolve to some.

    Args:
        places: Where nodes are, this one perhaps among them.
        bind: Where this one listens.
    """

    interval = 5.0
    pause = 1.0

    def __init__(self, places: tuple[Place, ...], bind: Place) -> None:
        self._places = places
        self._bind = bind
        self._family = sockets.AF_INET6 if bind.family == 6 else sockets.AF_INET
        self._found: dict[str, set[str]] = {}
        self._own = ""
        self._bound = False

    def bind(self, socket: Socket) -> tuple[str, str]:
        """Bind to the address."""
        socket.ipv6 = self._family == sockets.AF_INET6
        _bind(socket, self._bind.address if self._bind.port else self._bind.address.removesuffix("0") + "*")
        port = int(socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        host = ipaddress.ip_address(self._bind.host)
        loopback = "::1" if host.version == 6 else "127.0.0.1"
        reached = Place(loopback if host.is_unspecified else str(host), port).address
        self._own = "" if host.is_unspecified or not self._bind.port else reached
        self._bound = True
        return reached, self._own

    def unbind(self) -> None:
        """There is nothing besides the socket."""
        self._bound = False

    def is_bound(self) -> bool:
        """A port is not taken away."""
        return self._bound

    async def find(self) -> set[str]:
        """Resolve the names; those that cannot be resolved now keep what they had."""
        found = set()
        for place in self._places:
            if place.family is not None:
                found.add(place.address)
            else:
                found |= await self._resolve(place)
        return found - {self._own}

    async def _resolve(self, place: Place) -> set[str]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(
                place.host, place.port, family=self._family, type=sockets.SOCK_STREAM
            )
            self._found[place.host] = {Place(str(answer[4][0]), place.port).address for answer in answers}
        except OSError as error:
            if place.host not in self._found or self._found[place.host]:
                logger.warning("cannot resolve %s, where nodes of the bus are: %s", place.host, error)
            self._found.setdefault(place.host, set())
        return self._found[place.host]

    def is_gone(self, address: str) -> bool:
        """Another node may start there at any time."""
        return False


def _bind(socket: Socket, address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise OSError(error.errno or errno.EINVAL, f"cannot listen at {address}: {error.strerror}") from error

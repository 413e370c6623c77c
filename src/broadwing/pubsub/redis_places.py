"""Where the Redis server is: at a fixed address, or where the sentinels say."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

from redis.exceptions import RedisError

from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.redis_line import Access, Line

# A sentinel that does not answer must leave time for the others, and for the server, within CONNECT_TIMEOUT.
_SENTINEL_TIMEOUT: Final = 1.0


class Place(Protocol):
    """Where a connection goes."""

    name: str

    async def find(self) -> Host:
        """Look it up; once for each attempt to connect."""
        ...

    async def check(self, line: Line) -> None:
        """Whether the server found there is the right one. Raises ConnectionError when not."""
        ...


class Fixed:
    """An address that does not change."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.name = f"redis at {host}"

    async def find(self) -> Host:
        """It is known."""
        return self._host

    async def check(self, line: Line) -> None:
        """Any server is right."""


class Sentinels:
    """The master of a name, as the first sentinel says that knows one.

    Args:
        hosts: The sentinels.
        access: How they let this node in.
        master: What they call the master.
    """

    def __init__(self, hosts: Sequence[Host], access: Access, master: str) -> None:
        self._hosts = list(hosts)
        self._access = access
        self._master = master
        self.name = f"redis master {master!r}"

    async def find(self) -> Host:
        """Ask one sentinel after the other."""
        complaints = []
        for host in tuple(self._hosts):
            try:
                async with asyncio.timeout(_SENTINEL_TIMEOUT):
                    found = await self._ask(host)
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                complaints.append(f"{host}: {str(error) or 'no answer'}")
                continue
            if found is not None:
                # The next time this one is asked first, as the guidelines for clients of Sentinel say.
                self._hosts.remove(host)
                self._hosts.insert(0, host)
                return found
            complaints.append(f"{host} does not know it")
        raise ConnectionError("no sentinel says where it is: " + "; ".join(complaints))

    async def _ask(self, host: Host) -> Host | None:
        line = Line(host, self._access)
        try:
            await line.open()
            answer = await line.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
        finally:
            await line.close()
        return Host(answer[0].decode(), int(answer[1])) if answer else None

    async def check(self, line: Line) -> None:
        """Sentinels are late by the time they need to agree: the server itself has to say that it is a master."""
        role = (await line.ask("ROLE"))[0].decode()
        if role != "master":
            raise ConnectionError(f"the sentinels name a server whose role is {role}")


async def slots(hosts: Sequence[Host], access: Access) -> list[tuple[int, int, Host]]:
    """Which server of a cluster has which slots: first, last, server; from the first server that says.

    Raises:
        ConnectionError: None does.
    """
    complaints = []
    for host in hosts:
        line = Line(host, access)
        try:
            async with asyncio.timeout(_SENTINEL_TIMEOUT):
                await line.open()
                answer = await line.ask("CLUSTER", "SLOTS")
        except (RedisError, OSError) as error:
            complaints.append(f"{host}: {str(error) or 'no answer'}")
            continue
        finally:
            await line.close()
        found = []
        with contextlib.suppress(IndexError, TypeError, ValueError, AttributeError):
            # An address is empty or "?" when a server does not know its own: it is the one we reached then.
            found = [
                (first, last, Host(_name(master[0]) or host.host, master[1])) for first, last, master, *_ in answer
            ]
        if found:
            return found
        complaints.append(f"{host} has no slots")
    raise ConnectionError("no server of the cluster says where the slots are: " + "; ".join(complaints))


def _name(address: bytes | None) -> str:
    name = (address or b"").decode()
    return "" if name == "?" else name

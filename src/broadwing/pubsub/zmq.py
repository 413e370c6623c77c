"""A bus without a broker: every node has a socket to every other one, over ZeroMQ.

Nodes of one machine meet in a directory, `zmq+ipc:///run/chat`; nodes of several machines are listed,
`zmq://10.0.0.1:5555,10.0.0.2:5555?bind=10.0.0.1:5555`, or found by a name that resolves to all of them,
`zmq://chat.internal:5555?bind=0.0.0.0:5555`.

Each node binds one PULL socket and has one PUSH socket for every other node and for itself. A PUSH socket says when it is full,
where a PUB socket would drop in silence, so what one slow node loses is lost for it alone, and counted. There is no
interest in topics: every message goes to every node, and the receiver looks whether anybody listens.
"""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import socket as sockets
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import zmq

from broadwing.exceptions import ConfigurationError, PubSubUnavailable
from broadwing.pubsub.adapter import Receive
from broadwing.pubsub.zmq_curve import Doorkeeper
from broadwing.pubsub.zmq_frames import DIRECT, MESSAGES, OVERHEAD, addressee, head, record
from broadwing.pubsub.zmq_intake import Intake
from broadwing.pubsub.zmq_mesh import Mesh
from broadwing.pubsub.zmq_peer import HIGH_WATER, Context, Peer, Socket
from broadwing.pubsub.zmq_places import Directory, Hosts, Places
from broadwing.pubsub.zmq_settings import parse

logger = logging.getLogger("broadwing.pubsub")

# A frame for all is sent at the end of the loop's turn, or when it has this many bytes: about 250 messages of 200 bytes,
# which a receiver decodes in a millisecond.
FULL: Final = 65_536
# How long a start waits for the nodes that are there, in seconds.
PATIENCE: Final = 1.0
# How long a stop tries to send what is left, in seconds.
LINGER: Final = 1.0
# How long until an address that is taken is tried again, in seconds: at first, and at most.
REBIND: Final = 0.02
REBIND_MAX: Final = 1.0

_MAY_PASS: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})


class ZmqAdapter:
    """A node of a mesh.

    Args:
        url: Where the nodes are: `zmq+ipc:///directory` or `zmq://host:port,host:port?bind=ip:port`.
        node_name: This node's name on the bus; by default host, process and chance.

    Raises:
        ConfigurationError: The URL can never work.
    """

    is_alone = False

    def __init__(self, url: str, node_name: str | None = None) -> None:
        self._settings = settings = parse(url)
        name = _chosen_name() if node_name is None else node_name
        if not 0 < len(name.encode("utf-8", "surrogatepass")) <= 255:
            raise ConfigurationError(f"a node's name has 1 to 255 bytes, not {name[:40]!r}")
        self.node_name = name
        self._chosen_in = os.getpid() if node_name is None else None
        self.is_up = False
        self._id = b""
        self._number = 0
        self._places: Places
        if settings.directory is not None:
            self._places = Directory(settings.directory)
        else:
            assert settings.bind is not None
            self._places = Hosts(settings.places, settings.bind)
        self._mesh: Mesh | None = None
        self._context: Context | None = None
        self._intake: Intake | None = None
        self._doorkeeper: Doorkeeper | None = None
        self._task: asyncio.Task[None] | None = None
        self._found = False  # the other nodes were looked for
        self._known: set[str] = set()
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._parts_count = 0

    @property
    def dropped(self) -> int:
        """Messages of the bus that some other node did not get because it was gone or too slow, counted for each node.

        What is broadcast on one topic in one turn of the loop is one message of the bus.
        """
        return self._mesh.dropped if self._mesh is not None else 0

    @property
    def refused(self) -> int:
        """Frames that were not ours, or damaged, and were dropped."""
        return self._intake.refused if self._intake is not None else 0

    @property
    def peers(self) -> dict[str, bool]:
        """The addresses of the other nodes, and whether each is connected."""
        return {address: peer.connected for address, peer in self._mesh.peers.items()} if self._mesh is not None else {}

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Bind, and dial the other nodes; waits a second at most for those that are there."""
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        # Here, because a server may fork after it has loaded the application: two nodes of one id would not hear each other.
        self._id = secrets.token_bytes(8)
        if self._chosen_in not in (None, os.getpid()):
            self.node_name, self._chosen_in = _chosen_name(), os.getpid()
        self._context = zmq.Context()
        self._context.max_sockets = 8192  # three for each other node
        self._mesh = Mesh(self.node_name, self._id, self._settings, self._places, self._context, self._say, self._last)
        self._intake = Intake(
            self.node_name, self._id, receive, self._mesh.greeted, self._mesh.asked, self._mesh.answered
        )
        if self._settings.curve is not None:
            self._doorkeeper = Doorkeeper(self._context, self._settings.curve)
            self._loop.add_reader(self._doorkeeper.socket.fileno(), self._answer_the_door)
        try:
            self._bind()
        except OSError as error:
            if error.errno not in _MAY_PASS:
                await self.stop()
                raise ConfigurationError(f"this node cannot join the bus: {error}") from error
            logger.error("this node cannot join the bus yet: %s; trying until it can", error)
        self._task = self._loop.create_task(self._tend(self._mesh))
        await self._until(self._mesh, self._is_settled, PATIENCE)

    async def stop(self) -> None:
        """Send what was published, within a second, and leave nothing behind."""
        context, self._context = self._context, None
        mesh = self._mesh
        if context is None or mesh is None:
            return
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self._flush()
        tokens = mesh.ask(leaves=True)
        await self._until(mesh, lambda: mesh.is_read(tokens), LINGER)
        self.is_up = False  # here, so that nobody is told
        self._unbind()
        mesh.hang_up(LINGER)
        if self._doorkeeper is not None:
            self._loop.remove_reader(self._doorkeeper.socket.fileno())
            self._doorkeeper.socket.close()
            self._doorkeeper = None
        await _terminate(context)

    async def flush(self) -> None:
        """Wait until all nodes that can answer have read everything, and nothing waits here for the others.

        A node that is lost meanwhile is not waited for: what is lost with it is lost for it alone.
        """
        mesh = self._joined()
        self._flush()
        tokens = mesh.ask(leaves=False)
        try:
            await self._until(mesh, lambda: mesh.is_read(tokens), None)
        finally:
            mesh.forget_questions(tokens)

    async def reconnect(self) -> None:
        """Bind and dial anew."""
        mesh = self._mesh
        if mesh is None or self._context is None:
            return
        self._flush()
        self._unbind()
        mesh.hang_up()
        deadline = self._loop.time() + PATIENCE
        while not self._bind_again() and self._loop.time() < deadline:
            await asyncio.sleep(REBIND)  # ZeroMQ's own thread has not closed the port yet
            if self._context is None:
                return  # stopped meanwhile
        if self.is_up:
            mesh.look(self._known)
            await self._until(mesh, self._is_settled, PATIENCE)

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Nobody has to be told; but a node that has just been found may not send to this one yet."""
        return self._mesh.settled() if self._mesh is not None else None

    def unsubscribe(self, topic: str) -> None:
        """Nobody has to be told."""

    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes, with whatever else is published in this turn of the loop."""
        self._joined()
        parts = record(topic, data)
        size = len(parts[1]) + len(data)
        if not self._fits(topic, size):
            return
        if not self._parts:
            self._loop.call_soon(self._flush)
        elif self._parts_bytes + size > FULL:
            self._flush()
        self._parts += parts
        self._parts_bytes += size + 8
        self._parts_count += 1

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node; while not all have said their names, to those that have not."""
        mesh = self._joined()
        parts = record(topic, data)
        if self._fits(topic, len(parts[1]) + len(data)):
            self._flush()  # what was published before arrives before
            mesh.send(mesh.called(node), self._frame(DIRECT, (addressee(node), *parts)), 1)

    # Sending.

    def _joined(self) -> Mesh:
        if not self.is_up or self._mesh is None:
            raise PubSubUnavailable(
                f"node {self.node_name} is not on the bus: "
                + ("its address is taken" if self._context is not None else "it was not started, or is stopped")
            )
        return self._mesh

    def _fits(self, topic: str, size: int) -> bool:
        if size > self._settings.max_message_bytes:
            logger.error(
                "a message of %d bytes on %.80r was not sent to other nodes: they take %d; max_message_bytes in the URL "
                "sets it, on all nodes alike",
                size,
                topic,
                self._settings.max_message_bytes,
            )
            return False
        return True

    def _frame(self, kind: int, parts: Sequence[bytes]) -> bytes:
        self._number += 1
        return b"".join((head(kind, self._id, self._number), *parts))

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and self._mesh is not None:
            count, self._parts_count, self._parts_bytes = self._parts_count, 0, 0
            self._mesh.send(list(self._mesh.peers.values()), self._frame(MESSAGES, parts), count)

    def _say(self, peer: Peer, kind: int, content: bytes) -> None:
        if self._mesh is not None:
            self._mesh.send((peer,), self._frame(kind, (content,)), 0)

    # Staying in touch.

    def _last(self, sender: bytes) -> int:
        return self._intake.last(sender) if self._intake is not None else 0

    def _bind(self) -> None:
        assert self._context is not None
        assert self._mesh is not None
        assert self._intake is not None
        pull: Socket = self._context.socket(zmq.PULL)
        pull.linger = 0
        pull.rcvhwm = HIGH_WATER
        pull.maxmsgsize = self._settings.max_message_bytes + OVERHEAD
        pull.backlog = 1024
        # A machine that vanished is noticed by the kernel, in its time: nothing is sent here.
        pull.tcp_keepalive, pull.tcp_keepalive_idle, pull.tcp_keepalive_intvl, pull.tcp_keepalive_cnt = 1, 30, 10, 3
        if self._settings.curve is not None:
            self._settings.curve.serve(pull)
        try:
            reached, address = self._places.bind(pull)
        except OSError:
            pull.close()
            raise
        self._intake.attach(pull)
        self._mesh.bound(reached, address)
        self._set_up(True)

    def _unbind(self) -> None:
        self._places.unbind()
        if self._intake is not None:
            self._intake.detach()
        self._set_up(False)

    def _set_up(self, is_up: bool) -> None:
        if is_up != self.is_up:
            self.is_up = is_up
            self._changed()

    def _is_settled(self) -> bool:
        return self._found and self._mesh is not None and self._mesh.is_settled

    async def _tend(self, mesh: Mesh) -> None:
        """Look for new nodes, and see to it that this one can be found."""
        pause = REBIND
        while True:
            try:
                mesh.hint.clear()
                await self._look(mesh)
            except Exception:  # one look that fails must not be the last
                logger.exception("looking for the nodes of the bus failed")
            if not self.is_up:
                await asyncio.sleep(pause)
                pause = min(2 * pause, REBIND_MAX)
                continue
            pause = REBIND
            await asyncio.sleep(self._places.pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._places.interval):
                    await mesh.hint.wait()

    async def _look(self, mesh: Mesh) -> None:
        if self.is_up and not self._places.is_bound():
            logger.warning(
                "node %s: its socket was removed, so that no other can find it; binding anew", self.node_name
            )
            self._unbind()
            mesh.hang_up()
        if self._bind_again():
            self._known = await self._places.find()
            self._found = True
            mesh.look(self._known)
            mesh.progress.set()

    def _bind_again(self) -> bool:
        if not self.is_up:
            try:
                self._bind()
            except OSError as error:
                logger.debug("this node cannot join the bus yet: %s", error)
        return self.is_up

    async def _until(self, mesh: Mesh, condition: Callable[[], bool], seconds: float | None) -> None:
        deadline = self._loop.time() + seconds if seconds is not None else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not condition():
                    mesh.progress.clear()
                    await mesh.progress.wait()

    def _answer_the_door(self) -> None:
        if self._doorkeeper is None:
            return
        before = self._doorkeeper.refused
        for address in self._doorkeeper.answer():
            if before == 0 or self._doorkeeper.refused % 1000 == 0:  # a stranger must not fill the log
                logger.warning(
                    "%s wanted to join the bus with a key that is not allowed (%d so far); curve_allowed names those that are",
                    address,
                    self._doorkeeper.refused,
                )


def _chosen_name() -> str:
    return f"{sockets.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"


async def _terminate(context: Context) -> None:
    """End ZeroMQ's threads. It waits until what is on its way is sent or LINGER is over, so not in the loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def terminate() -> None:
        context.term()
        with contextlib.suppress(RuntimeError):  # the loop has not waited for us and is closed
            loop.call_soon_threadsafe(finish)

    thread = threading.Thread(target=terminate, name="broadwing-zmq-end")
    thread.start()
    await done
    thread.join()

"""The application that the tests talk to.

It does what the application did whose conversations were recorded (spec/vectors/recording_*.json): the same topics, the
same events, the same mounts. What only our own tests need has a topic of its own: `story:*`.
"""

import asyncio
from typing import Any, ClassVar

from broadwing import (
    Broadcast,
    Channel,
    ConnectError,
    Endpoint,
    Error,
    JoinError,
    Ok,
    Presence,
    Reply,
    Socket,
    Stop,
    intercept,
    on,
)
from broadwing.session import CookieSession
from broadwing.socket import Routes
from broadwing.types import ConnectInfo, Params

SECRET = "a secret of 64 characters or more, for tests, and for nothing else"
SESSION = CookieSession(key="_ground_key", signing_salt="signing salt")
CSRF_SESSION = CookieSession(key="_ground_key", signing_salt="signing salt", csrf_token_key="another_csrf_token")


class Ground(Endpoint):
    """The endpoint, with a memory of what happened to its channels.

    Attributes:
        connected: Parameters and info of every `connect`.
        handled: Topic and event of everything that came to `record` handlers.
        terminated: Topic and reason of every `terminate`.
        presence: Who is on `presence:*`.
        gate: What slow handlers wait for.
    """

    connected: list[tuple[Params, ConnectInfo]]
    handled: list[tuple[str, Any]]
    terminated: list[tuple[str, Any]]
    presence: Presence
    gate: asyncio.Event


class GroundChannel(Channel):
    """What all channels here have in common."""

    @property
    def ground(self) -> Ground:
        """The endpoint, with its memory."""
        assert isinstance(self.endpoint, Ground)
        return self.endpoint

    async def terminate(self, reason: Any) -> None:
        """Remember."""
        self.ground.terminated.append((self.topic, reason))


class RoomChannel(GroundChannel):
    """`room:*` and `bare`."""

    async def join(self, params: Any) -> Any:
        """Answer as the topic says."""
        match self.topic:
            case "room:private":
                raise JoinError({"reason": "unauthorized"})
            case "room:reply":
                return {"got": params if not isinstance(params, bytes) else len(params), "n": 1}
            case "room:after":
                self.send_info("after_join")
            case "room:crash":
                raise RuntimeError("boom in join")
            case "room:badreturn":
                return "a string is no reply"
        return None

    async def handle_info(self, message: Any) -> None:
        """What `room:after` does after its join."""
        assert message == "after_join"
        self.push("welcome", {"topic": self.topic})

    @on("echo")
    async def echo(self, payload: Any) -> Any:
        """Reply with what came."""
        return Reply(payload)

    @on("new_msg")
    async def new_msg(self, payload: Any) -> None:
        """Broadcast to everybody, the sender included."""
        self.broadcast("new_msg", payload)

    @on("shout")
    async def shout(self, payload: Any) -> None:
        """Broadcast to everybody but the sender."""
        self.broadcast_from("shout", payload)

    @on("reply_ok")
    async def reply_ok(self) -> Any:
        """Reply with nothing but the status."""
        return Ok()

    @on("reply_error")
    async def reply_error(self) -> Any:
        """Reply with nothing but the status."""
        return Error()

    @on("reply_error_map")
    async def reply_error_map(self, payload: Any) -> Any:
        """Reply with an error; the payload may be anything."""
        return Error({"reason": "bad"})

    @on("reply_custom")
    async def reply_custom(self) -> Any:
        """Reply with a status of its own."""
        return Reply({"a": 1}, "teapot")

    @on("reply_error_bin")
    async def reply_error_bin(self, payload: bytes) -> Any:
        """Reply with an error in a binary frame."""
        return Error(payload)

    @on("async_reply")
    async def async_reply(self, payload: Any) -> None:
        """Reply after the handler is done, from outside."""
        ref = self.socket_ref()
        asyncio.get_running_loop().call_soon(ref.reply, payload)

    @on("noreply")
    async def noreply(self) -> None:
        """Say nothing."""

    @on("push_me")
    async def push_me(self, payload: Any) -> None:
        """Push to the sender alone."""
        self.push("pushed", payload)

    @on("bin_push")
    async def bin_push(self, payload: bytes) -> None:
        """Push a binary frame."""
        self.push("bin_push", payload)

    @on("server_broadcast")
    async def server_broadcast(self) -> None:
        """Broadcast as code outside of channels does."""
        self.endpoint.broadcast(self.topic, "from_server", {"x": [1, 2.5, None, True, 'é\u2028</script>"\\/\n']})

    @on("info")
    async def info(self) -> Any:
        """Reply with what the channel knows of itself."""
        return {
            "assigns": {"info": dict(self.assigns["info"]), "user_id": self.assigns["user_id"]},
            "join_ref": self.join_ref,
            "ref": self._runner.ref,
            "transport": self.socket.transport,
        }

    @on("raise")
    async def raise_(self) -> None:
        """Crash."""
        raise RuntimeError("boom in a handler")

    @on("exit_kill")
    async def exit_kill(self) -> None:
        """Be killed in the middle of it: the task is what a process is elsewhere."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @on("bad_return")
    async def bad_return(self) -> Any:
        """Return what is no reply."""
        return "a string is no reply"

    @on("stop_normal")
    async def stop_normal(self) -> Any:
        """End gracefully."""
        return Stop("normal")

    @on("stop_shutdown")
    async def stop_shutdown(self) -> Any:
        """End gracefully."""
        return Stop("shutdown")

    @on("stop_shutdown_t")
    async def stop_shutdown_t(self) -> Any:
        """End gracefully, and say why."""
        return Stop(("shutdown", "why"))

    @on("stop_other")
    async def stop_other(self) -> Any:
        """End badly."""
        return Stop("other")

    @on("stop_reply")
    async def stop_reply(self) -> Any:
        """Reply, then end gracefully."""
        return Stop("shutdown", {"bye": True})

    @on("stop_other_reply")
    async def stop_other_reply(self) -> Any:
        """Reply, then end badly."""
        return Stop("other", Error({"bye": False}))

    @on("disconnect_me")
    async def disconnect_me(self) -> None:
        """End all connections of this user."""
        name = self.socket.id()
        assert name is not None
        self.endpoint.broadcast(name, "disconnect", {})


class InterceptChannel(GroundChannel):
    """`intercept:*`: decides for every member what it sees of `secret`."""

    async def join(self, params: Any) -> None:
        """Let everybody in."""

    @on("secret")
    async def secret(self, payload: Any) -> None:
        """Broadcast what is intercepted."""
        self.broadcast("secret", payload)

    @on("public")
    async def public(self, payload: Any) -> None:
        """Broadcast what is not."""
        self.broadcast("public", payload)

    @intercept("secret")
    async def secret_out(self, payload: Any) -> Any:
        """Say whom it is for; `stop` ends the channel instead."""
        if payload.get("stop") == self.join_ref:
            return Stop("shutdown")
        self.push("secret", {**payload, "for": self.topic})
        return None


class StoryChannel(GroundChannel):
    """`story:*`: what the recorded application had no event for."""

    async def join(self, params: Any) -> Any:
        """Wait for the gate, push too early, refuse with any JSON value, as the topic says."""
        match self.topic:
            case "story:slow":
                await self.ground.gate.wait()
            case "story:early_push":
                self.push("too", {"early": True})
            case "story:early_broadcast":
                self.broadcast("too", {"early": True})
            case "story:list":
                return Ok([1, "two", None])
            case "story:refuse":
                raise JoinError(["not", "you"])
            case "story:custom":
                return Reply({"a": 1}, "teapot")
        return None

    async def terminate(self, reason: Any) -> None:
        """Say farewell, where the line is still up."""
        self.push("farewell", {"topic": self.topic})
        await super().terminate(reason)

    async def handle_info(self, message: Any) -> None:
        """Tell the client what was heard on another topic."""
        assert isinstance(message, Broadcast)
        self.push("heard", {"topic": message.topic, "event": message.event, "payload": message.payload})

    @on("record")
    async def record(self, payload: Any) -> Any:
        """Remember it, and say so."""
        self.ground.handled.append((self.topic, payload))
        return Ok()

    @on("wait")
    async def wait(self, payload: Any) -> Any:
        """Wait for the gate."""
        await self.ground.gate.wait()
        return Reply(payload)

    @on("order")
    async def order(self) -> Any:
        """Push, broadcast, push, reply."""
        self.push("one", {})
        self.broadcast("two", {})
        self.push("three", {})
        return {"four": True}

    @on("last_words")
    async def last_words(self) -> None:
        """Tell the room something, then this client, then end all connections of this user."""
        self.broadcast("two", {})
        self.push("one", {})
        name = self.socket.id()
        assert name is not None
        self.endpoint.broadcast(name, "disconnect", {})

    @on("order_in_a_thread")
    def order_in_a_thread(self) -> Any:
        """The same from a worker thread."""
        self.push("one", {})
        self.broadcast("two", {})
        self.push("three", {})
        return {"four": True}

    @on("listen")
    async def listen(self, payload: dict[str, str]) -> Any:
        """Subscribe to another topic."""
        self.subscribe(payload["topic"])
        return Ok()

    @on("remember")
    async def remember(self, payload: dict[str, Any]) -> Any:
        """Change this channel's assigns."""
        self.assign(payload)
        return Ok()

    @on("recall")
    async def recall(self) -> Any:
        """Tell this channel's assigns."""
        return {key: value for key, value in self.assigns.items() if key != "info"}

    @on("both")
    async def both(self, payload: bytes) -> Any:
        """Answer bytes with a push and a reply of bytes."""
        self.push("both", payload)
        return Reply(payload)


class PresenceChannel(GroundChannel):
    """`presence:*`: who is there, by the parameter `user_id` of the join."""

    async def join(self, params: Any) -> None:
        """Let everybody in."""
        self.assign(user_id=params.get("user_id"), meta=params.get("meta", {"online_at": 1_700_000_000}))
        self.send_info("after_join")
        if self.topic == "presence:tracks and refuses":
            self.ground.presence.track(self, self.assigns["user_id"])
            raise JoinError({"reason": "unauthorized"})

    async def handle_info(self, message: Any) -> None:
        """Be there, and see who else is."""
        self.ground.presence.track(self, self.assigns["user_id"], self.assigns["meta"])
        self.push("presence_state", await self.ground.presence.list(self))

    @on("update")
    async def update(self, payload: dict[str, Any]) -> Any:
        """Add to what is known of this client."""
        self.ground.presence.update(self, self.assigns["user_id"], lambda meta: {**meta, **payload})
        return Ok()

    @on("update_in_a_thread")
    def update_in_a_thread(self, payload: dict[str, Any]) -> Any:
        """The same from a worker thread."""
        return {"phx_ref": self.ground.presence.update(self, self.assigns["user_id"], lambda meta: {**meta, **payload})}

    @on("untrack")
    async def untrack(self) -> Any:
        """Be there no longer."""
        self.ground.presence.untrack(self, self.assigns["user_id"])
        return Ok()

    @on("also")
    async def also(self, payload: dict[str, Any]) -> Any:
        """Be somebody else as well, or somewhere else."""
        return {"phx_ref": self.ground.presence.track(self, payload["key"], {}, topic=payload.get("topic"))}

    @on("list")
    async def list(self) -> Any:
        """See who is there."""
        return dict(await self.ground.presence.list(self))

    @on("raise")
    async def raise_(self) -> None:
        """Crash."""
        raise RuntimeError("boom in a handler")

    @on("stop")
    async def stop_it(self) -> Any:
        """End gracefully."""
        return Stop("normal")

    @on("wait")
    async def wait(self) -> None:
        """Wait for the gate."""
        await self.ground.gate.wait()


class GroundSocket(Socket):
    """Everybody may connect who does not ask to be refused."""

    channels: ClassVar[Routes] = {
        "room:*": RoomChannel,
        "bare": RoomChannel,
        "intercept:*": InterceptChannel,
        "story:static": (StoryChannel, {"static": "from the route"}),
        "story:*": StoryChannel,
        "presence:*": PresenceChannel,
    }

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Refuse as the parameter `refuse` says."""
        assert isinstance(self.endpoint, Ground)
        self.endpoint.connected.append((params, info))
        match params.get("refuse"):
            case "error":
                raise ConnectError()
            case "reason" | "rate_limit" as reason:
                raise ConnectError(reason)
            case "raise":
                raise RuntimeError("boom in connect")
        self.assign(user_id=params.get("user_id"), info=info)

    def id(self) -> str | None:
        """`users_socket:X` for the parameter `user_id=X`."""
        user_id = self.assigns["user_id"]
        return f"users_socket:{user_id}" if user_id is not None else None


class SmallSocket(GroundSocket):
    """Room for one channel."""

    max_channels_per_transport = 1


class QuietSocket(GroundSocket):
    """Connects without a word in the log."""

    log = None


def too_many_requests(reason: Any) -> tuple[int, str]:
    """The error handler of /errh."""
    return (429, "Too many requests") if reason == "rate_limit" else (403, "")


ORIGINS = ["//example.com"]
EVERY_INFO: dict[str, Any] = {
    "peer_data": True,
    "trace_context_headers": True,
    "x_headers": True,
    "uri": True,
    "user_agent": True,
    "sec_websocket_headers": True,
    "session": SESSION,
    "static": "value",
}


POLLED: dict[str, Any] = {"longpoll": {"window": 10.0}}
MOUNTS: dict[str, tuple[type[Socket], dict[str, Any]]] = {
    # Those of the recording: defaults, one origin, impatient and narrow, with tokens, with answers to refusals.
    "/socket": (GroundSocket, POLLED),
    "/origin": (GroundSocket, {"websocket": {"check_origin": ORIGINS}, "longpoll": {"check_origin": ORIGINS}}),
    "/short": (GroundSocket, {"websocket": {"timeout": 1.5, "max_frame_size": 1000}}),
    "/auth": (GroundSocket, {"auth_token": True, **POLLED}),
    "/errh": (GroundSocket, {"websocket": {"error_handler": too_many_requests}, **POLLED}),
    # Those of our own tests.
    "/again": (GroundSocket, POLLED),
    "/small": (SmallSocket, POLLED),
    "/quiet": (QuietSocket, POLLED),
    "/info": (GroundSocket, {"websocket": {"connect_info": EVERY_INFO}, "longpoll": {"connect_info": EVERY_INFO}}),
    "/csrf": (GroundSocket, {"websocket": {"connect_info": {"session": CSRF_SESSION}}}),
    "/nocsrf": (GroundSocket, {"websocket": {"connect_info": {"session": SESSION}, "check_csrf": False}}),
    "/users/:user_id/socket": (
        GroundSocket,
        {"websocket": {"path": "/connect/:_ignored"}, "longpoll": {"path": "/poll/:_ignored", "window": 1.0}},
    ),
}


def make_endpoint(*mounts: str) -> Ground:
    """Make the endpoint.

    Args:
        *mounts: Which of `MOUNTS` it has; `/socket` alone if none is named. To have all would take a test 40 ms.
    """
    ground = Ground(secret_key_base=SECRET)
    ground.connected, ground.handled, ground.terminated = [], [], []
    ground.gate = asyncio.Event()
    ground.presence = Presence(ground)
    for path in mounts or ("/socket",):
        socket, options = MOUNTS[path]
        ground.socket(path, socket, **options)
    return ground

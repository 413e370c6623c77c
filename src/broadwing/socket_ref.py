"""A message's ref, kept to reply later."""

from typing import TYPE_CHECKING, Any

from broadwing.returns import Reply

if TYPE_CHECKING:
    from broadwing.channel_runner import ChannelRunner


class SocketRef:
    """A message's ref, kept to reply later; get one from `Channel.socket_ref`."""

    __slots__ = ("_ref", "_runner")

    def __init__(self, runner: "ChannelRunner", ref: Any) -> None:
        self._runner = runner
        self._ref = ref

    def reply(self, payload: Any = None, *, status: str = "ok") -> None:
        """Reply to the message. Callable from any thread, any number of times.

        Args:
            payload: Any JSON value, an annotated object, `bytes`, or a `Reply`, whose status then counts.
            status: `ok`, `error`, or a name of your own.
        """
        if isinstance(payload, Reply):
            payload, status = payload.payload, payload.status
        self._runner.send_reply(self._ref, status, {} if payload is None else payload)

"""What the methods of a channel return, and what it means."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from broadwing.exceptions import LocalProtocolError
from broadwing.payloads import is_annotated
from broadwing.returns import Reply, Stop

if TYPE_CHECKING:
    from broadwing.channel_runner import ChannelRunner


def answer(runner: "ChannelRunner", ref: Any, result: Any) -> None:
    """Reply with what a handler of a client's event returned, neither `None` nor a `Stop`.

    Raises:
        LocalProtocolError: It is nothing that a reply could be made of.
    """
    if isinstance(result, Reply):
        runner.send_reply(ref, result.status, result.payload)
    elif type(result) is dict or isinstance(result, bytes | Mapping | msgspec.Struct) or is_annotated(result):
        runner.send_reply(ref, "ok", result)
    else:
        raise LocalProtocolError(
            f"a handler of {runner.route.name} returned {type(result).__name__!r}; expected None, a mapping, an annotated object, "
            "bytes, Ok(...), Error(...), Reply(payload, status) or Stop(reason)"
        )


def stop_of(runner: "ChannelRunner", result: Any) -> Stop | None:
    """Read what `handle_out` or `handle_info` returned, which have no message to reply to.

    Raises:
        LocalProtocolError: It is something else than `None` or a `Stop` without a reply.
    """
    if result is None:
        return None
    if isinstance(result, Stop) and result.reply is None:
        return result
    what = "Stop with a reply" if isinstance(result, Stop) else repr(type(result).__name__)
    raise LocalProtocolError(
        f"handle_out or handle_info of {runner.route.name} returned {what}; expected None or Stop(reason), as there is no "
        "message to reply to"
    )

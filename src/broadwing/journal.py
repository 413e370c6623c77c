"""The log lines and telemetry events of sockets and channels, put together only when somebody reads them."""

import logging
import time
from typing import TYPE_CHECKING, Any

from broadwing import telemetry
from broadwing.core.codec import ENCODE_ERRORS, DecodeError, decode, encode
from broadwing.core.serializer import Serializer
from broadwing.core.version import DEFAULT_VERSION
from broadwing.exceptions import LocalProtocolError
from broadwing.telemetry import took

if TYPE_CHECKING:
    from broadwing.channel_runner import ChannelRunner
    from broadwing.mounts import SocketMount

logger = logging.getLogger("broadwing")


def clock() -> float:
    """Seconds for durations."""
    return time.perf_counter()


def connected(
    mount: "SocketMount", transport: str, serializer: Serializer, params: Any, info: Any, started: float, ok: bool
) -> None:
    """A client was let in or refused."""
    duration = clock() - started
    level = mount.log
    if level is not None and logger.isEnabledFor(level):
        logger.log(
            level,
            "%s %s in %s\n  Transport: :%s\n  Serializer: %s\n  Parameters: %s",
            "CONNECTED TO" if ok else "REFUSED CONNECTION TO",
            mount.name,
            took(duration),
            transport,
            serializer.version,
            mount.endpoint.filter_parameters(params),
        )
    if telemetry.watched(telemetry.SOCKET_CONNECTED):
        telemetry.emit(
            telemetry.SOCKET_CONNECTED,
            {"duration": duration},
            {
                "endpoint": mount.endpoint,
                "socket": mount.name,
                "transport": transport,
                "params": params,
                "connect_info": info,
                "vsn": params.get("vsn", DEFAULT_VERSION),
                "serializer": serializer.version,
                "log": level,
                "result": "ok" if ok else "error",
            },
        )


def joined(runner: "ChannelRunner", payload: Any, started: float, ok: bool) -> None:
    """A join was answered."""
    duration = clock() - started
    level = runner.connection.mount.log_join
    if level is not None and logger.isEnabledFor(level) and not runner.topic.startswith("phoenix"):
        logger.log(
            level,
            "%s %s in %s\n  Parameters: %s",
            "JOINED" if ok else "REFUSED JOIN",
            runner.topic,
            took(duration),
            _shown(runner, payload),
        )
    if telemetry.watched(telemetry.CHANNEL_JOINED):
        metadata = {"result": "ok" if ok else "error", "params": _plain(payload), "channel": runner.channel}
        telemetry.emit(telemetry.CHANNEL_JOINED, {"duration": duration}, metadata)


def handled_in(runner: "ChannelRunner", event: str, payload: Any, ref: Any, started: float) -> None:
    """An event was handled; its result has not been looked at yet."""
    duration = clock() - started
    level = runner.connection.mount.log_handle_in
    if level is not None and logger.isEnabledFor(level) and not runner.topic.startswith("phoenix"):
        logger.log(
            level,
            "HANDLED %s INCOMING ON %s (%s) in %s\n  Parameters: %s",
            event,
            runner.topic,
            runner.route.name,
            took(duration),
            _shown(runner, payload),
        )
    if telemetry.watched(telemetry.CHANNEL_HANDLED_IN):
        metadata = {"event": event, "ref": ref, "payload": payload, "channel": runner.channel}
        telemetry.emit(telemetry.CHANNEL_HANDLED_IN, {"duration": duration}, metadata)


def watches_events(mount: "SocketMount") -> bool:
    """Whether `handled_in` would have anything to say; asked for every message, so it is short."""
    level = mount.log_handle_in
    return (level is not None and logger.isEnabledFor(level)) or telemetry.watched(telemetry.CHANNEL_HANDLED_IN)


def _plain(payload: Any) -> Any:
    if isinstance(payload, bytes):
        return payload
    try:
        return decode(payload)
    except RecursionError:  # nested just deep enough to be read where the stack was shallower
        return payload


def _shown(runner: "ChannelRunner", payload: Any) -> Any:
    if isinstance(payload, bytes):
        return f"<{len(payload)} bytes>"
    try:
        # Encoded and decoded, whatever it has become for the handler is plain JSON again, down to the passwords in it.
        return runner.connection.endpoint.filter_parameters(decode(encode(payload)))
    except (LocalProtocolError, DecodeError, *ENCODE_ERRORS) as error:
        return f"<{type(payload).__name__} that cannot be shown: {type(error).__name__}>"

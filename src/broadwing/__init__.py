"""Broadwing: Phoenix Channels for Python.

Clients connect over WebSocket or long polling, join topics, push and receive events; the server authorises, routes
and broadcasts. Every Phoenix client works against it unchanged.
"""

from broadwing.bus import Messages, PubSub
from broadwing.channel import Channel
from broadwing.core.close import CloseCode
from broadwing.core.messages import Broadcast
from broadwing.endpoint import Endpoint
from broadwing.exceptions import (
    AlreadyTracked,
    BroadwingError,
    ConfigurationError,
    ConnectError,
    JoinError,
    LocalProtocolError,
    MissingSecret,
    NotTracked,
    PubSubUnavailable,
    RemoteProtocolError,
    TokenError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from broadwing.handlers import intercept, on
from broadwing.presence.presence import Presence
from broadwing.presence.tracker import Tracker
from broadwing.publisher import Publisher
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import Subscription
from broadwing.raw import RawSocket
from broadwing.returns import Error, Ok, Reply, Stop
from broadwing.socket import Socket
from broadwing.telemetry import ParameterFilter
from broadwing.token import Token
from broadwing.transports.options import DrainOptions, LongPollOptions, WebSocketOptions

__version__ = "0.1.0"

__all__ = [
    "AlreadyTracked",
    "Broadcast",
    "BroadwingError",
    "Channel",
    "CloseCode",
    "ConfigurationError",
    "ConnectError",
    "DrainOptions",
    "Endpoint",
    "Error",
    "Health",
    "JoinError",
    "LocalProtocolError",
    "LongPollOptions",
    "Messages",
    "MissingSecret",
    "NotTracked",
    "Ok",
    "ParameterFilter",
    "Presence",
    "PubSub",
    "PubSubUnavailable",
    "Publisher",
    "RawSocket",
    "RemoteProtocolError",
    "Reply",
    "Socket",
    "Stop",
    "Subscription",
    "Token",
    "TokenError",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "Tracker",
    "WebSocketOptions",
    "intercept",
    "on",
]

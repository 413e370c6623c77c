"""Messages between client and server, once they have left the wire and before they enter it."""

from typing import Any

import msgspec

from broadwing.core.codec import Body, decode


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a client sent, in the order of wire version 2.0.0.

    Attributes:
        join_ref: Ref of the join this message belongs to; any JSON value, usually a string or null.
        ref: The client's number for this message, echoed in the reply; any JSON value.
        topic: Where it goes; a string unless the client is confused.
        event: What happened; a string unless the client is confused.
        payload: Still encoded JSON, or `bytes` when it came in a binary frame.
    """

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: msgspec.Raw | bytes


class Broadcast(msgspec.Struct, frozen=True, gc=False):
    """What subscribers of a topic are sent; `Channel.handle_info` gets it from topics subscribed by hand.

    Attributes:
        topic: The topic it was broadcast on.
        event: The event's name.
        body: The payload as it was encoded, once, by the sender.
    """

    topic: str
    event: str
    body: Body

    @property
    def payload(self) -> Any:
        """The payload decoded: a fresh JSON value at every access, or `bytes`."""
        return self.body.data if self.body.binary else decode(self.body.data)
